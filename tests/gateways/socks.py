"""A SOCKS5 client: streams and datagrams through an app."""

import socket

from tests.gateways.origin import ORDER, exactly

_TIMEOUT = 30.0
_HEADER = b"\0\0\0\1\x7f\0\0\1"


def stream(
    proxy: int, origin: int, label: int, up: int, down: int, *, stays: bool = False
) -> socket.socket:
    """A connection through which that much has flowed. ``stays``: the origin does not close it, and takes more. Raises OSError."""
    client, _ = _asked(proxy, 1, origin)
    try:
        client.sendall(ORDER.pack(label, up, down, stays) + b"u" * up)
        if len(exactly(client, down)) < down:
            raise ConnectionError("cut off")
    except OSError:
        client.close()
        raise
    return client


def datagrams(proxy: int, origin: int, label: int, sizes: list[tuple[int, int]]) -> None:
    """One after the other through one association: (bytes sent, bytes received), the order included. Raises OSError."""
    control, port = _asked(proxy, 3, 0)
    with control, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_TIMEOUT)
        client.connect(("127.0.0.1", port))
        for up, down in sizes:
            packet = ORDER.pack(label, 0, down, False).ljust(up, b"u")
            client.send(_HEADER + origin.to_bytes(2, "big") + packet)
            received = client.recv(65_536)
            if len(received) != len(_HEADER) + 2 + down:
                raise ConnectionError("another size")


def _asked(proxy: int, command: int, port: int) -> tuple[socket.socket, int]:
    """The connection, and the port that the proxy gives for it."""
    client = socket.create_connection(("127.0.0.1", proxy), timeout=_TIMEOUT)
    try:
        client.sendall(b"\5\1\0")
        exactly(client, 2)
        client.sendall(bytes((5, command, 0, 1, 127, 0, 0, 1)) + port.to_bytes(2, "big"))
        answer = exactly(client, 10)
        if len(answer) < 10 or answer[1]:
            raise ConnectionError("refused")
    except OSError:
        client.close()
        raise
    return client, int.from_bytes(answer[8:], "big")
