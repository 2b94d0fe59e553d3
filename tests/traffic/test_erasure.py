"""Erasing one person: nothing tells of him any more, and no total has changed."""

import io
import sys

import msgspec
import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import transaction

from traffic import corrections, erasure, recording, retention, statistics
from traffic.audit import Action, By, note
from traffic.models import (
    MAX_COUNTER,
    AuditEntry,
    Balance,
    Correction,
    ImportedUsage,
    ReceivedEvent,
    ServerUsage,
    Subscriber,
    Usage,
)
from traffic.subscribers import find

from .examples import (
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
    """Ann and Bob on two servers, partly in the same hours; Ann's oldest record is cleaned, and she was corrected."""
    for token in ("ann", "bob"):
        stored(
            *(a_report(NOW - age * HOUR, user_token=token, event_id=f"{age}") for age in range(5)),
            *(a_report(NOW - age * DAY, user_token=token, server="b.example.com", upload=7) for age in (1, 3, 20)),
        )
    retention.delete_records(10, NOW)
    corrections.make(Correction(subscriber=subscriber("ann"), upload=-3, download=50, reason="Ann's refund"), BY)


@pytest.mark.usefixtures("_people")
def test_the_sums_move_and_the_person_goes() -> None:
    ann = subscriber("ann")
    before = sums(Usage, ServerUsage)
    life = balance("ann")
    ImportedUsage.objects.create(subscriber=ann, key="k")
    LogEntry.objects.create(
        user=User.objects.create(), content_type=ContentType.objects.get_for_model(Subscriber), object_id=str(ann.pk),
        object_repr="Ann", action_flag=CHANGE,
    )  # fmt: skip
    erased = erasure.erase(ann, BY)
    assert erased.records == 7
    assert erased.dropped == {
        "events": 5, "marks of imports": 1, "audit entries": 1, "admin log entries": 1,
    } | dict.fromkeys(erasure._others, 0)  # fmt: skip
    assert sums(Usage, ServerUsage) == before
    heir = Balance.objects.get(subscriber=anonymous())
    for name in ("life_upload", "life_download", "life_connections", "cleaned_upload", "corrected_download"):
        assert getattr(heir, name) == getattr(life, name), name
    assert heir.last_used_at == life.last_used_at
    assert_sums_agree()
    assert not Subscriber.objects.filter(pk=ann.pk).exists()
    for model in (Usage, Balance, ReceivedEvent, ImportedUsage, Correction):
        assert not model._default_manager.filter(subscriber=ann.pk).exists(), model
    assert not LogEntry.objects.exists()
    assert "Ann" not in str(list(Correction.objects.values()))
    assert list(AuditEntry.objects.filter(subscriber=anonymous()).values_list("action", "author")) == [
        ("erased", "ada")
    ]


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


def test_who_never_used_anything_is_erased_too() -> None:
    Subscriber.objects.create(token="quiet")
    assert erasure.erase(subscriber("quiet"), BY).records == 0
    assert Subscriber.objects.get() == anonymous()
    assert_sums_agree()


def test_the_token_is_free_again_and_begins_from_nothing() -> None:
    stored(a_report(event_id="x"))
    erasure.erase(subscriber(), BY)
    stored(a_report(event_id="x"))
    assert balance().life_connections == 1
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
    late = recording._Group([a_report(upload=5)], NOW)  # it has looked up the subscriber
    erasure.erase(subscriber(), BY)
    with transaction.atomic():
        late.record(create=False, careful=False)
    retention.tidy(NOW)
    found = Balance.objects.get()
    assert found.subscriber == anonymous()
    assert (found.life_upload, found.life_connections) == (6, 2)
    assert_sums_agree()


def test_sums_that_would_pass_their_bound_stay_where_they_are() -> None:
    for token in ("ann", "bob"):
        stored(a_report(user_token=token))
        Balance.objects.filter(subscriber__token=token).update(
            life_upload=MAX_COUNTER - 1, cleaned_upload=MAX_COUNTER - 2
        )
    bob = subscriber("bob")
    erasure.erase(subscriber("ann"), BY)
    with pytest.raises(erasure.ErasureError, match="would pass 1024 PB"):
        erasure.erase(bob, BY)
    bob.refresh_from_db()
    assert bob.hidden_at == NOW
    assert_sums_agree()


def test_what_other_apps_keep_is_dropped_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(erasure, "_others", {})

    def drop(pk: int) -> int:
        asked.append(pk)
        return 3

    erasure.also_erase("letters", drop)
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
    assert said.startswith(f"Erased #{ann.pk}: 7 records moved to the anonymous subscriber; dropped 5 events, ")
    assert "2 audit entries" in said


@pytest.mark.parametrize("arguments", [[], ["nobody"], ["--id", "0"], ["ann", "--id", "1"], ["--id", "x"]])
def test_the_command_needs_to_know_whom(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run(*arguments, "--yes")


@pytest.mark.parametrize(("terminal", "answer"), [(False, "yes"), (True, "no"), (True, "")])
def test_without_a_yes_nobody_is_erased(monkeypatch: pytest.MonkeyPatch, terminal: bool, answer: str) -> None:
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
