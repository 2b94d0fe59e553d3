"""kill -9 of agent, sing-box and panel, again and again: nothing is doubled, and what a kill cuts off is little."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways import socks
from tests.gateways.lab import PEOPLE, Lab, Process
from tests.subscriptions.formats.cores import needs_sing_box
from tests.test_crash import database  # noqa: F401  a fixture

pytestmark = [pytest.mark.slow, needs_sing_box]
KILLS = 20
# Seconds in which everything that was counted has come: three messages, and the longest pause after a failure.
SETTLED = 45


@pytest.fixture
def lab(tmp_path: Path, database: dict[str, str]) -> Iterator[Lab]:  # noqa: F811
    lab = Lab(tmp_path, database, "shadowsocks")
    # With so little left the gateway reports every 10 s.
    lab.panel.manage("create_subscriber", "dan", "--limit", "0.05GB")
    yield lab
    lab.close()


class Traffic:
    """Connections of everybody until ``stop``; those that a kill cuts off are of no interest."""

    def __init__(self, lab: Lab) -> None:
        self.labels = {key: number for number, key in enumerate(lab.apps, start=1)}
        self._lab = lab
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._flow, args=(seed,)) for seed in range(4)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _flow(self, seed: int) -> None:
        draw = random.Random(seed)
        while not self._stopping.wait(0.02):
            key = draw.choice(list(self.labels))
            amounts = draw.randrange(5_000), draw.randrange(50_000)
            try:
                origin = self._lab.origin.port
                socks.stream(self._lab.apps[key], origin, self.labels[key], *amounts).close()
            except OSError:
                self._stopping.wait(0.1)


def kill_something(lab: Lab, agent: Process, draw: random.Random) -> Process:
    """The agent that runs then."""
    match draw.choice(["agent", "core", "panel"]):
        case "agent":
            agent.kill()
            return lab.start_agent()
        case "core":
            try:
                os.kill(int((lab.state / "sing-box.pid").read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has just died, and its agent has not started it again
        case _:
            lab.panel.process.kill()
            lab.panel.process.start()
    return agent


def shown(lab: Lab) -> tuple[int, int]:
    """How often the gateway's page says that its core has ended by itself, and its unexplained bytes."""
    script = "from gateways.models import Gateway; print(*Gateway.objects.values_list('deaths', 'unexplained').get())"
    deaths, unexplained = lab.panel.manage("shell", "-v0", "-c", script).split()
    return int(deaths), int(unexplained)


def test_nothing_is_doubled_and_little_is_missing_whatever_is_killed(lab: Lab) -> None:
    draw = random.Random(9)
    agent = lab.start_agent()
    lab.start_apps()
    traffic = Traffic(lab)
    try:
        for _ in range(KILLS):
            time.sleep(draw.uniform(1.5, 4))
            agent = kill_something(lab, agent, draw)
    finally:
        traffic.stop()
    lab.panel.wait()
    time.sleep(SETTLED)
    counted = {person: lab.panel.used(person) for person in PEOPLE}
    flowed = missing = 0
    for (person, server), label in traffic.labels.items():
        for way in (0, 1):
            at_origin = lab.origin.counted[label][way]
            found = counted[person].get(server, (0, 0))[way]
            assert found <= at_origin
            flowed += at_origin
            missing += at_origin - found
    # About half a percent on a quiet machine, six on a busy one: what the core carried while nobody read it.
    assert missing < flowed / 4
    deaths, unexplained = shown(lab)
    assert deaths > 0
    assert unexplained <= missing
    assert "All sums agree" in lab.panel.manage("check_traffic")
