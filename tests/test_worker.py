"""The thread of a connection waits for its next request only while nobody else needs it; a stop drops no connection."""

import selectors
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.workers.gthread import ThreadWorker

from xpert_panel.last_connections import begin_no_more
from xpert_panel.worker import BoundedWorker, _Reading, _Sending

THREADS = 64


@pytest.fixture
def worker() -> BoundedWorker:
    found = object.__new__(BoundedWorker)
    found.cfg, found.alive, found._begun = SimpleNamespace(threads=THREADS), True, {}
    return found


@pytest.fixture
def pair() -> Iterator[tuple[Any, socket.socket]]:
    ours, client = socket.socketpair()
    with ours, client:
        yield SimpleNamespace(sock=ours), client


def answers(worker: BoundedWorker, results: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_handle_one", lambda _: results.pop(0))


def test_requests_that_follow_at_once_are_answered_by_the_same_thread(
    worker: BoundedWorker, pair: tuple[Any, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    conn, client = pair
    client.send(b"POST")
    results: list[object] = [True, True, False]
    answers(worker, results, monkeypatch)
    assert worker.handle(conn) is False
    assert results == []


def test_a_connection_on_which_nothing_follows_gives_its_thread_back(
    worker: BoundedWorker, pair: tuple[Any, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[object] = [True, True]
    answers(worker, results, monkeypatch)
    assert worker.handle(pair[0]) is True
    assert results == [True]


@pytest.mark.parametrize("result", [False, object()])
def test_a_connection_that_is_closed_or_deferred_is_not_waited_for(
    worker: BoundedWorker,
    pair: tuple[Any, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    result: object,
) -> None:
    conn, client = pair
    client.send(b"POST")
    results = [result]
    answers(worker, results, monkeypatch)
    assert worker.handle(conn) is result


@pytest.mark.parametrize(("busy", "is_followed"), [(THREADS // 4 - 1, True), (THREADS // 4, False)])
def test_a_quarter_of_the_threads_may_stay_with_their_connections(
    worker: BoundedWorker, pair: tuple[Any, socket.socket], busy: int, is_followed: bool
) -> None:
    conn, client = pair
    client.send(b"POST")
    worker._begun = dict.fromkeys(range(busy), _Reading())
    assert worker._is_followed(conn) is is_followed


def test_a_worker_that_stops_waits_for_nobody(
    worker: BoundedWorker, pair: tuple[Any, socket.socket]
) -> None:
    conn, client = pair
    client.send(b"POST")
    worker.alive = False
    assert not worker._is_followed(conn)


class Recorder:
    """A socket that remembers what is done with it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def sendall(self, data: bytes) -> None:
        self.done.append(data)

    def settimeout(self, seconds: float) -> None:
        self.done.append(seconds)


def sending() -> tuple[_Sending, list[object]]:
    sock = Recorder()
    return _Sending(SimpleNamespace(sock=sock, client=None, server=None)), sock.done


def test_the_head_of_a_response_leaves_with_the_beginning_of_its_body() -> None:
    found, done = sending()
    for part in (b"head", b"body", b"more"):
        found.sendall(part)
    found.flush()
    assert done == [b"headbody", b"more"]


def test_the_head_of_a_response_without_a_body_leaves_at_its_end() -> None:
    found, done = sending()
    found.sendall(b"head")
    assert done == []
    found.flush()
    found.flush()
    assert done == [b"head"]


def test_the_head_leaves_before_anything_else_is_done_with_the_socket() -> None:
    found, done = sending()
    found.sendall(b"head")
    found.settimeout(1.0)
    assert done == [b"head", 1.0]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def accepted(
    worker: BoundedWorker, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[socket.socket]]:
    """The connections that the worker has accepted, and goes on accepting."""
    found: list[socket.socket] = []
    monkeypatch.setattr(ThreadWorker, "accept", lambda _, there: found.append(there.accept()[0]))
    worker.sockets, worker._accepting = [listener], True
    with selectors.DefaultSelector() as worker.poller:
        worker.poller.register(listener, selectors.EVENT_READ)
        yield found
    for connection in found:
        connection.close()


def test_a_worker_that_stops_takes_those_who_are_connected_and_lets_go_of_the_port(
    worker: BoundedWorker, listener: socket.socket, accepted: list[socket.socket]
) -> None:
    place = listener.getsockname()
    with socket.create_connection(place), socket.create_connection(place):
        worker.alive = False
        worker.set_accept_enabled(False)
        assert len(accepted) == 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=20)


def test_a_worker_that_is_full_keeps_the_port(
    worker: BoundedWorker, listener: socket.socket, accepted: list[socket.socket]
) -> None:
    with socket.create_connection(listener.getsockname()):
        worker.set_accept_enabled(False)
        assert accepted == []
    assert listener.fileno() != -1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters packets of a socket")
def test_before_a_stop_no_connection_begins_and_the_last_ones_stay(
    listener: socket.socket,
) -> None:
    place = listener.getsockname()
    with socket.create_connection(place) as earlier:
        begin_no_more([listener])
        with pytest.raises(TimeoutError):
            socket.create_connection(place, timeout=0.3)
        connection, _ = listener.accept()
        with connection:
            earlier.sendall(b"report")
            assert connection.recv(6) == b"report"


def test_where_the_system_cannot_do_it_nothing_changes(listener: socket.socket) -> None:
    with socket.socket() as closed:
        pass
    begin_no_more([closed, listener])
