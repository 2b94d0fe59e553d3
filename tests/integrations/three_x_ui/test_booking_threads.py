"""Threads that book messages: few, used again, and gone when there is nothing to do."""

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from integrations.three_x_ui import booking_threads
from integrations.three_x_ui.booking_threads import Threads

PATIENCE = 20
pytestmark = pytest.mark.django_db(transaction=True)


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "inform"]


@pytest.fixture(autouse=True)
def threads_end(db: None) -> Iterator[None]:
    yield
    for thread in alive():
        thread.join(PATIENCE)


def done(threads: Threads, work: Callable[[], object]) -> object:
    """What ``work`` returns in one of the threads."""
    found: list[object] = []
    is_done = threading.Event()

    def job() -> None:
        found.append(work())
        is_done.set()

    assert threads.start(job)
    assert is_done.wait(PATIENCE)
    return found[0]


def _connected() -> tuple[int, object]:
    connection.ensure_connection()
    return threading.get_ident(), connection.connection


def test_a_thread_is_used_again_with_its_database_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(booking_threads, "IDLE", 0.5)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    threads = Threads(2)
    first = done(threads, _connected)
    while not threads._idle:
        threading.Event().wait(0.001)
    assert done(threads, _connected) == first


def test_a_thread_without_work_ends_and_another_one_takes_the_next_job() -> None:
    threads = Threads(1)
    first = done(threads, threading.current_thread)
    assert isinstance(first, threading.Thread)
    first.join(PATIENCE)
    assert not first.is_alive()
    assert done(threads, threading.current_thread) is not first


def test_there_are_no_more_threads_than_allowed() -> None:
    threads, may_end = Threads(2), threading.Event()

    def wait() -> None:
        may_end.wait(PATIENCE)

    assert [threads.start(wait) for _ in range(3)] == [True, True, False]
    may_end.set()
    for thread in alive():
        thread.join(PATIENCE)
    assert done(threads, lambda: 1) == 1


def test_a_system_without_threads_takes_none_of_those_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads(1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert not threads.start(lambda: None)
    assert done(threads, lambda: 1) == 1
