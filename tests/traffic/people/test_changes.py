"""Operators' changes to subscribers and servers, and their audit entries."""

from datetime import UTC, datetime
from typing import Any

import pytest

from operations import audit
from operations.audit import By
from operations.models import AuditEntry
from tests.traffic.examples import (
    DAY,
    HOUR,
    NOW,
    a_report,
    balance,
    rows_stored,
    stored,
    subscriber,
    sums,
)
from traffic.ledger.recording import Outcome, record
from traffic.models import Server, Subscriber
from traffic.people import changes, subscribers

pytestmark = pytest.mark.django_db

EVA = By("eva", NOW)


def a_subscriber(token: str = "ann-token-123", **fields: Any) -> Subscriber:
    return Subscriber.objects.create(token=token, **fields)


def noted() -> list[tuple[str, str, Any]]:
    return [
        (entry.author, entry.action, entry.changes) for entry in AuditEntry.objects.order_by("id")
    ]


def test_extending_moves_the_expiry() -> None:
    ann = a_subscriber(expires_at=NOW + 5 * DAY)
    assert changes.extend([ann.pk], 30, EVA) == 1
    ann.refresh_from_db()
    assert ann.expires_at == NOW + 35 * DAY
    assert noted() == [
        (
            "eva",
            "extended",
            {"expires_at": ["2024-02-15T19:20:30+00:00", "2024-03-16T19:20:30+00:00"]},
        ),
    ]


def test_extending_who_has_expired_counts_from_now() -> None:
    ann = a_subscriber(expires_at=NOW - 90 * DAY)
    changes.extend([ann.pk], 30, EVA)
    ann.refresh_from_db()
    assert ann.expires_at == NOW + 30 * DAY


def test_subscribers_without_an_expiry_date_are_not_changed() -> None:
    ann = a_subscriber()
    assert changes.extend([ann.pk], 30, EVA) == 0
    ann.refresh_from_db()
    assert ann.expires_at is None
    assert noted() == []


def test_no_expiry_passes_what_a_date_can_hold() -> None:
    ann = a_subscriber(expires_at=datetime(9999, 12, 1, tzinfo=UTC))
    assert changes.extend([ann.pk], 3650, EVA) == 1
    ann.refresh_from_db()
    assert ann.expires_at == datetime(9999, 1, 1, tzinfo=UTC)


def test_switching_names_only_who_was_not_so_already() -> None:
    ann, bob = a_subscriber(), a_subscriber("bob-token-123", is_active=False)
    assert changes.switch([ann.pk, bob.pk], on=False, by=EVA) == 1
    assert list(Subscriber.objects.filter(is_active=False).order_by("pk")) == [ann, bob]
    assert noted() == [("eva", "switched off", {"is_active": [True, False]})]
    assert changes.switch([ann.pk, bob.pk], on=True, by=EVA) == 2


def test_restarting_sets_the_period_back_and_keeps_the_life() -> None:
    stored(a_report(upload=100))
    assert changes.restart([subscriber().pk], EVA) == 1
    assert (balance().period_upload, balance().life_upload) == (0, 100)
    assert noted() == [
        ("eva", "period restarted", {"reset_at": [None, "2024-02-10T19:20:30+00:00"]})
    ]


def test_a_new_token_stops_the_old_one() -> None:
    stored(a_report())
    assert changes.renew_tokens([subscriber().pk], EVA) == 1
    token = Subscriber.objects.get().token
    assert subscribers.find("user123") is None
    assert subscribers.find(token) == Subscriber.objects.get()
    assert record([a_report()], NOW) == [Outcome.UNKNOWN_TOKEN]
    assert record([a_report(user_token=token)], NOW) == [Outcome.RECORDED]


def test_only_the_beginning_of_a_token_is_noted() -> None:
    stored(a_report())
    changes.renew_tokens([subscriber().pk], EVA)
    token = Subscriber.objects.get().token
    assert noted() == [("eva", "new token", {"token": ["us…", f"{token[:4]}…"]})]


def test_deleting_hides_and_no_figure_changes() -> None:
    stored(a_report())
    rows, figures = rows_stored(), sums()
    server = Server.objects.get()
    assert (
        changes.hide(Subscriber, [subscriber().pk], EVA)
        == changes.hide(Server, [server.pk], EVA)
        == 1
    )
    assert Subscriber.objects.get().hidden_at == Server.objects.get().hidden_at == NOW
    assert (rows_stored(), sums()) == (rows, figures)
    assert list(audit.entries(server).values_list("action", flat=True)) == ["deleted"]


def test_a_deleted_row_can_be_brought_back() -> None:
    stored(a_report())
    ann = subscriber()
    changes.hide(Subscriber, [ann.pk], EVA)
    assert subscribers.find("user123") is None
    assert changes.bring_back(Subscriber, [ann.pk], By("ivan", NOW + HOUR)) == 1
    assert subscribers.find("user123") == ann
    assert [entry[:2] for entry in noted()] == [("eva", "deleted"), ("ivan", "brought back")]


def test_rows_are_neither_deleted_twice_nor_brought_back_twice() -> None:
    ann = a_subscriber()
    assert changes.bring_back(Subscriber, [ann.pk], EVA) == 0
    changes.hide(Subscriber, [ann.pk], EVA)
    assert changes.hide(Subscriber, [ann.pk], By("ivan", NOW + HOUR)) == 0
    assert Subscriber.objects.get().hidden_at == NOW


def test_many_are_changed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "STEP", 2)
    found = [a_subscriber(f"token-{number}", expires_at=NOW) for number in range(5)]
    ids = [row.pk for row in found]
    assert changes.extend(ids, 1, EVA) == 5
    assert changes.hide(Subscriber, ids, EVA) == 5
    assert AuditEntry.objects.count() == 10


def test_a_subscriber_who_is_gone_meanwhile_is_skipped() -> None:
    assert changes.extend([12345], 30, EVA) == 0


def test_the_newest_entry_comes_first_and_reads_as_a_sentence() -> None:
    ann = a_subscriber()
    changes.switch([ann.pk], on=False, by=EVA)
    changes.switch([ann.pk], on=True, by=By("ivan", NOW))
    assert [str(entry) for entry in audit.entries(ann)] == [
        "ivan at 2024-02-10 19:20:30: switched on",
        "eva at 2024-02-10 19:20:30: switched off",
    ]


def test_extending_until_a_moment_sets_the_expiry_of_whoever_has_another() -> None:
    ann, bob = a_subscriber(expires_at=NOW), a_subscriber("bob-token-123", expires_at=NOW + DAY)
    assert changes.extend_until([ann.pk, bob.pk], NOW + DAY, EVA) == 1
    ann.refresh_from_db()
    assert ann.expires_at == NOW + DAY
    assert [(author, action) for author, action, _ in noted()] == [("eva", "extended")]


def test_editing_notes_what_became_of_each_field_and_nothing_of_others() -> None:
    ann, bob = a_subscriber(name="Ann"), a_subscriber("bob-token-123", name="Anna")
    assert changes.edit([ann.pk, bob.pk], {"name": "Anna", "is_active": True}, EVA) == 1
    assert noted() == [("eva", "changed", {"name": ["Ann", "Anna"]})]
    assert set(Subscriber.objects.values_list("name", flat=True)) == {"Anna"}


def test_editing_the_reset_counts_the_period_again() -> None:
    stored(a_report(NOW - 40 * DAY), a_report(NOW))
    assert balance().period_upload == 2
    changes.edit([subscriber().pk], {"limit_reset": "monthly"}, EVA)
    assert (balance().period_upload, balance().life_upload) == (1, 2)


def test_a_new_subscriber_is_noted() -> None:
    changes.add(Subscriber(name="Ann"), EVA)
    assert noted() == [("eva", "added", {})]


def test_what_another_app_changes_stands_in_the_same_entry() -> None:
    ann = a_subscriber(name="Ann")
    changes.edit(
        [ann.pk], {"name": "Anna"}, EVA, lambda rows: {rows[0].pk: {"groups": (["a"], [])}}
    )
    assert noted() == [("eva", "changed", {"name": ["Ann", "Anna"], "groups": [["a"], []]})]
