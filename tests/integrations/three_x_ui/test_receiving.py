"""A message is booked at once, or waits on disk, and counts once either way: with a database that is really busy."""

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from integrations.three_x_ui import booking, conditions, draining, receiving
from integrations.three_x_ui.booking import Told
from integrations.three_x_ui.booking_threads import Threads
from integrations.three_x_ui.spool import Spool, SpoolFullError
from operations.findings import Level
from operations.models import ApiKey
from tests.integrations.three_x_ui.conftest import Inform
from traffic.ledger.meters import Answer
from traffic.models import ReceivedEvent, Subscriber, Usage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def alice(db: None) -> Subscriber:
    return Subscriber.objects.create(token="alice")


@pytest.fixture(autouse=True)
def threads_end(db: None) -> Iterator[None]:
    """No thread of this test is left that uses the database."""
    yield
    for thread in threading.enumerate():
        if thread.name == "inform":
            thread.join(30)


@contextlib.contextmanager
def busy_database() -> Iterator[None]:
    """Another program holds it: the rows of usage cannot be written, and SQLite not at all."""
    if connection.vendor == "sqlite":
        other: Any = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        other = connection.copy()
        other.connect()
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE traffic_usage IN SHARE MODE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


def total() -> int:
    return sum(row.upload + row.download for row in Usage.objects.all())


def message(up: int, id_: str = "m1") -> Told:
    return Told(
        id_,
        ApiKey.objects.get().pk,
        "192.0.2.1",
        int(timezone.now().timestamp()),
        {"alice": (up, 0)},
    )


def test_a_free_database_takes_it_at_once(
    inform: Inform, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "PATIENCE", 60)
    assert inform({"email": "alice", "up": 5}).json()["recorded"] == 1
    assert total() == 5
    assert not spool.folder.exists()


def test_a_busy_database_leaves_it_on_disk_until_it_is_free(inform: Inform, spool: Spool) -> None:
    with busy_database():
        answers = [inform({"email": "alice", "up": 5}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert answers[0].json() == {"status": "success", "waiting": 1, "rejected": []}
        assert len(spool.paths()) == 3
        assert total() == 0
    assert draining.drain() == 3
    assert spool.paths() == []
    assert total() == 15


def test_what_the_thread_books_later_is_not_booked_again_from_the_disk(
    inform: Inform, spool: Spool, threads_end: None
) -> None:
    with busy_database():
        inform({"email": "alice", "up": 5})
    for thread in threading.enumerate():
        if thread.name == "inform":
            thread.join(30)
    assert total() == 5
    assert len(spool.paths()) == 1
    assert draining.drain() == 1
    assert total() == 5


def test_a_message_is_counted_once_by_any_number_of_threads(key: str) -> None:
    told = message(7)

    def book() -> None:
        with contextlib.suppress(OperationalError):
            booking.book(told, timezone.now())
        connection.close()

    threads = [threading.Thread(target=book) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert total() == 7


def test_a_second_message_is_another(key: str) -> None:
    for id_ in ("m1", "m2"):
        booking.book(message(7, id_), timezone.now())
    assert total() == 14


def test_it_is_counted_in_the_hour_in_which_it_came(key: str) -> None:
    now = timezone.now()
    told = Told(
        "m1",
        ApiKey.objects.get().pk,
        "192.0.2.1",
        int(now.timestamp()) - 5 * 3600,
        {"alice": (1, 0)},
    )
    booking.book(told, now)
    assert Usage.objects.get().hour == (now - timedelta(hours=5)).replace(
        minute=0, second=0, microsecond=0
    )


@pytest.fixture
def busy_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_threads", Threads(0))


def test_a_message_that_finds_no_thread_goes_to_the_disk_at_once(
    inform: Inform, spool: Spool, busy_threads: None
) -> None:
    assert inform({"email": "alice", "up": 5}).json()["waiting"] == 1
    assert draining.drain() == 1
    assert total() == 5


def test_without_threads_everything_goes_to_the_disk(
    inform: Inform, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", _raise(RuntimeError("can't start new thread")))
    for _ in range(10):
        assert inform({"email": "alice", "up": 5}).status_code == 200
    assert len(spool.paths()) == 10


@pytest.mark.parametrize("error", [SpoolFullError(), OSError(28, "No space left on device")])
def test_a_full_disk_and_a_busy_database_are_503_and_nothing_is_counted(
    inform: Inform, monkeypatch: pytest.MonkeyPatch, busy_threads: None, error: Exception
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Spool, "put", full)
    answer = inform({"email": "alice", "up": 5})
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert total() == 0


def test_on_a_full_disk_the_database_has_all_the_time_it_needs(
    inform: Inform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spool, "put", _raise(SpoolFullError()))
    monkeypatch.setattr(receiving, "PATIENCE", 0.0)
    assert inform({"email": "alice", "up": 5}).json()["recorded"] == 1
    assert total() == 5


def test_what_cannot_be_booked_for_an_unknown_reason_is_kept_too(
    inform: Inform, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(booking, "book", _raise(RuntimeError("?")))
    assert inform({"email": "alice", "up": 5}).status_code == 200
    assert len(spool.paths()) == 1


def test_messages_that_were_booked_in_time_are_forgotten_and_others_are_not(
    inform: Inform, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "_in_time", deque())
    monkeypatch.setattr(receiving, "_MANY", 2)
    with busy_database():
        inform({"email": "alice", "up": 1})
    monkeypatch.setattr(receiving, "PATIENCE", 60)
    for _ in range(4):
        inform({"email": "alice", "up": 1})
    for thread in threading.enumerate():
        if thread.name == "inform":
            thread.join(30)
    waiting = draining._decode(spool.paths()[0].read_bytes()).id
    left = set(ReceivedEvent.objects.values_list("event_id", flat=True))
    assert waiting in left
    assert len(left) <= 3
    draining.drain()
    assert total() == 5


def test_a_message_without_traffic_leaves_nothing_to_remember(
    inform: Inform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "PATIENCE", 60)
    inform({"email": "alice", "up": 0})
    assert not ReceivedEvent.objects.exists()


def test_a_busy_message_without_traffic_is_not_worth_a_file(inform: Inform, spool: Spool) -> None:
    with busy_database():
        assert inform({"email": "alice", "up": 0}).status_code == 200
    assert spool.paths() == []


class TestDraining:
    @pytest.fixture
    def waiting(self, key: str, spool: Spool) -> Spool:
        for number in range(3):
            draining.keep(message(2**number, f"m{number}"))
        return spool

    def test_it_stops_at_the_first_that_the_database_does_not_take(
        self, waiting: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book = booking.book
        monkeypatch.setattr(
            booking, "book", lambda told, now: _busy() if told.id == "m1" else book(told, now)
        )
        assert draining.drain() == 1
        assert len(waiting.paths()) == 2
        assert total() == 1

    def test_what_waits_while_tracking_is_off_waits_on(
        self, waiting: Spool, settings: Settings
    ) -> None:
        settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
        assert draining.drain() == 0
        settings.XPERT_TRAFFIC_TRACKING_ENABLED = True
        assert draining.drain() == 3
        assert total() == 7

    def test_a_message_that_was_booked_before_its_file_was_deleted_counts_once(
        self, waiting: Spool
    ) -> None:
        """As after a kill between the commit and the deletion."""
        for path in waiting.paths():
            booking.book(draining._decode(path.read_bytes()), timezone.now())
        assert draining.drain() == 3
        assert waiting.paths() == []
        assert total() == 7

    def test_what_cannot_be_read_is_set_aside_and_holds_up_nothing(self, waiting: Spool) -> None:
        waiting.paths()[0].write_bytes(b"?")
        draining.drain()
        assert waiting.waiting()[::3] == (0, 1)
        assert total() == 6

    def test_what_nobody_remembers_is_set_aside(self, waiting: Spool) -> None:
        """Of events older than 31 days it is not known whether they were counted."""
        first = waiting.paths()[0]
        old = int((timezone.now() - timedelta(days=31, minutes=1)).timestamp() * 1e9)
        first.rename(first.with_name(f"{old:020d}-m0.json"))
        draining.drain()
        assert waiting.waiting().set_aside == 1
        assert total() == 6

    def test_two_do_not_drain_at_once(self, waiting: Spool) -> None:
        with waiting.alone():
            assert draining.drain() == 0
        assert draining.drain() == 3

    def test_the_command_says_what_it_did(
        self, waiting: Spool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call_command("drain_spool")
        assert capsys.readouterr().out == "Booked: 3. Waiting: 0.\n"
        assert total() == 7

    def test_the_command_fails_while_some_wait(self, waiting: Spool) -> None:
        with waiting.alone(), pytest.raises(CommandError):
            call_command("drain_spool")

    def test_the_thread_goes_on_until_nothing_waits_and_ends(
        self, waiting: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(draining, "_FIRST_PAUSE", 0.01)
        book, answers = booking.book, iter([_busy, _busy])
        monkeypatch.setattr(
            booking, "book", lambda told, now: next(answers, lambda: book(told, now))()
        )
        drainer = draining.Drainer()
        drainer.wake()
        thread = drainer._thread
        assert thread is not None
        thread.join(60)
        assert waiting.paths() == []
        assert total() == 7
        drainer.wake()
        again = drainer._thread
        assert again is None or again is not thread
        if again:
            again.join(60)


class TestConditions:
    def found(self, ahead: int = 0) -> list[tuple[str, Level]]:
        now = timezone.now() + timedelta(seconds=ahead)
        return [(one.code, one.level) for one in conditions.spool(now)]

    def test_an_empty_spool_is_not_worth_a_word(self) -> None:
        assert self.found() == []

    @pytest.mark.parametrize(
        ("ahead", "level"), [(0, Level.OK), (62, Level.WARNING), (3602, Level.ERROR)]
    )
    def test_waiting_is_worse_the_longer_it_lasts(self, key: str, ahead: int, level: Level) -> None:
        draining.keep(message(1))
        assert self.found(ahead) == [("inform-waiting", level)]

    def test_what_is_set_aside_is_an_error(self, key: str, spool: Spool) -> None:
        draining.keep(message(1))
        spool.paths()[0].write_bytes(b"?")
        draining.drain()
        assert self.found() == [("inform-set-aside", Level.ERROR)]


def _raise(error: Exception) -> Callable[..., Answer]:
    def raising(*_: Any) -> Answer:
        raise error

    return raising


def _busy() -> Answer:
    raise OperationalError("busy")
