"""Erasing one person: no personal data is left, and no total changes."""

import contextlib
import io
import sys
from typing import Any

import msgspec
import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import transaction

from operations import audit
from operations.audit import Action, By, note
from operations.extension import Extension, register
from tests.traffic.examples import (
    DAY,
    HOUR,
    NOW,
    a_report,
    assert_sums_agree,
    balance,
    rows_stored,
    stored,
    subscriber,
    sums,
    window,
)
from traffic.figures import statistics
from traffic.ledger import recording, retention
from traffic.ledger.desk import Desk, NewServers
from traffic.models import (
    MAX_COUNTER,
    Balance,
    Correction,
    Meter,
    ReceivedEvent,
    ServerUsage,
    Subscriber,
    Usage,
)
from traffic.people import corrections, erasure, tidying
from traffic.people.subscribers import find

pytestmark = pytest.mark.django_db
BY = By("ada", NOW)


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("erase_subscriber", *arguments, stdout=output, no_color=True)
    return output.getvalue().strip()


def anonymous() -> Subscriber:
    return Subscriber.objects.get(token=erasure.ANONYMOUS_TOKEN)


@pytest.fixture
def _people() -> None:
    """Ann and Bob on two servers, partly in the same hours. Ann's oldest record is cleaned, and she has a correction."""
    for token in ("ann", "bob"):
        stored(
            *(a_report(NOW - age * HOUR, user_token=token, event_id=f"{age}") for age in range(5)),
            *(
                a_report(NOW - age * DAY, user_token=token, server="b.example.com", upload=7)
                for age in (1, 3, 20)
            ),
        )
    retention.delete_records(10, NOW)
    corrections.make(
        Correction(subscriber=subscriber("ann"), upload=-3, download=50, reason="Ann's refund"), BY
    )


@pytest.mark.usefixtures("_people")
def test_the_sums_move_and_the_person_goes() -> None:
    ann = subscriber("ann")
    before = sums(Usage, ServerUsage)
    life = balance("ann")
    Meter.objects.create(subscriber=ann, key="k")
    LogEntry.objects.create(
        user=User.objects.create(), content_type=ContentType.objects.get_for_model(Subscriber), object_id=str(ann.pk),
        object_repr="Ann", action_flag=CHANGE,
    )  # fmt: skip
    erased = erasure.erase(ann, BY)
    assert erased.records == 7
    assert erased.dropped == {
        "events": 5, "amounts set aside": 0, "names": 0, "meters": 1, "audit entries": 1,
        "admin log entries": 1, "notifications": 0, "users of linked panels": 0, "hits": 0, "devices": 0,
        "own accounts": 0, "wish to be notified": 0, "readings of panels": 0, "old accounts": 0,
        "Telegram chat": 0,
    }  # fmt: skip
    assert sums(Usage, ServerUsage) == before
    heir = Balance.objects.get(subscriber=anonymous())
    for name in (
        "life_upload",
        "life_download",
        "life_reports",
        "cleaned_upload",
        "corrected_download",
    ):
        assert getattr(heir, name) == getattr(life, name), name
    assert heir.last_used_at == life.last_used_at
    assert_sums_agree()
    assert not Subscriber.objects.filter(pk=ann.pk).exists()
    for model in (Usage, Balance, ReceivedEvent, Meter, Correction):
        assert not model._default_manager.filter(subscriber=ann.pk).exists(), model
    assert not LogEntry.objects.exists()
    assert "Ann" not in str(list(Correction.objects.values()))
    assert list(audit.entries(anonymous()).values_list("action", "author")) == [("erased", "ada")]


@pytest.mark.usefixtures("_people")
def test_two_who_are_erased_become_one_anonymous_subscriber() -> None:
    before = sums(Usage, ServerUsage)
    total = statistics.overall(window())
    for token in ("ann", "bob"):
        erasure.erase(subscriber(token), BY)
        assert_sums_agree()
    assert Subscriber.objects.count() == 1
    assert Usage.objects.count() == 7, "records of one hour and server became one"
    assert sums(Usage, ServerUsage) == before
    after = statistics.overall(window())
    assert after == msgspec.structs.replace(total, users=1)


@pytest.mark.usefixtures("_people")
def test_others_are_not_touched() -> None:
    bob, before = subscriber("bob"), balance("bob")
    erasure.erase(subscriber("ann"), BY)
    found = balance("bob")
    assert (found.life_upload, found.period_upload, found.last_used_at) == (
        before.life_upload, before.period_upload, before.last_used_at,
    )  # fmt: skip
    assert ReceivedEvent.objects.filter(subscriber=bob).count() == 5
    assert Usage.objects.filter(subscriber=bob).count() == 7


def test_nobody_can_report_for_the_anonymous_subscriber_or_read_it() -> None:
    stored(a_report())
    erasure.erase(subscriber(), BY)
    assert find(erasure.ANONYMOUS_TOKEN) is None
    assert anonymous().hidden_at is not None
    assert not anonymous().is_active


def test_a_subscriber_without_usage_is_erased_too() -> None:
    Subscriber.objects.create(token="quiet")
    assert erasure.erase(subscriber("quiet"), BY).records == 0
    assert Subscriber.objects.get() == anonymous()
    assert_sums_agree()


def test_the_token_is_free_again_and_begins_from_nothing() -> None:
    stored(a_report(event_id="x"))
    erasure.erase(subscriber(), BY)
    stored(a_report(event_id="x"))
    assert balance().life_reports == 1
    assert_sums_agree()


def test_the_anonymous_subscriber_cannot_be_erased() -> None:
    stored(a_report())
    erasure.erase(subscriber(), BY)
    before = rows_stored()
    with pytest.raises(erasure.ErasureError, match="anonymous"):
        erasure.erase(anonymous(), BY)
    assert rows_stored() == before


def test_a_report_that_was_under_way_goes_to_the_anonymous_subscriber_too() -> None:
    stored(a_report())
    # The report has looked up the subscriber.
    late = recording._Group([a_report(upload=5)], Desk(NOW, NewServers(), create=False))
    erasure.erase(subscriber(), BY)
    with transaction.atomic():
        late.record(careful=False)
        late.add_server_usage(careful=False)
    tidying.tidy(NOW)
    found = Balance.objects.get()
    assert found.subscriber == anonymous()
    assert (found.life_upload, found.life_reports) == (6, 2)
    assert_sums_agree()


def test_sums_that_would_pass_their_bound_go_to_another_anonymous_subscriber() -> None:
    for token in ("ann", "bob", "carl"):
        stored(a_report(user_token=token))
        Balance.objects.filter(subscriber__token=token).update(
            life_upload=MAX_COUNTER - 1, cleaned_upload=MAX_COUNTER - 2
        )
    for token in ("ann", "bob", "carl"):
        erasure.erase(subscriber(token), BY)
        assert_sums_agree()
    assert sum(Balance.objects.values_list("life_upload", flat=True)) == 3 * (MAX_COUNTER - 1)
    heirs = list(Subscriber.objects.order_by("pk"))
    assert [heir.token for heir in heirs] == ["(erased)", "(erased) 2", "(erased) 3"]
    for heir in heirs:
        with pytest.raises(erasure.ErasureError, match="anonymous"):
            erasure.erase(heir, BY)


def test_sums_that_do_not_agree_are_said_to() -> None:
    stored(a_report(upload=5))
    Balance.objects.update(life_upload=4)
    with pytest.raises(erasure.ErasureError, match="check_traffic"):
        erasure.erase(subscriber(), BY)
    assert list(Usage.objects.values_list("upload", flat=True)) == [5]
    tidying.tidy(NOW)  # the erasure tries again and continues


# --- in steps ----------------------------------------------------------------


@pytest.mark.usefixtures("_people")
def test_it_moves_so_many_records_per_transaction_and_the_sums_agree_after_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erasure, "STEP", 2)
    before = sums(Usage, ServerUsage)
    step, moved = erasure._move_step, list[int]()

    def watched(*args: Any) -> int:
        moved.append(step(*args))
        assert_sums_agree()
        assert sums(Usage, ServerUsage) == before
        return moved[-1]

    monkeypatch.setattr(erasure, "_move_step", watched)
    assert erasure.erase(subscriber("ann"), BY).records == 7
    assert moved == [2, 2, 2, 1, 0]
    assert_sums_agree()


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("_people")
@pytest.mark.parametrize("lived", range(6))
def test_killed_between_two_steps_the_sums_agree_and_the_next_cleanup_finishes(
    monkeypatch: pytest.MonkeyPatch, lived: int
) -> None:
    monkeypatch.setattr(erasure, "STEP", 2)
    ann, before = subscriber("ann"), sums(Usage, ServerUsage)
    step, left = erasure._move_step, iter(range(lived))

    def killed(*args: Any) -> int:
        if next(left, None) is None:
            raise Killed
        return step(*args)

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(erasure, "_move_step", killed)
        erasure.erase(ann, BY)
    assert_sums_agree()
    assert find("ann") is None
    tidying.tidy(NOW)
    assert_sums_agree()
    assert sums(Usage, ServerUsage) == before
    assert not Subscriber.objects.filter(pk=ann.pk).exists()
    assert not Usage.objects.filter(subscriber=ann.pk).exists()


def test_events_are_dropped_in_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "STEP", 2)
    stored(*(a_report(event_id=str(n)) for n in range(5)))
    assert erasure.erase(subscriber(), BY).dropped["events"] == 5
    assert not ReceivedEvent.objects.exists()


def test_protection_by_another_app_is_reported_before_anything_is_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erasure, "_OURS", tuple(set(erasure._OURS) - {Correction}))
    stored(a_report())
    corrections.make(Correction(subscriber=subscriber(), upload=5, download=0, reason="x"), BY)
    with pytest.raises(erasure.ErasureError, match="The subscriber still has corrections"):
        erasure.erase(subscriber(), BY)
    assert find("user123") is None
    assert not Subscriber.objects.filter(token=erasure.ANONYMOUS_TOKEN).exists()
    assert_sums_agree()
    monkeypatch.undo()
    tidying.tidy(NOW)
    assert Subscriber.objects.get() == anonymous()


@pytest.mark.usefixtures("only_traffic")
def test_rows_of_other_apps_are_deleted_too() -> None:
    asked: list[int] = []

    def drop(pk: int) -> int:
        asked.append(pk)
        return 3

    register(Extension(name="x", erase={"letters": drop}))
    stored(a_report())
    pk = subscriber().pk
    assert erasure.erase(subscriber(), BY).dropped["letters"] == 3
    assert asked == [pk]


@pytest.mark.usefixtures("_people")
@pytest.mark.parametrize("by_id", [True, False])
def test_the_command_says_what_it_did(by_id: bool) -> None:
    ann = subscriber("ann")
    note(Action.CHANGED, ann, BY)
    who = ["--id", str(ann.pk)] if by_id else ["ann"]
    assert run(*who, "--dry-run") == f"Would erase #{ann.pk} '', and keep the sums of 7 records."
    assert Subscriber.objects.filter(pk=ann.pk).exists()
    said = run(*who, "--yes")
    assert said.startswith(
        f"Erased #{ann.pk}: 7 records moved to the anonymous subscriber; dropped 5 events, "
    )
    assert "2 audit entries" in said


@pytest.mark.parametrize(
    "arguments", [[], ["nobody"], ["--id", "0"], ["ann", "--id", "1"], ["--id", "x"]]
)
def test_the_command_needs_to_know_whom(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run(*arguments, "--yes")


@pytest.mark.parametrize(("terminal", "answer"), [(False, "yes"), (True, "no"), (True, "")])
def test_without_a_yes_nobody_is_erased(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, answer: str
) -> None:
    stored(a_report())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return answer

    monkeypatch.setattr("builtins.input", ask)
    with pytest.raises(CommandError, match="Nobody was erased"):
        run("user123")
    assert bool(asked) == terminal
    assert Subscriber.objects.filter(token="user123").exists()
