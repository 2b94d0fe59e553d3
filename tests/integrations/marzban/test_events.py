"""Marzban's webhook: who may send it, and what becomes of the people it is about."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from model_bakery import baker

from integrations.marzban import events
from integrations.marzban.models import HandOver, PanelIdentity, PanelLink
from operations.audit import By
from traffic.models import Subscriber
from traffic.people import quotas

pytestmark = pytest.mark.django_db
URL = "/api/xpert/marzban-events"


@pytest.fixture
def link() -> PanelLink:
    return PanelLink.objects.create(name="Marzban", url="http://127.0.0.1:8000")


@pytest.fixture
def secret(link: PanelLink) -> str:
    return events.renew_secret(link, By("ann", timezone.now()))


def event(action: str, name: str = "alice", status: str | None = None) -> dict[str, Any]:
    user = {"username": name, "status": status, "proxies": {"vless": {"id": "secret"}}}
    found = {"action": action, "username": name, "enqueued_at": 1.5, "send_at": 1.5, "tries": 0}
    return found | ({"user": user} if status else {})


def send(secret: str, *sent: Any, body: bytes | None = None) -> Any:
    return Client().post(
        URL,
        json.dumps(sent) if body is None else body,
        content_type="application/json",
        headers={"x-webhook-secret": secret},
    )


def person(
    link: PanelLink, name: str = "alice", user_id: int | None = 1, **more: Any
) -> Subscriber:
    subscriber: Subscriber = baker.make(Subscriber, name=name)
    PanelIdentity.objects.create(
        link=link, username=name, user_id=user_id, subscriber=subscriber, **more
    )
    return subscriber


def state(name: str = "alice") -> str:
    found = Subscriber.objects.get(name=name)
    return quotas.state(found, 0, timezone.now()).value


# --- Access ----------------------------------------------------------------------


@pytest.mark.usefixtures("link")
def test_it_is_not_there_while_no_link_has_a_secret() -> None:
    assert send("anything").status_code == 404
    assert send("").status_code == 404


@pytest.mark.parametrize("wrong", ["", "x", "\xff"])
def test_a_wrong_secret_is_refused(secret: str, wrong: str) -> None:
    answer = send(wrong, event("user_created", status="active"))
    assert answer.status_code == 401
    assert not PanelIdentity.objects.exists()


def test_a_secret_opens_its_own_link_alone(secret: str, link: PanelLink) -> None:
    other = PanelLink.objects.create(name="Other", url="http://127.0.0.1:8001", number=1)
    of_other = events.renew_secret(other, By("ann", timezone.now()))
    assert send(of_other, event("user_created", "carol", "active")).status_code == 200
    assert send(secret, event("user_created", "alice", "active")).status_code == 200
    assert set(PanelIdentity.objects.values_list("link__name", "username")) == {
        ("Other", "carol"),
        ("Marzban", "alice"),
    }


def test_the_secret_is_stored_as_a_digest_and_replaced_by_the_next(
    secret: str, link: PanelLink
) -> None:
    link.refresh_from_db()
    assert secret not in link.events_secret
    events.renew_secret(link, By("ann", timezone.now()))
    assert send(secret).status_code == 401


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b'"x"', b"[1]", b'[{"action":"user_created"}]', b"\xff"]
)
def test_anything_but_a_list_of_events_is_refused(secret: str, body: bytes) -> None:
    assert send(secret, body=body).status_code == 400


@pytest.mark.parametrize(("size", "status"), [(4 * 2**20, 200), (4 * 2**20 + 1, 413)])
def test_a_batch_may_have_four_mebibytes(secret: str, size: int, status: int) -> None:
    assert send(secret, body=b"[" + b" " * (size - 2) + b"]").status_code == status


def test_what_it_does_not_know_it_passes_over(secret: str) -> None:
    sent = [
        event("reached_usage_percent", status="active"),
        event("user_updated", "bob", "something new"),
        event("invented", "carol"),
        event("user_created", "x" * 200, "active"),
    ]
    assert send(secret, *sent).json() == {"status": "success", "events": 1}
    assert list(Subscriber.objects.values_list("name", flat=True)) == ["alice"]


# --- People ------------------------------------------------------------------------


def test_a_new_user_becomes_a_subscriber(secret: str, link: PanelLink) -> None:
    send(secret, event("user_created", status="active"), event("user_created", "bob", "on_hold"))
    assert (state("alice"), state("bob")) == ("active", "active")
    PanelLink.objects.update(makes_subscribers=False)
    send(secret, event("user_created", "carol", "active"))
    assert PanelIdentity.objects.get(username="carol").subscriber is None


@pytest.mark.parametrize(
    ("action", "status", "found"),
    [
        ("user_limited", "limited", "limited"),
        ("user_expired", "expired", "expired"),
        ("user_disabled", "disabled", "disabled"),
        ("user_updated", "limited", "limited"),
        ("user_updated", "on_hold", "active"),
    ],
)
def test_a_subscriber_follows(
    secret: str, link: PanelLink, action: str, status: str, found: str
) -> None:
    person(link)
    send(secret, event(action, status=status))
    assert state() == found
    send(secret, event("data_usage_reset", status="active"))
    assert state() == "active"


def test_names_differ_by_more_than_letter_case(secret: str, link: PanelLink) -> None:
    person(link, "Alice")
    send(secret, event("user_limited", "aLICE", "limited"))
    assert state("Alice") == "limited"


def test_the_last_event_about_somebody_counts(secret: str, link: PanelLink) -> None:
    person(link)
    sent = [event("user_limited", status="limited"), event("user_enabled", status="active")]
    send(secret, *sent)
    assert state() == "active"
    send(secret, *reversed(sent))
    assert state() == "limited"


def test_our_own_limit_stays_beside_the_panels(secret: str, link: PanelLink) -> None:
    subscriber = person(link)
    Subscriber.objects.update(data_limit=1, is_active=False)
    send(secret, event("user_enabled", status="active"))
    subscriber.refresh_from_db()
    assert (subscriber.data_limit, subscriber.is_active) == (1, False)


def test_a_deleted_user_is_closed_and_the_usage_stays(secret: str, link: PanelLink) -> None:
    subscriber = person(link, is_active=False)
    send(secret, event("user_deleted"))
    assert PanelIdentity.objects.get().closed_at is not None
    subscriber.refresh_from_db()
    assert (subscriber.is_active, subscriber.hidden_at) == (False, None)
    send(secret, event("user_deleted", "stranger"))
    assert PanelIdentity.objects.count() == 1


def test_a_deleted_user_whom_the_panel_still_lets_in_is_closed_when_they_have_left(
    secret: str, link: PanelLink
) -> None:
    """An event may come again minutes later, when somebody else already has the name."""
    person(link)
    send(secret, event("user_deleted"))
    assert PanelIdentity.objects.get().closed_at is None
    assert state() == "disabled"


def test_a_user_who_was_deleted_and_made_again_is_active(secret: str, link: PanelLink) -> None:
    person(link)
    send(secret, event("user_deleted"), event("user_created", status="active"))
    assert state() == "active"
    assert PanelIdentity.objects.get().closed_at is None


def test_thousands_are_followed_in_one_message(secret: str, link: PanelLink) -> None:
    sent = [event("user_created", f"u{number}", "active") for number in range(1200)]
    assert send(secret, *sent).json()["events"] == 1200
    assert send(secret, *[event("user_deleted", f"u{number}") for number in range(1200)])
    assert not PanelIdentity.objects.filter(closed_at=None).exists()
    assert not HandOver.objects.exists()
