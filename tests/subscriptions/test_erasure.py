import pytest
from django.utils import timezone
from model_bakery import baker

from operations.audit import By
from subscriptions.models import SubscriptionHit
from traffic.models import Subscriber
from traffic.people import erasure

pytestmark = pytest.mark.django_db


def test_the_hits_of_an_erased_person_go_and_those_of_others_stay() -> None:
    ann, bob = baker.make(Subscriber, token="ann"), baker.make(Subscriber, token="bob")
    for person in (ann, ann, bob):
        baker.make(SubscriptionHit, subscriber=person)
    assert erasure.erase(ann, By("ada", timezone.now())).dropped["hits"] == 2
    assert [hit.subscriber for hit in SubscriptionHit.objects.all()] == [bob]
