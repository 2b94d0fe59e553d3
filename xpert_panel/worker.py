"""gunicorn's threaded worker, for which a slow client is a client and not a thread for ever."""

import socket
import threading
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

# Seconds in which a request, head and body, must have come. A proxy in front (nginx) is stricter and cheaper.
READ_SECONDS = 20.0
# How long a process stands back from a new connection, for each that it has.
_POLITE_SECONDS = 0.00005
_MOST_POLITE = 16


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

    def _watch(self) -> None:
        while True:
            time.sleep(1)
            limit = time.monotonic() - READ_SECONDS
            for conn, begun in list(self._begun.items()):
                if begun < limit:
                    self._begun.pop(conn, None)
                    with suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RD)
