"""With open access, a token that somebody had before makes nobody: *new token* holds there too."""

import pytest
from django.test import Client
from django.urls import reverse

from operations.audit import By
from tests.traffic.examples import NOW, a_report
from traffic.ledger.recording import Outcome, record
from traffic.ledger.retired_tokens import never_retired
from traffic.models import RetiredToken, Subscriber
from traffic.people import changes
from traffic.people.subscribers import find_or_create

pytestmark = pytest.mark.django_db
BY = By("op", NOW)


@pytest.fixture
def ann() -> Subscriber:
    return Subscriber.objects.create(token="old", name="Ann")


def renewed(ann: Subscriber) -> None:
    changes.renew_tokens([ann.pk], BY)


def edited(ann: Subscriber) -> None:
    changes.edit([ann.pk], {"token": "new"}, BY)


@pytest.mark.parametrize("change", [renewed, edited])
def test_a_report_and_a_subscription_make_nobody_of_it(ann: Subscriber, change: object) -> None:
    assert callable(change)
    change(ann)
    report = a_report(user_token="old")
    assert record([report], NOW, create_subscribers=True) == [Outcome.UNKNOWN_TOKEN]
    assert find_or_create("old") is None
    assert Subscriber.objects.get() == ann


def test_other_new_tokens_still_make_somebody(ann: Subscriber) -> None:
    renewed(ann)
    reports = [a_report(user_token="old"), a_report(user_token="somebody")]
    assert record(reports, NOW, create_subscribers=True) == [
        Outcome.UNKNOWN_TOKEN,
        Outcome.RECORDED,
    ]


def test_another_change_retires_nothing(ann: Subscriber) -> None:
    changes.edit([ann.pk], {"name": "Anna"}, BY)
    changes.switch([ann.pk], on=False, by=BY)
    assert never_retired(["old"]) == ["old"]


def test_the_form_of_the_admin_retires_it(admin_client: Client, ann: Subscriber) -> None:
    url = reverse("admin:traffic_subscriber_change", args=[ann.pk])
    form = admin_client.get(url).context["adminform"].form
    fields = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    assert admin_client.post(url, fields | {"token": "new", "is_active": "on"}).status_code == 302
    assert never_retired(["old", "new"]) == ["new"]


def test_it_is_kept_as_a_digest_only(ann: Subscriber) -> None:
    renewed(ann)
    assert RetiredToken.objects.get().pk != "old"


def test_an_operator_may_give_it_to_somebody(ann: Subscriber) -> None:
    renewed(ann)
    Subscriber.objects.create(token="old", name="Bob")
    assert record([a_report(user_token="old")], NOW) == [Outcome.RECORDED]
