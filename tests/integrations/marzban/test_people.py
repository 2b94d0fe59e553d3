"""What the node protocol and the webhook say together of somebody."""

from datetime import timedelta

import pytest
from django.utils import timezone
from model_bakery import baker

from integrations.marzban import people
from integrations.marzban.models import HandOver, PanelIdentity, PanelLink
from integrations.marzban.wire import Person
from tests.traffic.examples import a_report, stored
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
ALICE, BOB = Person(1, "alice"), Person(2, "bob")


@pytest.fixture
def link() -> PanelLink:
    return PanelLink.objects.create(name="Marzban", url="http://127.0.0.1:8000")


def suspension(name: str = "alice") -> str:
    return Subscriber.objects.get(name=name).suspension


def test_whoever_left_is_suspended_until_they_come_back(link: PanelLink) -> None:
    now = timezone.now()
    people.came(link, [ALICE, BOB], now)
    people.left(link, [ALICE], now)
    assert (suspension("alice"), suspension("bob")) == ("disabled", "")
    people.came(link, [ALICE], now)
    assert suspension("alice") == ""


def test_the_panel_says_why_somebody_left(link: PanelLink) -> None:
    now = timezone.now()
    people.came(link, [ALICE], now)
    people.told(link, {"alice": "limited"}, now)
    people.left(link, [ALICE], now)
    assert suspension() == "limited"
    people.left(link, [ALICE], now)
    people.told(link, {"alice": "expired"}, now)
    assert suspension() == "expired"


def test_somebody_who_comes_is_active_whatever_was_said_before(link: PanelLink) -> None:
    now = timezone.now()
    people.told(link, {"alice": "limited"}, now)
    assert suspension() == "limited"
    people.came(link, [ALICE], now)
    assert suspension() == ""
    assert PanelIdentity.objects.get().status == ""


def test_a_person_of_two_panels_is_as_suspended_as_the_stricter_says(link: PanelLink) -> None:
    now = timezone.now()
    other = PanelLink.objects.create(name="Other", url="http://127.0.0.1:8001", number=1)
    people.came(link, [ALICE], now)
    PanelIdentity.objects.create(
        link=other, username="ally", user_id=7, subscriber=Subscriber.objects.get()
    )
    people.told(link, {"alice": "limited"}, now)
    people.told(other, {"ally": "expired"}, now)
    assert suspension() == "expired"
    people.told(other, {"ally": ""}, now)
    assert suspension() == "limited"


def test_a_word_that_the_node_protocol_contradicts_is_forgotten_after_a_while(
    link: PanelLink,
) -> None:
    now = timezone.now()
    people.came(link, [ALICE, BOB], now)
    people.told(link, {"alice": "limited", "bob": "limited"}, now)
    people.heal(link, [ALICE], now)
    assert suspension() == "limited"
    people.heal(link, [ALICE], now + timedelta(minutes=1))
    assert (suspension("alice"), suspension("bob")) == ("", "limited")


def test_a_name_that_comes_with_another_id_is_another_person(link: PanelLink) -> None:
    now = timezone.now()
    people.came(link, [ALICE], now)
    old = Subscriber.objects.get()
    stored(a_report(now, user_token=old.token, upload=0, download=70), now=now)
    people.came(link, [Person(9, "alice")], now)
    assert Subscriber.objects.count() == 2
    old.refresh_from_db()
    assert not old.is_active
    assert HandOver.objects.get(state="undeliverable").download == 70


def test_deleted_and_left_closes_whatever_comes_first(link: PanelLink) -> None:
    now = timezone.now()
    people.came(link, [ALICE], now)
    people.left(link, [ALICE], now)
    people.told(link, {"alice": "deleted"}, now)
    assert not PanelIdentity.objects.filter(closed_at=None).exists()
    people.came(link, [ALICE], now)
    people.told(link, {"alice": "deleted"}, now)
    people.left(link, [ALICE], now)
    assert not PanelIdentity.objects.filter(closed_at=None).exists()
    assert Subscriber.objects.filter(is_active=False, suspension="").count() == 2


def test_people_without_a_subscriber_are_followed_too(link: PanelLink) -> None:
    now = timezone.now()
    link.makes_subscribers = False
    baker.make(Subscriber, name="alice")
    people.came(link, [ALICE], now)
    people.told(link, {"alice": "limited"}, now)
    people.left(link, [ALICE], now)
    assert PanelIdentity.objects.get().status == "limited"
    assert suspension() == ""
