"""What the HTTPS sides of nodes of both kinds share: the body of a call, and its answer."""

import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

# All users of a panel with all of their inbounds; 10,000 people are about 2 MB.
MAX_BODY = 64 * 2**20
_MAX_LINE = 1024
_MAX_TRAILERS = 100
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")


class RefusedError(Exception):
    """An answer that is not 200. The panel shows ``detail`` to the admin."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class NodeHandler(BaseHTTPRequestHandler):
    """Serves the calls of one connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Answer one call, of any method."""
        raise NotImplementedError

    def body(self) -> bytes:
        """With a length or in chunks (RFC 9112, 7.1). Raises RefusedError; then the connection ends with its answer."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunked()
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdecimal()):
            raise self._broken(HTTPStatus.LENGTH_REQUIRED)
        self._require_room(int(length))
        return self.rfile.read(int(length))

    def write(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name in the standard library
        """Nothing: the node writes its own log, and the path of a log window holds the session's id."""

    def _chunked(self) -> bytes:
        body = bytearray()
        while size := self._chunk_size():
            self._require_room(len(body) + size)
            body += self.rfile.read(size)
            self.rfile.readline(_MAX_LINE)
        for _ in range(_MAX_TRAILERS):
            if not self.rfile.readline(_MAX_LINE).strip():
                return bytes(body)
        raise self._broken(HTTPStatus.BAD_REQUEST)

    def _chunk_size(self) -> int:
        size = self.rfile.readline(_MAX_LINE).partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size):
            raise self._broken(HTTPStatus.BAD_REQUEST)
        return int(size, 16)

    def _require_room(self, size: int) -> None:
        if size > MAX_BODY:
            raise self._broken(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def _broken(self, status: HTTPStatus) -> RefusedError:
        """The rest of the body is not read, so no further call can follow."""
        self.close_connection = True
        return RefusedError(status, status.phrase)
