import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from django.db import OperationalError

from operations.databases import write_lock
from operations.databases.write_lock import FileLock

BOUND = 20  # seconds after which a test that hangs fails


def soon() -> float:
    return time.monotonic() + BOUND


def wait_for(lock: FileLock, path: str) -> tuple[threading.Thread, threading.Event]:
    """A thread that wants the lock, and whether it has it."""
    entered = threading.Event()

    def second() -> None:
        with lock.held(path, soon()):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    return thread, entered


@pytest.mark.parametrize("same_process", [True, False])
def test_a_second_writer_waits_until_the_first_is_done(tmp_path: Path, same_process: bool) -> None:
    path, lock = str(tmp_path / "lock"), FileLock()
    with lock.held(path, soon()):
        thread, entered = wait_for(lock if same_process else FileLock(), path)
        assert not entered.wait(0.1)
    assert entered.wait(BOUND)
    thread.join(BOUND)


def test_the_thread_that_holds_the_lock_may_take_it_again_and_keeps_it_until_the_end(
    tmp_path: Path,
) -> None:
    path, lock = str(tmp_path / "lock"), FileLock()
    with lock.held(path, soon()):
        with lock.held(path, soon()):
            pass
        with pytest.raises(OperationalError), FileLock().held(path, time.monotonic()):
            pass


@pytest.mark.parametrize("same_process", [True, False])
def test_a_lock_that_is_not_free_by_the_deadline_means_a_busy_database(
    tmp_path: Path, same_process: bool
) -> None:
    path, lock = str(tmp_path / "lock"), FileLock()
    release, held = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.held(path, soon()):
            held.set()
            assert release.wait(BOUND)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(BOUND)
    other = lock if same_process else FileLock()
    with (
        pytest.raises(OperationalError, match="stayed busy"),
        other.held(path, time.monotonic() + 0.05),
    ):
        pass
    release.set()
    thread.join(BOUND)
    with other.held(path, soon()):
        pass


def test_a_holder_that_has_stopped_keeps_nobody_beyond_the_deadline(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    script = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            holder.send_signal(signal.SIGSTOP)
            with pytest.raises(OperationalError), FileLock().held(path, time.monotonic() + 0.05):
                pass
        finally:
            holder.kill()
    with FileLock().held(path, soon()):  # the kernel has freed it
        pass


def test_a_child_of_a_fork_neither_holds_the_lock_nor_keeps_it_for_its_parent(
    tmp_path: Path,
) -> None:
    path, lock = str(tmp_path / "lock"), FileLock()
    with lock.held(path, soon()):
        descriptor = lock._descriptor
        twin = FileLock()
        twin._descriptor, twin._bell = (
            os.dup(descriptor),
            os.dup(lock._bell),
        )  # the state after a fork
        twin._path = path
        twin.abandon()
        with pytest.raises(OperationalError), twin.held(path, time.monotonic()):
            pass
    with twin.held(path, soon()):
        assert twin._descriptor != descriptor


def test_a_lock_file_that_cannot_be_made_means_that_the_database_is_unavailable(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "missing" / "lock")
    with pytest.raises(OperationalError), FileLock().held(path, soon()):
        pass


def test_another_database_has_another_lock(tmp_path: Path) -> None:
    first, second, lock = str(tmp_path / "first"), str(tmp_path / "second"), FileLock()
    with lock.held(first, soon()):
        pass
    with (
        lock.held(second, soon()),
        FileLock().held(first, soon()),
        pytest.raises(OperationalError),
        FileLock().held(second, time.monotonic()),
    ):
        pass


def test_freeing_the_lock_wakes_the_next_waiter_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a ring the waiter would take longer than this test may."""
    monkeypatch.setattr(write_lock, "_SILENCE", 10 * BOUND)
    path, lock = str(tmp_path / "lock"), FileLock()
    for _ in range(3):
        with lock.held(path, soon()):
            thread, entered = wait_for(FileLock(), path)
            assert not entered.wait(0.05)
        assert entered.wait(BOUND)
        thread.join(BOUND)


def test_a_bell_that_nobody_has_heard_for_long_holds_nobody_up(tmp_path: Path) -> None:
    path, lock = str(tmp_path / "lock"), FileLock()
    for _ in range(70_000):
        with lock.held(path, soon()):
            pass
    with (
        lock.held(path, soon()),
        pytest.raises(OperationalError),
        FileLock().held(path, time.monotonic() + 0.05),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_lock_that_root_makes_belongs_to_the_owner_of_the_database(tmp_path: Path) -> None:
    database = tmp_path / "panel.db"
    database.touch(0o640)
    os.chown(database, 12345, 23456)
    with FileLock().held(f"{database}-lock", soon()):
        made = [(tmp_path / f"panel.db-{name}").stat() for name in ("lock", "bell")]
    for file in made:
        assert (file.st_uid, file.st_gid, file.st_mode & 0o777) == (12345, 23456, 0o640)
