"""gunicorn's threaded worker, with limits for slow clients."""

import json
import select
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from operations.addresses import one_client, parse_address

from . import settings

# Seconds within which a whole request must arrive. A proxy in front (nginx) is stricter and cheaper.
READ_SECONDS = 20.0
# Seconds between two looks at the requests that are being read.
_LOOK_SECONDS = 0.5
# Unfinished requests of one address that may each hold a thread for longer than a second, while threads are scarce.
MOST_UNFINISHED = 16
_SLOW_SECONDS = 1.0
# Seconds that a process waits before it accepts a connection, per connection that it already has.
_POLITE_SECONDS = 0.00005
_MOST_POLITE = 16
# Milliseconds that a thread waits for the next request of its connection, which a busy reporter sends at once.
# No other thread then has to notice that request or to be woken for it.
_NEXT_REQUEST_MS = 5
# Milliseconds that a stopping process waits for connections that are being made.
_LAST_MS = 50


class _UnknownVersion(errors.InvalidHTTPVersion):  # type: ignore[misc]
    """A well-formed version of HTTP/1 that does not exist."""


# Status by error of gunicorn's parser; all other errors are 400.
_STATUSES: dict[type[Exception], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    _UnknownVersion: HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}
_OURS = (
    errors.ConfigurationProblem,
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
)


class _Reading:
    """A request that a thread deals with: when that began, and the request as soon as its head has arrived."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.request: Any = None

    def is_unfinished(self) -> bool:
        """Whether a part of it has not arrived yet, as far as a Content-Length tells."""
        if self.request is None:
            return True
        return bool(getattr(self.request.body.reader, "length", 0))


class _Sending:
    """A connection whose socket holds the head of a response back until it can leave with the beginning of its body.

    gunicorn sends them separately, which costs a system call and a change of threads. Any other use of the socket sends
    the head first.
    """

    def __init__(self, conn: Any) -> None:
        self.sock = self
        self.client, self.server = conn.client, conn.server
        self._sock = conn.sock
        self._head: bytes | None = None

    def sendall(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
        else:
            head, self._head = self._head, b""
            self._sock.sendall(head + data if head else data)

    def flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._sock.sendall(head)

    def __getattr__(self, name: str) -> Any:
        self.flush()
        return getattr(self._sock, name)


class BoundedWorker(ThreadWorker):  # type: ignore[misc]
    """Closes the reading side of a connection whose request has not arrived after 20 seconds.

    It does so after one second for those of one address that hold too many threads of too few. Connections on which
    nothing has arrived hold none. A slow answer is not affected, because its request was already read and writing
    continues.
    """

    def init_process(self) -> None:
        self._begun: dict[Any, _Reading] = {}
        # gunicorn looks up each of its settings through two functions, about 20 times per request.
        self.cfg.__dict__.update({name: made.get() for name, made in self.cfg.settings.items()})
        # Behind a proxy all connections come from one address, and the proxy has limits of its own.
        self._is_exposed = not settings.XPERT_TRUSTED_PROXIES
        threading.Thread(target=self._watch, name="slow-clients", daemon=True).start()
        super().init_process()

    def accept(self, listener: Any) -> None:
        """Let a process with fewer connections accept this one first.

        All processes wake for a new connection, and the first to run would take most of a burst. One
        process would then do most of the work, and the groups of reports in the others would be small.
        """
        if self.cfg.workers > 1:
            time.sleep(min(self.nr_conns, _MOST_POLITE) * _POLITE_SECONDS)
        super().accept(listener)

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            self._accept_the_last()

    def _accept_the_last(self) -> None:
        """Answer those who are connected already, and let go of the port, so that the others are refused at once.

        gunicorn keeps it until the last answer is sent. Whoever connects meanwhile waits, and is dropped in the end.
        """
        for listener in self.sockets:
            waiting = select.poll()
            waiting.register(listener, select.POLLIN)
            while waiting.poll(_LAST_MS):
                super().accept(listener)
            listener.close()

    def enqueue_req(self, conn: Any) -> None:
        """Let a new connection wait for its first bytes without a thread, which gunicorn would keep waiting for 5 seconds."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, EVENT_READ, readable)

    def murder_pending(self) -> None:
        """When connections get scarce, the silent ones of an address that has many are closed first."""
        super().murder_pending()
        if self._is_exposed and self.nr_conns >= self.worker_connections // 2:
            limit = time.monotonic() + self.cfg.keepalive - _SLOW_SECONDS
            old = [conn for conn in self.pending_conns if conn.timeout < limit]
            for conn in _surplus(old):
                self.pending_conns.remove(conn)
                self.poller.unregister(conn.sock)
                self.nr_conns -= 1
                conn.close()

    def handle(self, conn: Any) -> Any:
        """Answer a request, and the next ones as long as each follows at once."""
        result = self._handle_one(conn)
        while result is True and self._is_followed(conn):
            result = self._handle_one(conn)
        return result

    def _is_followed(self, conn: Any) -> bool:
        """Whether the next request arrives now, and other connections do not need this thread."""
        if not self.alive or len(self._begun) >= self.cfg.threads // 4:
            return False
        arrival = select.poll()
        arrival.register(conn.sock, select.POLLIN)
        return bool(arrival.poll(_NEXT_REQUEST_MS))

    def _handle_one(self, conn: Any) -> Any:
        self._begun[conn] = _Reading()
        try:
            return super().handle(conn)
        finally:
            self._begun.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        if req.version > (1, 1):
            raise _UnknownVersion(req.version)
        if (reading := self._begun.get(conn)) is not None:
            reading.request = req
        sending = _Sending(conn)
        try:
            return super().handle_request(req, sending)
        finally:
            sending.flush()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Refuse malformed HTTP in JSON, like the API. gunicorn would quote the request, which may hold a token."""
        if isinstance(exc, errors.ParseException) and not isinstance(exc, _OURS):
            with suppress(OSError):
                util.write_nonblock(
                    client, _refusal(_STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST))
                )
        else:
            super().handle_error(None, client, addr, exc)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            self._end(self._older_than(READ_SECONDS, lambda _: True))
            if self._is_exposed and len(self._begun) >= self.cfg.threads // 2:
                self._end(_surplus(self._older_than(_SLOW_SECONDS, _Reading.is_unfinished)))

    def _older_than(self, seconds: float, is_meant: Callable[[_Reading], bool]) -> list[Any]:
        limit = time.monotonic() - seconds
        return [
            conn
            for conn, reading in list(self._begun.items())
            if reading.begun < limit and is_meant(reading)
        ]

    def _end(self, connections: Iterable[Any]) -> None:
        for conn in connections:
            self._begun.pop(conn, None)
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)


def _surplus(connections: Iterable[Any]) -> list[Any]:
    """The oldest connections of addresses that have more than their share of these, which are in their order."""
    by_client: dict[str, list[Any]] = defaultdict(list)
    for conn in connections:
        by_client[one_client(parse_address(f"{conn.client[0]}"))].append(conn)
    return [conn for found in by_client.values() for conn in found[:-MOST_UNFINISHED]]


def _refusal(status: HTTPStatus) -> bytes:
    body = json.dumps({"detail": f"The panel cannot read this HTTP request: {status.phrase}."})
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("ascii")
