"""A real sing-box as a gateway on loopback, an origin that counts, and SOCKS clients."""

from __future__ import annotations

import json
import random
import socket
import sqlite3
import subprocess
import threading
import time
from collections import defaultdict
from contextlib import closing, suppress
from pathlib import Path

from ports import free_port, is_open
from real_cores import SING_BOX
from waiting import wait_until

from xpert_agent.sources.base import UNEXPLAINED

USERS = ("alice", "bob", "carol")
SECRET = "s3cret-of-the-core"


class Origin:
    """Takes what is sent after 8 bytes of order, sends what is ordered, counts its socket's bytes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=_serve, args=(client,), daemon=True).start()


def _serve(client: socket.socket) -> None:
    # A core that is killed resets its connections.
    with client, suppress(OSError):
        order = _exactly(client, 8)
        _exactly(client, int.from_bytes(order[:4], "big"))
        client.sendall(b"d" * int.from_bytes(order[4:], "big"))


def _exactly(client: socket.socket, size: int, pause: float = 0.0) -> bytes:
    got = bytearray()
    while len(got) < size:
        time.sleep(pause)
        piece = client.recv(min(size - len(got), 65536))
        if not piece:
            break
        got += piece
    return bytes(got)


class Gateway:
    """Three people; a rule sends each to a server of their own, and carol's second name elsewhere."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.origin = origin
        self.socks, self.api = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.api}"
        self.flowed: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        self._lock = threading.Lock()
        self._config = folder / "sing-box.json"
        self._config.write_text(json.dumps(self._configuration()))
        self._log = folder / "sing-box.log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(SING_BOX), "run", "-c", str(self._config)], stderr=log
            )
        assert wait_until(lambda: is_open(self.api), 60), self._log.read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def _configuration(self) -> dict[str, object]:
        users = [{"username": user, "password": user} for user in USERS]
        outbounds = [{"type": "direct", "tag": f"srv-{user}"} for user in USERS]
        rules = [
            {"auth_user": [user], "action": "route", "outbound": f"srv-{user}"} for user in USERS
        ]
        api = {"type": "api", "listen": "127.0.0.1", "listen_port": self.api, "secret": SECRET}
        inbound = {
            "type": "mixed",
            "tag": "in",
            "listen": "127.0.0.1",
            "listen_port": self.socks,
            "users": users,
        }
        return {
            "log": {"level": "warn"},
            "inbounds": [inbound],
            "outbounds": outbounds,
            "route": {"rules": rules},
            "services": [api],
        }

    def dial(self, user: str, up: int, down: int, pause: float = 0.0) -> socket.socket:
        """A connection through which that much has flowed; it is open still.

        `pause`: seconds before each 64 KiB, for a download that takes its time.
        """
        client = socket.create_connection(("127.0.0.1", self.socks), timeout=20)
        name = bytes([len(user)]) + user.encode()
        client.sendall(b"\5\1\2" + b"\1" + name + name)
        _exactly(client, 4)
        client.sendall(b"\5\1\0\1\x7f\0\0\1" + self.origin.port.to_bytes(2, "big"))
        _exactly(client, 10)
        client.sendall(up.to_bytes(4, "big") + down.to_bytes(4, "big") + b"u" * up)
        assert len(_exactly(client, down, pause)) == down
        with self._lock:
            flowed = self.flowed[(user, f"srv-{user}")]
            flowed[0] += up + 8
            flowed[1] += down
        return client

    def traffic(self, dice: random.Random, connections: int) -> None:
        """Short connections of everybody, one after the other."""
        for _ in range(connections):
            self.dial(dice.choice(USERS), dice.randrange(5000), dice.randrange(50000)).close()


def unexplained(state: Path) -> list[int]:
    """What the agent shows as carried by the core for nobody known."""
    with closing(sqlite3.connect(state / "journal.sqlite3")) as journal:
        found = journal.execute(
            "SELECT sum(up), sum(down) FROM unmapped WHERE server = ?", (UNEXPLAINED,)
        )
        return [amount or 0 for amount in found.fetchone()]
