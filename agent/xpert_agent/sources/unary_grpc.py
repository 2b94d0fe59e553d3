"""One gRPC call over cleartext HTTP/2 (RFC 9113), as far as a core's own interface needs it.

The answer's headers are never decoded, because an answer without a message is an error
whatever they say: a missing service and an unknown name answer with trailers alone.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from time import monotonic
from typing import NamedTuple

from xpert_agent.sources.base import SourceError, join_host_port

TIMEOUT = 5.0
MAX_BYTES = 32 * 1024 * 1024

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_PADDED = 8
_STREAM = 1
_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE = 1, 2, 4


class Frame(NamedTuple):
    """One HTTP/2 frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def encoded(self) -> bytes:
        """The frame as it goes over the wire."""
        head = len(self.payload).to_bytes(3, "big") + bytes((self.kind, self.flags))
        return head + self.stream.to_bytes(4, "big") + self.payload


def call(host: str, port: int, path: str, message: bytes) -> bytes:
    """The message that `path` answers to `message`; raises `SourceError` naming host and port."""
    place = join_host_port(host, port)
    try:
        with closing(socket.create_connection((host, port), TIMEOUT)) as connection:
            connection.sendall(_request(place, path, message))
            body = _answer(_Frames(connection))
    except (OSError, _ProtocolError) as error:
        raise SourceError(
            f"{place} does not answer: {str(error) or type(error).__name__}."
        ) from error
    if not body:
        raise SourceError(f"{place} does not offer {path.rpartition('/')[2]}.")
    return _message(body, place)


class _ProtocolError(Exception):
    """The answer is not HTTP/2, or ended early."""


class _Frames:
    """The frames of a connection; answers settings and pings by itself."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = monotonic() + TIMEOUT
        self._left = MAX_BYTES

    def __iter__(self) -> Iterator[Frame]:
        while True:
            frame = self._next()
            if frame.kind in (_SETTINGS, _PING) and not frame.flags & _ACK:
                payload = frame.payload if frame.kind == _PING else b""
                self._connection.sendall(Frame(frame.kind, _ACK, 0, payload).encoded())
            yield frame

    def _next(self) -> Frame:
        head = self._exactly(9)
        payload = self._exactly(int.from_bytes(head[:3], "big"))
        return Frame(head[3], head[4], int.from_bytes(head[5:], "big") & _LARGEST_WINDOW, payload)

    def _exactly(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise _ProtocolError("it answers too much, or something that is not HTTP/2")
        parts = bytearray()
        while len(parts) < size:
            parts += self._some(size - len(parts))
        return bytes(parts)

    def _some(self, size: int) -> bytes:
        seconds = self._deadline - monotonic()
        if seconds <= 0:
            raise _ProtocolError("the answer takes too long")
        self._connection.settimeout(seconds)
        part = self._connection.recv(min(size, 65_536))
        if not part:
            raise _ProtocolError("the connection ended before the answer did")
        return part


def _request(authority: str, path: str, message: bytes) -> bytes:
    settings = (
        (_HEADER_TABLE_SIZE, 0),
        (_ENABLE_PUSH, 0),
        (_INITIAL_WINDOW_SIZE, _LARGEST_WINDOW),
    )
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings)
    more_window = (_LARGEST_WINDOW - _FIRST_WINDOW).to_bytes(4, "big")
    headers = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    frames = (
        Frame(_SETTINGS, 0, 0, payload),
        Frame(_WINDOW_UPDATE, 0, 0, more_window),
        Frame(_HEADERS, _END_HEADERS, _STREAM, b"".join(_header(*pair) for pair in headers)),
        Frame(_DATA, _END_STREAM, _STREAM, b"\0" + len(message).to_bytes(4, "big") + message),
    )
    return _PREFACE + b"".join(frame.encoded() for frame in frames)


def _header(name: str, value: str) -> bytes:
    """A literal without indexing and without Huffman code (RFC 7541, 6.2.2)."""
    return b"\0" + _text(name.encode()) + _text(value.encode())


def _text(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, more = len(text) - 127, bytearray(b"\x7f")
    while rest > 127:
        more.append(rest & 127 | 128)
        rest >>= 7
    return bytes(more) + bytes((rest,)) + text


def _answer(frames: _Frames) -> bytearray:
    body = bytearray()
    for frame in frames:
        if frame.kind == _RST_STREAM or _is_farewell(frame):
            raise _ProtocolError("it refuses the call")
        if frame.stream != _STREAM:
            continue
        if frame.kind == _DATA:
            body += _without_padding(frame)
        if frame.kind in (_DATA, _HEADERS) and frame.flags & _END_STREAM:
            break
    return body


def _is_farewell(frame: Frame) -> bool:
    """GOAWAY that excludes our stream; one that includes it still lets the answer through."""
    last = int.from_bytes(frame.payload[:4], "big") & _LARGEST_WINDOW
    return frame.kind == _GOAWAY and last < _STREAM


def _without_padding(frame: Frame) -> bytes:
    if not frame.flags & _PADDED:
        return frame.payload
    padding = frame.payload[0] if frame.payload else 0
    return frame.payload[1 : len(frame.payload) - padding]


def _message(body: bytearray, place: str) -> bytes:
    size = int.from_bytes(body[1:5], "big")
    if body[0] or len(body) < 5 + size:
        raise SourceError(f"{place} answers a message that is compressed or cut.")
    return bytes(memoryview(body)[5 : 5 + size])
