"""People's apps before a gateway: connections and datagrams through their SOCKS ports, and what they carried."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from singbox_core import Origin, _exactly

_DATAGRAM_TO = b"\0\0\0\1\x7f\0\0\1"
"""How a datagram through SOCKS begins, before the port: to 127.0.0.1."""


def gateway_of(servers: Iterable[str], protocol: str) -> dict[str, Any]:
    """What a panel's document says beside the configuration of the core."""
    places = {
        tag: {"server": f"{tag}.example.com", "port": 443, "protocol": protocol} for tag in servers
    }
    return {"gateway": "gw-1", "interval": 10, "servers": places, "left_out": []}


class Apps:
    """`socks`: the port of each `person-server`."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.socks: dict[str, int] = {}
        self.flowed: dict[tuple[str, str], list[int]] = {}
        self._lock = threading.Lock()

    def dial(self, user: str, up: int, down: int) -> socket.socket:
        """A connection through which that much has flowed; it is open still. Raises OSError."""
        client = self._connected(user)
        client.sendall(up.to_bytes(4, "big") + down.to_bytes(4, "big") + b"u" * up)
        try:
            if len(_exactly(client, down)) != down:
                raise ConnectionError("cut off")
        except OSError:
            client.close()
            raise
        self._count(user, up + 8, down)
        return client

    def datagrams(self, user: str, echo: Echo, sizes: list[int]) -> None:
        """One after the other through one association. Raises OSError."""
        control, port = self._asked(user, 3, 0)
        with control, socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect(("127.0.0.1", port))
            for size in sizes:
                client.send(_DATAGRAM_TO + echo.port.to_bytes(2, "big") + b"u" * size)
                assert len(client.recv(65_536)) == len(_DATAGRAM_TO) + 2 + size
                self._count(user, size, size)

    def _count(self, user: str, up: int, down: int) -> None:
        person, _, tag = user.partition("-")
        with self._lock:
            flowed = self.flowed.setdefault((person, tag), [0, 0])
            flowed[0] += up
            flowed[1] += down

    def hold(self, user: str) -> socket.socket:
        """A connection that stays open: the origin waits for the rest of its order."""
        client = self._connected(user)
        client.sendall(b"half")
        time.sleep(0.3)
        return client

    def _connected(self, user: str) -> socket.socket:
        return self._asked(user, 1, self.origin.port)[0]

    def _asked(self, user: str, command: int, port: int) -> tuple[socket.socket, int]:
        """The connection, and the port that the app gives for it."""
        client = socket.create_connection(("127.0.0.1", self.socks[user]), timeout=10)
        client.sendall(b"\5\1\0")
        _exactly(client, 2)
        client.sendall(bytes((5, command, 0, 1, 127, 0, 0, 1)) + port.to_bytes(2, "big"))
        return client, int.from_bytes(_exactly(client, 10)[8:], "big")


class Echo:
    """Sends every datagram back, until `close`."""

    def __init__(self) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._answer, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                packet, sender = self._socket.recvfrom(65_536)
                self._socket.sendto(packet, sender)
