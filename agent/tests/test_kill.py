"""kill -9 at any moment: nothing is doubled, and nothing is lost that the source still tells."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from fake_panel import FakePanel
from real_cores import needs_sing_box
from singbox_core import USERS, Gateway, unexplained
from waiting import wait_until

HERE = Path(__file__).parent
KEY = "k3y-of-a-gateway"
PEOPLE, SERVERS = ("alice", "bob", "carol"), 4


class Core:
    """Counters in a file that only grow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counters = {(person, server): [0, 0] for person in PEOPLE for server in range(SERVERS)}
        # An agent that was killed before it made its journal has never watched this core.
        self.began = time.time() + 60
        self.flow(random.Random(0))

    def flow(self, dice: random.Random) -> None:
        for counter in dice.sample(sorted(self.counters), 5):
            self.counters[counter][0] += dice.randrange(10**9)
            self.counters[counter][1] += dice.randrange(10**9)
        rows = [
            [person, f"srv-{server}", *amounts]
            for (person, server), amounts in self.counters.items()
        ]
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"run": "r1", "began": self.began, "counters": rows}))
        fresh.replace(self.path)

    def told(self) -> dict[tuple[str, str, int, str], list[int]]:
        return {
            (person, f"host{server}.example.com", 443, "vless"): amounts
            for (person, server), amounts in self.counters.items()
            if any(amounts)
        }


@pytest.fixture
def keyed_panel() -> Iterator[FakePanel]:
    panel = FakePanel(key=KEY)
    yield panel
    panel.close()


def started(
    core: str, panel: FakePanel, folder: Path, interval: float = 0.02
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}"}
    words = [
        str(HERE / "killable_agent.py"),
        core,
        str(folder / "state"),
        panel.url,
        KEY,
        str(interval),
    ]
    with (folder / "agent.log").open("ab") as log:
        return subprocess.Popen([sys.executable, *words], env=environment, stderr=log)


def until(condition: Callable[[], object], agent: subprocess.Popen[bytes]) -> None:
    """Waits, but not for ever: what has not become true is for the test to find."""
    wait_until(lambda: condition() or agent.poll() is not None, 20)


def test_20_kills_with_lost_answers_leave_the_panel_with_exactly_what_the_core_tells(
    keyed_panel: FakePanel, tmp_path: Path
) -> None:
    dice = random.Random()
    core = Core(tmp_path / "core.json")
    keyed_panel.lose_answer = lambda: dice.random() < 0.2
    for _ in range(20):
        agent = started(str(core.path), keyed_panel, tmp_path)
        for _ in range(dice.randrange(1, 12)):
            core.flow(dice)
            time.sleep(dice.random() * 0.08)
        agent.kill()
        agent.wait()
        core.flow(dice)
    keyed_panel.lose_answer = lambda: False
    agent = started(str(core.path), keyed_panel, tmp_path)
    try:
        until(lambda: dict(keyed_panel.booked) == core.told(), agent)
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(20) == 0
    assert dict(keyed_panel.booked) == core.told()


def test_sigterm_reads_and_sends_a_last_time(keyed_panel: FakePanel, tmp_path: Path) -> None:
    core = Core(tmp_path / "core.json")
    agent = started(str(core.path), keyed_panel, tmp_path, interval=3600)
    until(lambda: keyed_panel.messages, agent)
    core.flow(random.Random(1))
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(20) == 0
    assert dict(keyed_panel.booked) == core.told()


def test_neither_key_nor_token_is_in_the_log(keyed_panel: FakePanel, tmp_path: Path) -> None:
    core = Core(tmp_path / "core.json")
    keyed_panel.statuses.extend([401, 500, 403])
    agent = started(str(core.path), keyed_panel, tmp_path)
    until(lambda: keyed_panel.booked, agent)
    agent.send_signal(signal.SIGTERM)
    agent.wait(20)
    log = (tmp_path / "agent.log").read_text()
    assert "does not accept the API key (HTTP 401: as told)" in log
    assert KEY not in log


def test_a_second_agent_with_the_same_state_is_refused(
    keyed_panel: FakePanel, tmp_path: Path
) -> None:
    core = Core(tmp_path / "core.json")
    first = started(str(core.path), keyed_panel, tmp_path)
    until(lambda: keyed_panel.messages, first)
    second = started(str(core.path), keyed_panel, tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(0.01)
    assert second.wait(20) != 0
    assert "Another agent is running" in (tmp_path / "agent.log").read_text()
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0


def total(amounts: Iterable[list[int]]) -> list[int]:
    return [sum(ways) for ways in zip(*amounts)]


@needs_sing_box
def test_20_kills_in_front_of_a_busy_sing_box_double_nothing_and_account_for_every_byte(
    keyed_panel: FakePanel, tmp_path: Path, gateway: Gateway
) -> None:
    """sing-box forgets closed connections whenever it likes: what it tells nobody is unexplained."""
    dice = random.Random()
    keyed_panel.lose_answer = lambda: dice.random() < 0.2

    def come_and_go(number: int) -> None:
        for _ in range(15):
            gateway.traffic(random.Random(number), 1)
            time.sleep(0.5)

    def download(user: str) -> None:
        gateway.dial(user, 9, 20_000_000, pause=0.02).close()

    agent = started(gateway.url, keyed_panel, tmp_path)
    # What flows before the first reading is not the agent's to explain.
    until(
        lambda: any(source["read_at"] for one in keyed_panel.messages for source in one["sources"]),
        agent,
    )
    clients = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    clients += [threading.Thread(target=download, args=(user,)) for user in USERS]
    for client in clients:
        client.start()
    for _ in range(20):
        time.sleep(dice.random())
        agent.kill()
        agent.wait()
        agent = started(gateway.url, keyed_panel, tmp_path)
    for client in clients:
        client.join()
    keyed_panel.lose_answer = lambda: False
    everything = total(gateway.flowed.values())
    before = len(keyed_panel.messages)
    until(lambda: len(keyed_panel.messages) > before, agent)
    try:
        until(
            lambda: (
                total([*keyed_panel.booked.values(), unexplained(tmp_path / "state")]) == everything
            ),
            agent,
        )
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(20) == 0
    assert total([*keyed_panel.booked.values(), unexplained(tmp_path / "state")]) == everything
    for (user, server), flowed in gateway.flowed.items():
        booked = keyed_panel.booked[user, f"{user}.example.com", 443, "vless"]
        assert server == f"srv-{user}"
        assert booked[0] <= flowed[0]
        assert booked[1] <= flowed[1]
