"""An HTTPS server of the standard library that nobody can block: handshakes in threads, bounded connections, orderly ends."""

import logging
import socket
import socketserver
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.db import connections

from .conf import Address

logger = logging.getLogger(__name__)
# Panels keep their connections open; less than their rhythm would cost a handshake per call.
_IDLE = 120
_HANDSHAKE = 10
_LAST_WAIT = 5
_CONNECTIONS = 64


class TlsServer(ThreadingHTTPServer):
    """Serves one node until it is closed."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(
        self, address: Address, context: ssl.SSLContext, handler: type[BaseHTTPRequestHandler]
    ) -> None:
        self._context = context
        self._handler = handler
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        self._open: set[ssl.SSLSocket] = set()
        super().__init__((address.host, address.port), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.2,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Connections that are open end too: they belong to a link that may be gone."""
        self.shutdown()
        self.server_close()
        self._thread.join()
        for connection in list(self._open):
            _end(connection)
        self._wait_for_threads()

    def _wait_for_threads(self) -> None:
        """Those of ended connections still close their database connections."""
        until = time.monotonic() + _LAST_WAIT
        for _ in range(_CONNECTIONS):
            self._room.acquire(timeout=max(0.0, until - time.monotonic()))

    def server_bind(self) -> None:
        """Without looking up the machine's name, as the standard library would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = map(str, self.server_address[:2])  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            connections.close_all()  # those of this thread, which ends
            self._room.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the thread of the connection: nobody waits for another's handshake.

        Marzban first sends plain text, and takes a reset for an older protocol: such a connection ends with FIN.
        """
        request.settimeout(_HANDSHAKE)
        try:
            secure = self._context.wrap_socket(
                request, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            return
        try:
            secure.do_handshake()
            secure.settimeout(_IDLE)
            self._open.add(secure)
            self._handler(secure, client_address, self)
        except OSError:
            pass
        finally:
            _drain(secure)
            self._open.discard(secure)
            self.shutdown_request(secure)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The standard library calls it while it handles an exception."""
        logger.error("A call of the panel could not be answered.", exc_info=True)  # noqa: LOG014


def _end(connection: ssl.SSLSocket) -> None:
    """Wakes the thread that reads from it."""
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        pass


def _drain(connection: ssl.SSLSocket) -> None:
    """Closing a socket with unread bytes would reset the connection, and what was answered last would not be read."""
    until = time.monotonic() + _LAST_WAIT
    try:
        connection.settimeout(1)
        socket.socket.shutdown(connection, socket.SHUT_WR)
        while time.monotonic() < until and socket.socket.recv(connection, 2**16):
            pass
    except (OSError, ValueError):
        pass
