"""The log window of Marzban: a websocket (RFC 6455) that only sends."""

import base64
import hashlib
import select
import ssl

from .node import Node

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE = 0x81, 0x88
_WRONG_SESSION = 4403
# Seconds between two looks at the log.
_INTERVAL = 0.5
_SHORT, _MEDIUM = 126, 65_536


def serve(connection: ssl.SSLSocket, key: str, node: Node, session_id: str) -> None:
    """Sends lines until the window is closed or the session ends."""
    accepted = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())  # noqa: S324  the RFC's
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accepted + b"\r\n\r\n"
    )
    after = 0
    while _is_current(node, session_id):
        if lines := node.lines(after):
            after = lines[-1][0]
            connection.sendall(_frame(_TEXT, "\n".join(line for _, line in lines).encode()))
        if _says_something(connection):
            return
    connection.sendall(_frame(_CLOSE, _WRONG_SESSION.to_bytes(2)))


def _is_current(node: Node, session_id: str) -> bool:
    session = node.session()
    return session is not None and session.id == session_id


def _says_something(connection: ssl.SSLSocket) -> bool:
    """The window never sends anything but that it closes."""
    return bool(connection.pending() or select.select([connection], [], [], _INTERVAL)[0])


def _frame(kind: int, content: bytes) -> bytes:
    size = len(content)
    if size < _SHORT:
        return bytes((kind, size)) + content
    if size < _MEDIUM:
        return bytes((kind, 126)) + size.to_bytes(2) + content
    return bytes((kind, 127)) + size.to_bytes(8) + content
