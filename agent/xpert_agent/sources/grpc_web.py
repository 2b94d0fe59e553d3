"""gRPC-Web over HTTP/1.1, as far as sing-box's api service needs it.

A stream is read in big pieces: at a hundred connections per second each message for itself
would cost more than what is in it.
"""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from xpert_agent.sources.base import SourceError, place_of

MAX_BUFFER = 64 * 1024 * 1024
_PIECE = 256 * 1024
_TRAILERS = 0x80
_UNIMPLEMENTED, _UNAUTHENTICATED = "12", "16"


class Target(NamedTuple):
    url: str
    secret: str

    @property
    def place(self) -> str:
        return place_of(self.url)


class Stream:
    """The messages that answer one call."""

    def __init__(self, target: Target, method: str, message: bytes, timeout: float) -> None:
        """Sends the call and reads the answer's head; raises `SourceError`."""
        self._place = target.place
        self._patience = timeout
        self._chunks = bytearray()
        self._frames = bytearray()
        self._is_chunked = False
        try:
            self._socket = _connected(target, timeout)
        except OSError as error:
            raise self._lost(error) from error
        try:
            self._socket.sendall(_request(target, method, message))
            self._read_head()
        except OSError as error:
            self.close()
            raise self._lost(error) from error
        except SourceError:
            self.close()
            raise

    def close(self) -> None:
        """Also ends a `messages` that waits in another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def messages(self, patience: float | None = None) -> list[bytes]:
        """The messages that have arrived; waits for at least one; none if there is silence.

        `patience`: seconds to wait; default: as the stream was made. Raises `SourceError` at the
        end of the stream.
        """
        self._socket.settimeout(self._patience if patience is None else patience)
        found = self._complete()
        while not found and self._receive():
            found = self._complete()
        return found

    def _receive(self) -> bool:
        """Whether something has arrived in time."""
        try:
            piece = self._socket.recv(_PIECE)
        except socket.timeout:  # TimeoutError is another class on Python 3.9
            return False
        except OSError as error:
            raise self._lost(error) from error
        if not piece:
            raise SourceError(f"{self._place} has ended the connection.")
        self._chunks += piece
        if len(self._chunks) + len(self._frames) > MAX_BUFFER:
            raise SourceError(f"{self._place} sends a message that is too long.")
        self._unchunk()
        return True

    def _unchunk(self) -> None:
        if not self._is_chunked:
            self._frames += self._chunks
            self._chunks.clear()
            return
        at = 0
        while (line_end := self._chunks.find(b"\r\n", at)) >= 0:
            size = int(self._chunks[at:line_end].split(b";")[0], 16)
            begin, end = line_end + 2, line_end + 2 + size
            if len(self._chunks) < end + 2:
                break
            self._frames += self._chunks[begin:end]
            at = end + 2
        del self._chunks[:at]

    def _complete(self) -> list[bytes]:
        found: list[bytes] = []
        at, frames = 0, self._frames
        while len(frames) >= at + 5:
            end = at + 5 + int.from_bytes(frames[at + 1 : at + 5], "big")
            if len(frames) < end:
                break
            body = bytes(frames[at + 5 : end])
            if frames[at] & _TRAILERS:
                self._check_status(_headers(body.decode("latin-1").splitlines()))
                if not found:
                    raise SourceError(f"{self._place} has ended the stream.")
                break
            found.append(body)
            at = end
        del frames[:at]
        return found

    def _read_head(self) -> None:
        while (end := self._chunks.find(b"\r\n\r\n")) < 0:
            piece = self._socket.recv(_PIECE)
            if not piece or len(self._chunks) > _PIECE:
                raise SourceError(f"{self._place} does not answer like sing-box's api service.")
            self._chunks += piece
        first, *lines = self._chunks[:end].decode("latin-1").split("\r\n")
        del self._chunks[: end + 4]
        headers = _headers(lines)
        self._check_http(first.split(" ")[1] if " " in first else "")
        self._check_status(headers)
        self._is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._unchunk()

    def _check_http(self, status: str) -> None:
        if status in ("401", "403"):
            raise SourceError(f"{self._place} refuses the secret.")
        if status != "200":
            raise SourceError(
                f"{self._place} is not sing-box's api service (HTTP {status or 'no status'})."
            )

    def _check_status(self, headers: dict[str, str]) -> None:
        status = headers.get("grpc-status", "0")
        if status == _UNAUTHENTICATED:
            raise SourceError(f"{self._place} refuses the secret.")
        if status == _UNIMPLEMENTED:
            raise SourceError(
                f"{self._place} does not count connections: sing-box 1.14 or newer is needed."
            )
        if status != "0":
            said = headers.get("grpc-message", "")[:100]
            raise SourceError(f"{self._place} answers with gRPC status {status}: {said}.")

    def _lost(self, error: OSError) -> SourceError:
        if isinstance(error, ConnectionRefusedError):
            return SourceError(
                f"Nothing listens at {self._place}: sing-box does not run, or has no api service."
            )
        return SourceError(f"{self._place} does not answer: {error.strerror or error}.")


def call(target: Target, method: str, message: bytes, timeout: float) -> bytes:
    """The first message that answers a call; raises `SourceError`."""
    stream = Stream(target, method, message, timeout)
    try:
        messages = stream.messages()
    finally:
        stream.close()
    if not messages:
        raise SourceError(f"{target.place} does not answer in time.")
    return messages[0]


def _connected(target: Target, timeout: float) -> socket.socket:
    parts = urlsplit(target.url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = socket.create_connection((host, port), timeout)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if parts.scheme == "https":
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    return connection


def _request(target: Target, method: str, message: bytes) -> bytes:
    body = b"\0" + len(message).to_bytes(4, "big") + message
    lines = [
        f"POST {urlsplit(target.url).path.rstrip('/')}/{method} HTTP/1.1",
        f"Host: {target.place}",
        "Content-Type: application/grpc-web+proto",
        "X-Grpc-Web: 1",
        f"Content-Length: {len(body)}",
        *([f"Authorization: Bearer {target.secret}"] if target.secret else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
