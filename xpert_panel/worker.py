"""gunicorn's threaded worker, for which a slow client is a client and not a thread for ever."""

import json
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

# Seconds in which a request, head and body, must have come. A proxy in front (nginx) is stricter and cheaper.
READ_SECONDS = 20.0
# How long a process stands back from a new connection, for each that it has.
_POLITE_SECONDS = 0.00005
_MOST_POLITE = 16
# What is refused before it is a request of anybody; the rest is 400.
_STATUSES: dict[type[Exception], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}
_OURS = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)


class BoundedWorker(ThreadWorker):  # type: ignore[misc]
    """Closes the reading side of a connection whose request is still not read after 20 seconds.

    An answer that takes longer is not touched: by then its request was read, and writing goes on.
    """

    def init_process(self) -> None:
        self._begun: dict[Any, float] = {}
        threading.Thread(target=self._watch, name="slow-clients", daemon=True).start()
        super().init_process()

    def accept(self, listener: Any) -> None:
        """Lets a process with fewer connections take this one, if it is free to.

        All wake at once for a new connection, and whoever runs first would take most of a burst:
        then one process works for two, and groups of reports are small in the others.
        """
        if self.cfg.workers > 1:
            time.sleep(min(self.nr_conns, _MOST_POLITE) * _POLITE_SECONDS)
        super().accept(listener)

    def handle(self, conn: Any) -> Any:
        self._begun[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self._begun.pop(conn, None)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Refuses what is no HTTP as the API refuses, in JSON; gunicorn would quote it, and a token may be in it."""
        if isinstance(exc, errors.ParseException) and not isinstance(exc, _OURS):
            with suppress(OSError):
                util.write_nonblock(client, _refusal(_STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)))
        else:
            super().handle_error(None, client, addr, exc)

    def _watch(self) -> None:
        while True:
            time.sleep(1)
            limit = time.monotonic() - READ_SECONDS
            for conn, begun in list(self._begun.items()):
                if begun < limit:
                    self._begun.pop(conn, None)
                    with suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RD)


def _refusal(status: HTTPStatus) -> bytes:
    body = json.dumps({"detail": f"This is no HTTP request that the panel can read: {status.phrase}."})
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("ascii")
