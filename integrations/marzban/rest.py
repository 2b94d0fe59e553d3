"""The HTTPS side of a node: the seven calls of Marzban, and the log window. Both ends show certificates."""

import ssl
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import msgspec

from operations.addresses import parse_address

from . import log_stream
from .conf import Address
from .node import Node, Session, SessionError
from .node_http import NodeHandler, RefusedError
from .tls_server import TlsServer
from .wire import Call, WireError, call

# Any text of at most 32 characters; Marzban shows it as Xray's version.
_VERSION = "xpert-panel"


class _Answer(msgspec.Struct, omit_defaults=True):
    connected: bool
    started: bool
    core_version: str = ""
    session_id: str = ""


class RestServer(TlsServer):
    """Serves one node until it is closed."""

    def __init__(self, address: Address, context: ssl.SSLContext, node: Node) -> None:
        self.node = node
        super().__init__(address, context, _Handler)


class _Handler(NodeHandler):
    server: RestServer

    def answer(self) -> None:
        if self.command == "GET":
            self._open_log()
        else:
            self._call()

    def _call(self) -> None:
        try:
            answer = self._answer(call(self.body()))
        except RefusedError as refusal:
            self._send(refusal.status, {"detail": refusal.detail})
        except SessionError:
            self._send(HTTPStatus.FORBIDDEN, {"detail": "Session ID mismatch."})
        except WireError as error:
            self._send(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": str(error)})
        else:
            self._send(HTTPStatus.OK, answer)

    def _open_log(self) -> None:
        url = urlsplit(self.path)
        key = self.headers.get("Sec-WebSocket-Key", "")
        if url.path != "/logs" or not key:
            self._send(HTTPStatus.NOT_FOUND, {"detail": "Not Found"})
            return
        self.close_connection = True
        session_id = "".join(parse_qs(url.query).get("session_id", []))
        log_stream.serve(self.connection, key, self.server.node, session_id)

    def _answer(self, asked: Call) -> object:
        found: Callable[[Call], object] | None = {
            "/": self._root,
            "/ping": self._ping,
            "/connect": self._connect,
            "/start": self._start,
            "/restart": self._start,
            "/disconnect": self._disconnect,
            "/stop": self._root,
        }.get(urlsplit(self.path).path)
        if found is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
        return found(asked)

    def _root(self, asked: Call) -> _Answer:
        return _status(self.server.node.session())

    def _ping(self, asked: Call) -> dict[str, str]:
        self.server.node.require(asked.session_id)
        return {}

    def _connect(self, asked: Call) -> _Answer:
        session = self.server.node.connect(str(parse_address(self.client_address[0])))
        return msgspec.structs.replace(_status(session), session_id=session.id)

    def _start(self, asked: Call) -> _Answer:
        if asked.config is None:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "The configuration is missing.")
        return _status(self.server.node.start(asked.session_id, asked.config))

    def _disconnect(self, asked: Call) -> _Answer:
        self.server.node.disconnect()
        return _status(None)

    def _send(self, status: HTTPStatus, answer: object) -> None:
        self.write(status, "application/json", msgspec.json.encode(answer))


def _status(session: Session | None) -> _Answer:
    """``started`` is false until this very session has started: else Marzban's accounting of all nodes would end."""
    return _Answer(session is not None, session is not None and session.is_started, _VERSION)
