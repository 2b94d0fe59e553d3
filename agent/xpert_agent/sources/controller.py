"""A Clash controller: HTTP over TCP, a unix socket or a named pipe of Windows, kept open."""

from __future__ import annotations

import http.client
import io
import json
import socket
from typing import Any, Callable
from urllib.parse import urlsplit

from xpert_agent.sources.base import SourceError, place_of

TIMEOUT = 5.0
MAX_BYTES = 32 * 1024 * 1024
_PIECE = 64 * 1024
_PIPES = "\\\\.\\pipe\\"
_FORMS = (
    "The controller is an address such as 127.0.0.1:9090, unix:/tmp/verge/verge-mihomo.sock or "
    "pipe:\\\\.\\pipe\\verge-mihomo."
)


class RefusedSecretError(SourceError):
    """The controller wants another secret."""


class Controller:
    """Asks one controller; not for several threads at once."""

    def __init__(self, address: str, secret: str = "", timeout: float = TIMEOUT) -> None:
        """Raises `SourceError` for an address of another form; connects when first asked."""
        self.place, self._connect = _way(address, timeout)
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._connection: http.client.HTTPConnection | None = None

    def get_json(self, path: str) -> Any:
        """The parsed answer; raises `SourceError`, after which the next call connects again."""
        try:
            return json.loads(self._get(path))
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise SourceError(f"{self.place} does not answer: {reason}.") from error
        except ValueError as error:
            raise SourceError(f"{self.place} answers something that is not JSON.") from error

    def asked(self, path: str) -> http.client.HTTPConnection:
        """A connection of its own on which an answer without an end was asked for.

        Raises `SourceError`; also for a named pipe, which cannot be read without waiting.
        """
        connection = self._connect()
        if isinstance(connection, _PipeConnection):
            raise SourceError(f"{self.place} is a pipe.")
        try:
            connection.request("GET", path, headers=self._headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise SourceError(f"{self.place} does not answer.") from error
        return connection

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _get(self, path: str) -> bytes:
        if self._connection is not None:
            try:
                return self._ask(self._connection, path)
            except (OSError, http.client.HTTPException):
                self.close()  # the core may have restarted, or ended an idle connection
        self._connection = self._connect()
        try:
            return self._ask(self._connection, path)
        except BaseException:
            self.close()
            raise

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> bytes:
        connection.request("GET", path, headers=self._headers)
        answer = connection.getresponse()
        body = self._body(answer)
        if answer.status in (401, 403):
            raise RefusedSecretError(f"{self.place} refuses the secret (HTTP {answer.status}).")
        if answer.status != http.client.OK:
            raise SourceError(f"{self.place} answers HTTP {answer.status}.")
        return body

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        """In pieces, because up to Python 3.10 a read sets aside all that it is allowed to read."""
        body = bytearray()
        while piece := answer.read(_PIECE):
            body += piece
            if len(body) > MAX_BYTES:
                raise SourceError(f"{self.place} answers more than {MAX_BYTES // 2**20} MiB.")
        return bytes(body)


def _way(address: str, timeout: float) -> tuple[str, Callable[[], http.client.HTTPConnection]]:
    """The place for messages, and how to connect to it."""
    scheme, _, rest = address.partition(":")
    if scheme == "unix" and rest:
        return rest, lambda: _UnixConnection(rest, timeout)
    if scheme == "pipe" and rest.startswith(_PIPES):
        return rest, lambda: _PipeConnection(rest)
    if scheme in ("unix", "pipe"):
        raise SourceError(_FORMS)
    return _tcp_way(address if "://" in address else f"http://{address}", timeout)


def _tcp_way(url: str, timeout: float) -> tuple[str, Callable[[], http.client.HTTPConnection]]:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("http", "https") or not host:
        raise SourceError(_FORMS)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return place_of(url), lambda: kind(host, port, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _PipeConnection(http.client.HTTPConnection):
    """A named pipe is a file to Python; it has no time-out."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        pipe = open(self._path, "r+b", buffering=0)  # noqa: SIM115, PTH123  # close() ends it
        self.sock = _PipeSocket(pipe)


class _PipeSocket:
    """The three things that http.client asks of a socket."""

    def __init__(self, pipe: io.RawIOBase) -> None:
        self._pipe = pipe

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._pipe.write(view) or 0 :]

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_OneAnswer(self._pipe))

    def close(self) -> None:
        self._pipe.close()


class _OneAnswer(io.RawIOBase):
    """The pipe as one answer reads it: http.client closes it, and the pipe stays open."""

    def __init__(self, pipe: io.RawIOBase) -> None:
        super().__init__()
        self._pipe = pipe

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        return self._pipe.readinto(buffer)
