"""The node of a PasarGuard over HTTPS: the same messages as over gRPC, by path, with the API key in a header."""

import logging
import ssl
from http import HTTPStatus
from urllib.parse import urlsplit

from django.db import DatabaseError, InterfaceError, connection

from . import pasarguard_wire
from .conf import Address
from .node import NotReadyError
from .node_http import NodeHandler, RefusedError
from .pasarguard import Answer, KeyRefusedError, NotStartedError, Service
from .tls_server import TlsServer
from .wire import WireError

logger = logging.getLogger(__name__)
_KIND = "application/x-protobuf"
_ROUTES = {
    ("POST", "/start"): "Start",
    ("PUT", "/stop"): "Stop",
    ("GET", "/info"): "GetBaseInfo",
    ("GET", "/stats"): "GetStats",
    ("GET", "/stats/system"): "GetSystemStats",
    ("GET", "/stats/backend"): "GetBackendStats",
    ("GET", "/stats/latency"): "GetOutboundsLatency",
    ("GET", "/stats/user/online"): "GetUserOnlineStats",
    ("GET", "/stats/user/online_ip"): "GetUserOnlineIpListStats",
    ("PUT", "/user/sync"): "SyncUser",
    ("PUT", "/users/sync"): "SyncUsers",
}
_CHUNKED = ("PUT", "/users/sync/chunked")
_LOGS = ("GET", "/logs")
_REFUSALS = {
    "missing": HTTPStatus.UNAUTHORIZED,
    "malformed": HTTPStatus.UNPROCESSABLE_ENTITY,
    "wrong": HTTPStatus.FORBIDDEN,
}
# Seconds between two looks at the log.
_INTERVAL = 0.5


class PasarGuardRest(TlsServer):
    """Serves one node until it is closed."""

    def __init__(self, address: Address, context: ssl.SSLContext, service: Service) -> None:
        self.service = service
        super().__init__(address, context, _Handler)


class _Handler(NodeHandler):
    server: PasarGuardRest

    def answer(self) -> None:
        try:
            self._guarded()
        finally:
            connection.close()  # of a thread that ends with its connection

    def _guarded(self) -> None:
        """The key first: nobody else's body is read, so the connection ends with a refusal."""
        try:
            self.server.service.require_key(self.headers.get("x-api-key", ""))
            answer = self._answer(self.command, urlsplit(self.path).path.rstrip("/"))
        except KeyRefusedError as refusal:
            self._refuse(_REFUSALS[refusal.code], f"The API key is {refusal.code}.")
        except RefusedError as refusal:
            self._refuse(refusal.status, refusal.detail)
        except WireError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except NotStartedError:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "core is not started yet")
        except NotReadyError:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Busy.")
        except (DatabaseError, InterfaceError, OSError) as error:
            logger.warning("Nothing is handed over: %s", error)
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "The database is not available.")
        else:
            self._send(answer)

    def _answer(self, method: str, path: str) -> Answer | None:
        """None: the log is asked for."""
        service, body = self.server.service, self.body()
        if (method, path) == _LOGS:
            return None
        if (method, path) == _CHUNKED:
            for message in pasarguard_wire.chunks(body):
                service.call("SyncUsers", message)
            return Answer()
        name = _ROUTES.get((method, path))
        if name is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "404 page not found")
        return service.call(name, body)

    def _send(self, answer: Answer | None) -> None:
        if answer is None:
            self._logs()
            return
        try:
            self.write(HTTPStatus.OK, _KIND, answer.body)
        except OSError:
            self.server.service.settled(answer, is_sent=False)
            raise
        self.server.service.settled(answer, is_sent=True)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """In plain text, as the real node does."""
        self.close_connection = True
        self.write(status, "text/plain; charset=utf-8", detail.encode())

    def _logs(self) -> None:
        """Lines of text for as long as the panel reads them."""
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        node, after = self.server.service.node, 0
        while node.is_started():
            for number, line in node.lines(after):
                after = number
                self.wfile.write(f"{line}\n\n".encode())
            node.pause(_INTERVAL)
