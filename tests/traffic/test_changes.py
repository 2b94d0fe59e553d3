"""What operators do to subscribers and servers, and the entries that tell of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from traffic import audit, changes, subscribers
from traffic.audit import By
from traffic.models import AuditEntry, Server, Subscriber
from traffic.recording import Outcome, record

from .examples import DAY, HOUR, NOW, a_report, balance, rows_stored, stored, subscriber, sums

pytestmark = pytest.mark.django_db

EVA = By("eva", NOW)


def a_subscriber(token: str = "ann-token-123", **fields: Any) -> Subscriber:
    return Subscriber.objects.create(token=token, **fields)


def noted() -> list[tuple[str, str, Any]]:
    return [(entry.author, entry.action, entry.changes) for entry in AuditEntry.objects.order_by("id")]


def test_extending_moves_the_expiry() -> None:
    ann = a_subscriber(expires_at=NOW + 5 * DAY)
    assert changes.extend([ann.pk], 30, EVA) == 1
    ann.refresh_from_db()
    assert ann.expires_at == NOW + 35 * DAY
    assert noted() == [
        ("eva", "extended", {"expires_at": ["2024-02-15T19:20:30+00:00", "2024-03-16T19:20:30+00:00"]}),
    ]


def test_extending_who_has_expired_counts_from_now() -> None:
    ann = a_subscriber(expires_at=NOW - 90 * DAY)
    changes.extend([ann.pk], 30, EVA)
    ann.refresh_from_db()
    assert ann.expires_at == NOW + 30 * DAY


def test_who_never_expires_stays_so() -> None:
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
    assert noted() == [("eva", "period restarted", {"reset_at": [None, "2024-02-10T19:20:30+00:00"]})]


def test_a_new_token_stops_the_old_one() -> None:
    stored(a_report())
    assert changes.renew_tokens([subscriber().pk], EVA) == 1
    token = Subscriber.objects.get().token
    assert subscribers.find("user123") is None
    assert subscribers.find(token) == Subscriber.objects.get()
    assert record([a_report()], NOW) == [Outcome.UNKNOWN_TOKEN]
    assert record([a_report(user_token=token)], NOW) == [Outcome.RECORDED]


def test_of_tokens_only_the_beginning_is_noted() -> None:
    stored(a_report())
    changes.renew_tokens([subscriber().pk], EVA)
    token = Subscriber.objects.get().token
    assert noted() == [("eva", "new token", {"token": ["us…", f"{token[:4]}…"]})]


def test_deleting_hides_and_no_figure_changes() -> None:
    stored(a_report())
    rows, figures = rows_stored(), sums()
    server = Server.objects.get()
    assert changes.hide(Subscriber, [subscriber().pk], EVA) == changes.hide(Server, [server.pk], EVA) == 1
    assert Subscriber.objects.get().hidden_at == Server.objects.get().hidden_at == NOW
    assert (rows_stored(), sums()) == (rows, figures)
    assert list(audit.entries(server).values_list("action", flat=True)) == ["deleted"]


def test_what_is_deleted_can_be_brought_back() -> None:
    stored(a_report())
    ann = subscriber()
    changes.hide(Subscriber, [ann.pk], EVA)
    assert subscribers.find("user123") is None
    assert changes.bring_back(Subscriber, [ann.pk], By("ivan", NOW + HOUR)) == 1
    assert subscribers.find("user123") == ann
    assert [entry[:2] for entry in noted()] == [("eva", "deleted"), ("ivan", "brought back")]


def test_what_is_there_is_neither_deleted_twice_nor_brought_back() -> None:
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


def test_one_who_is_gone_meanwhile_is_passed_over() -> None:
    assert changes.extend([12345], 30, EVA) == 0


def test_the_newest_entry_comes_first_and_reads_as_a_sentence() -> None:
    ann = a_subscriber()
    changes.switch([ann.pk], on=False, by=EVA)
    changes.switch([ann.pk], on=True, by=By("ivan", NOW))
    assert [str(entry) for entry in audit.entries(ann)] == [
        "ivan at 2024-02-10 19:20:30: switched on",
        "eva at 2024-02-10 19:20:30: switched off",
    ]
