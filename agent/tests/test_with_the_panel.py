"""The agent, the real panel and real cores: what the origin's sockets carried is in the panel."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from real_cores import Origin, needs_sing_box, needs_v2ray, transfer
from real_panel import RealPanel, needs_panel
from singbox_core import USERS, Gateway, unexplained
from v2ray_core import PAIRS
from v2ray_core import Gateway as V2rayGateway
from waiting import wait_until

pytestmark = needs_panel
HERE = Path(__file__).parent
KILLS = 20
PATIENCE = 240
Booked = dict[tuple[str, str], list[int]]


@pytest.fixture
def real_panel(tmp_path: Path) -> Iterator[RealPanel]:
    panel = RealPanel(tmp_path, USERS)
    panel.wait()
    yield panel
    panel.kill()


class RunningAgent:
    def __init__(self, core: str, panel: RealPanel, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}"}
        words = [str(HERE / "killable_agent.py"), core, str(folder / "state"), panel.url, panel.key]
        self._command = [sys.executable, *words, "0.05"]
        self._environment = environment
        self._log = folder / "agent.log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stderr=log)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> str:
        """Its log."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(PATIENCE) == 0
        return self._log.read_text()


@contextmanager
def agent_of(core: str, panel: RealPanel, folder: Path) -> Iterator[RunningAgent]:
    agent = RunningAgent(core, panel, folder)
    try:
        # What a core counted before the agent's very first look is history.
        until(lambda: looked(folder / "state" / "journal.sqlite3"))
        yield agent
    finally:
        agent.kill()


def looked(journal: Path) -> bool:
    """Whether the agent has looked for its source, which may not be there yet."""
    if not journal.exists():
        return False
    with closing(sqlite3.connect(journal)) as database, suppress(sqlite3.OperationalError):
        return bool(database.execute("SELECT count(*) FROM source").fetchone()[0])
    return False


def until(condition: Callable[[], object]) -> None:
    """Waits, but not for ever: what has not become true is for the test to find."""
    wait_until(condition, PATIENCE)


def flowed(gateway: Gateway) -> Booked:
    return {(user, f"{user}.example.com"): amounts for (user, _), amounts in gateway.flowed.items()}


@contextmanager
def traffic(gateway: Gateway) -> Iterator[None]:
    """Connections of everybody until the end, open for half a second each."""
    stopping = threading.Event()

    def come_and_go(user: str) -> None:
        dice = random.Random(user)
        while not stopping.is_set():
            connection = gateway.dial(user, dice.randrange(5000), dice.randrange(500_000))
            stopping.wait(0.5)
            connection.close()

    threads = [threading.Thread(target=come_and_go, args=(user,)) for user in USERS]
    for thread in threads:
        thread.start()
    yield
    stopping.set()
    for thread in threads:
        thread.join()


@needs_sing_box
def test_sing_box_to_the_byte_while_the_panel_is_killed_20_times(
    real_panel: RealPanel, tmp_path: Path, gateway: Gateway
) -> None:
    dice = random.Random()
    with agent_of(gateway.url, real_panel, tmp_path) as agent:
        gateway.traffic(dice, 3)
        until(lambda: real_panel.booked() == flowed(gateway))
        with traffic(gateway):
            for _ in range(KILLS):
                time.sleep(dice.random())
                real_panel.kill()
                real_panel.start()
            real_panel.wait()
        until(lambda: real_panel.booked() == flowed(gateway))
        agent.stop()
    assert real_panel.booked() == flowed(gateway)
    assert "All sums agree" in real_panel.manage("check_traffic")


def total(amounts: Iterable[list[int]]) -> list[int]:
    return [sum(ways) for ways in zip(*amounts)]


@needs_sing_box
def test_every_byte_of_sing_box_is_accounted_for_while_it_is_killed_20_times(
    real_panel: RealPanel, tmp_path: Path, gateway: Gateway
) -> None:
    """What a new core has forgotten before the agent follows it is known as unexplained."""
    dice = random.Random()

    def accounted() -> list[int]:
        return total([*real_panel.booked().values(), unexplained(tmp_path / "state")])

    with agent_of(gateway.url, real_panel, tmp_path) as agent:
        for _ in range(KILLS):
            gateway.traffic(dice, 4)
            # What a killed core has told nobody is lost with it.
            until(lambda: accounted() == total(gateway.flowed.values()))
            gateway.kill()
            gateway.start()
        agent.stop()
    assert accounted() == total(gateway.flowed.values())
    for who, (up, down) in real_panel.booked().items():
        assert up <= flowed(gateway)[who][0]
        assert down <= flowed(gateway)[who][1]


@needs_v2ray
def test_v2ray_to_the_byte_while_agent_panel_and_core_are_killed_20_times_each(
    real_panel: RealPanel, tmp_path: Path
) -> None:
    dice = random.Random()
    gateway = V2rayGateway(tmp_path)
    origins = {pair: Origin() for pair in PAIRS}

    def carried() -> Booked:
        return {
            (person, f"{server}.example.com"): [origin.received, origin.sent]
            for (person, server), origin in origins.items()
        }

    def flow() -> None:
        for pair in dice.sample(PAIRS, 2):
            transfer(
                gateway.socks[pair], origins[pair], dice.randrange(9999), dice.randrange(99999)
            )

    core = f"grpc://127.0.0.1:{gateway.api}"
    with agent_of(core, real_panel, tmp_path) as agent:
        for _ in range(KILLS):
            with gateway.server(), gateway.client():
                for pair in PAIRS:
                    transfer(gateway.socks[pair], origins[pair], 1, 1)
                real_panel.kill()
                flow()
                agent.kill()
                flow()
                agent.start()
                real_panel.start()
                flow()
                until(lambda: real_panel.booked() == carried())
                assert real_panel.booked() == carried()
        agent.stop()
    for origin in origins.values():
        with closing(origin):
            pass
    assert real_panel.booked() == carried()
