"""kill -9 of an agent that listens for RADIUS: what it has answered is never lost or doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_panel import FakePanel
from ports import free_port
from waiting import eventually

from xpert_agent.sources.radius_packets import INTERIM, START, STOP

from .test_radius import SECRET, request

AGENT = Path(__file__).parents[1]
KEY = "k3y-of-a-gateway"
SERVER = ("vpn.example.com", 443, "ikev2")


class Session:
    """A session at the NAS, whose totals only grow."""

    def __init__(self, number: int) -> None:
        self.number, self.began = number, time.time()
        self.user = f"user-{number % 5}"
        self.received = self.sent = 0

    def flow(self, dice: random.Random) -> None:
        self.received += dice.randrange(10**9)
        self.sent += dice.randrange(5 * 10**9)

    def packet(self, status: int, delay: int) -> bytes:
        octets: dict[str, Any] = {
            "received": self.received % 2**32,
            "received_high": self.received // 2**32,
            "sent": self.sent % 2**32,
            "sent_high": self.sent // 2**32,
            "time": max(int(time.time() - self.began) - delay, 0),
        }
        told: dict[str, Any] = {} if status == START else octets
        identifier = random.randrange(256)
        return request(
            status,
            user=self.user,
            session=f"s{self.number}",
            delay=delay,
            identifier=identifier,
            **told,
        )


class Nas:
    """Sends every packet again until it is answered, and loses some answers."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0.1)
        self._socket.connect(("127.0.0.1", port))
        self._dice = dice
        self.waiting: list[tuple[Session, int]] = []

    def close(self) -> None:
        self._socket.close()

    def tell(self, session: Session, status: int) -> None:
        """Tries a few times; what is not answered stays to be sent."""
        self.waiting.append((session, status))
        for _ in range(3):
            self.try_waiting()

    def try_waiting(self) -> bool:
        """Whether everything is answered now."""
        self.waiting = [told for told in self.waiting if not self._is_answered(*told)]
        return not self.waiting

    def _is_answered(self, session: Session, status: int) -> bool:
        try:
            self._socket.send(session.packet(status, delay=0))
            self._socket.recv(4096)
        except OSError:
            return False
        return self._dice.random() > 0.3


@pytest.fixture
def panel() -> Iterator[FakePanel]:
    running = FakePanel(key=KEY)
    yield running
    running.close()


def started(port: int, panel: FakePanel, folder: Path) -> subprocess.Popen[bytes]:
    options = json.dumps({"secret": SECRET, "listen": f"127.0.0.1:{port}"})
    words = ["-m", "collectors.killable", "radius", options, str(folder / "state"), panel.url, KEY]
    environment = {**os.environ, "PYTHONPATH": f"{AGENT}{os.pathsep}{AGENT / 'tests'}"}
    with (folder / "agent.log").open("ab") as log:
        return subprocess.Popen([sys.executable, *words], env=environment, stderr=log)


def test_20_kills_book_exactly_what_the_nas_has_told(panel: FakePanel, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    port = free_port()
    nas = Nas(port, dice)
    panel.lose_answer = lambda: dice.random() < 0.2
    sessions: list[Session] = []
    for number in range(20):
        agent = started(port, panel, tmp_path)
        sessions.append(Session(number))
        nas.tell(sessions[-1], START)
        for _ in range(dice.randrange(1, 8)):
            session = dice.choice(sessions[-6:])
            session.flow(dice)
            nas.tell(session, dice.choice([INTERIM, INTERIM, INTERIM, STOP]))
        time.sleep(dice.random() * 0.3)
        agent.kill()
        agent.wait()
    panel.lose_answer = lambda: False
    agent = started(port, panel, tmp_path)
    try:
        eventually(nas.try_waiting, seconds=30)
        told: dict[tuple[str, str, int, str], list[int]] = {}
        for session in sessions:
            both = told.setdefault((session.user, *SERVER), [0, 0])
            both[0] += session.received
            both[1] += session.sent
        told = {key: both for key, both in told.items() if any(both)}
        eventually(lambda: dict(panel.booked) == told, seconds=20)
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(20) == 0
        nas.close()
    assert dict(panel.booked) == told, seed
