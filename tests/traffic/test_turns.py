import fcntl
import os
import threading
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections, transaction

from traffic import turns
from traffic.models import Subscriber

BOUND = 20  # seconds after which a test that hangs fails


def test_a_second_writer_waits_for_the_file(tmp_path: Path) -> None:
    path, entered = str(tmp_path / "lock"), threading.Event()

    def second() -> None:
        with turns._FileLock().held(path):
            entered.set()

    with turns._FileLock().held(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(BOUND)
    thread.join(BOUND)


def test_who_gets_the_file_too_late_is_told_that_the_database_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = type("SQLite", (), {"vendor": "sqlite", "settings_dict": {"NAME": str(tmp_path / "panel.db")}})
    monkeypatch.setattr(turns, "connection", fake)
    monkeypatch.setattr(turns, "DEADLINE", -1)
    with pytest.raises(OperationalError), turns.writers_turn():
        pass


def test_threads_of_one_process_take_turns_too(tmp_path: Path) -> None:
    lock, path, entered = turns._FileLock(), str(tmp_path / "lock"), threading.Event()

    def second() -> None:
        with lock.held(path):
            entered.set()

    with lock.held(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(BOUND)
    thread.join(BOUND)


def test_who_has_the_turn_may_ask_for_it_again_and_keeps_it_until_the_end(tmp_path: Path) -> None:
    path, others = str(tmp_path / "lock"), turns._FileLock()
    lock = turns._FileLock()
    with lock.held(path):
        with lock.held(path):
            pass
        with others._threads:
            others._open(path)
            with pytest.raises(BlockingIOError):
                fcntl.flock(others._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


on_a_file = pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL's writers work side by side")


@on_a_file
@pytest.mark.django_db(transaction=True)
def test_all_threads_write_with_one_connection_and_get_their_own_back() -> None:
    found: list[tuple[object, bool]] = []

    def write() -> None:
        own = connections["default"]
        with turns.writers_turn():
            writer = connections["default"]
            Subscriber.objects.create(name="by turns")
        found.append((writer, connections["default"] is own and own is not writer))
        own.close()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join(BOUND)
    assert len({id(writer) for writer, _ in found}) == 1
    assert [back for _, back in found] == [True] * 3
    assert Subscriber.objects.count() == 3


@on_a_file
@pytest.mark.django_db
def test_a_thread_inside_a_transaction_of_its_own_goes_on_with_that() -> None:
    own = connections["default"]
    with transaction.atomic(), turns.writers_turn():
        assert connections["default"] is own


def test_a_lock_file_that_cannot_be_made_means_that_the_database_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(OperationalError), turns._FileLock().held(str(tmp_path / "missing" / "lock")):
        pass


@pytest.mark.parametrize(
    ("vendor", "name"), [("postgresql", "/panel"), ("sqlite", ":memory:"), ("sqlite", "file:x?mode=memory")]
)
def test_what_no_file_stands_for_needs_no_queue(vendor: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = type("Database", (), {"vendor": vendor, "settings_dict": {"NAME": name}})
    monkeypatch.setattr(turns, "connection", fake)
    monkeypatch.setattr(turns._file_lock, "held", lambda path: pytest.fail(path))
    with turns.writers_turn():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_lock_that_root_makes_belongs_to_the_owner_of_the_database(tmp_path: Path) -> None:
    database = tmp_path / "panel.db"
    database.touch(0o640)
    os.chown(database, 12345, 23456)
    with turns._FileLock().held(f"{database}-lock"):
        lock = (tmp_path / "panel.db-lock").stat()
    assert (lock.st_uid, lock.st_gid, lock.st_mode & 0o777) == (12345, 23456, 0o640)
