"""Meter readings under fire: several processes, kill -9, every message sent again, and in the end stored = told, to the byte."""

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.test_crash import PATIENCE, Panel, database, stored_sums  # noqa: F401  a fixture

pytestmark = pytest.mark.slow
METERS = 4
MESSAGES = 40  # of each meter
USERS = ["ann", "bob", "cat"]
SERVERS = ["de1.example.com", "nl1.example.com"]

Message = dict[str, Any]
Totals = dict[tuple[str, str], list[int]]


def history(meter: int, draw: random.Random) -> tuple[list[Message], Totals]:
    """What one meter tells, one message after the other; and its totals in the end."""
    totals: Totals = {(user, server): [0, 0] for user in USERS for server in SERVERS}
    messages = []
    for _ in range(MESSAGES):
        for found in totals.values():
            found[0] += draw.randrange(1000)
            found[1] += draw.randrange(10**6)
        rows = [
            {
                "user_token": user, "server": server, "port": 443, "protocol": "vless",
                "total_uploaded": up, "total_downloaded": down,
            }
            for (user, server), (up, down) in totals.items()
        ]  # fmt: skip
        messages.append({"meter": f"m{meter}", "run": 1_700_000_000, "readings": rows})
    return messages, totals


def insist(panel: Panel, message: Message, deadline: float) -> None:
    """As the agent does: until it is answered with 200."""
    while True:
        assert time.monotonic() < deadline
        try:
            answer = requests.post(f"{panel.url}/meter-readings", json=message, timeout=10)
            if answer.status_code == 200:
                assert answer.json()["rejected"] == []
                return
            assert answer.status_code == 503, answer.text
        except requests.RequestException:
            time.sleep(0.05)


def tell(panel: Panel, messages: list[Message], draw: random.Random, deadline: float) -> None:
    """In order, with old ones in between."""
    for place, message in enumerate(messages):
        insist(panel, message, deadline)
        if draw.random() < 0.3:
            insist(panel, messages[draw.randrange(place + 1)], deadline)


def test_totals_are_counted_to_the_byte_whatever_is_killed(
    database: dict[str, str],  # noqa: F811
    tmp_path: Path,
) -> None:
    draw = random.Random(3)
    panel = Panel(database, tmp_path / "server.log")
    try:
        deadline = time.monotonic() + PATIENCE
        told = [history(meter, draw) for meter in range(METERS)]
        errors: list[BaseException] = []

        def run(meter: int, seed: int) -> None:
            try:
                tell(panel, told[meter][0], random.Random(seed), deadline)
            except BaseException as error:  # noqa: BLE001  shown by the test's own thread
                errors.append(error)

        # Two senders for each meter: what one has told the other tells again.
        threads = [
            threading.Thread(target=run, args=(meter, 10 * meter + sender))
            for meter in range(METERS)
            for sender in range(2)
        ]
        for thread in threads:
            thread.start()
        kills = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(draw.uniform(0.2, 0.6))
            if kills < 20:
                kills += 1
                if kills % 4:
                    panel.kill_a_worker(draw)
                else:
                    panel.kill_everything()
                    panel.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert errors == []
        assert kills
        panel.wait()
        panel.stop()
        assert _stored(panel) == _expected([totals for _, totals in told])
        assert "All sums agree" in panel.manage("check_traffic")
    finally:
        if panel.master.poll() is None:
            panel.kill_everything()


def _stored(panel: Panel) -> dict[tuple[str, str], tuple[int, int]]:
    return {key: (row["upload"], row["download"]) for key, row in stored_sums(panel).items()}


def _expected(all_totals: list[Totals]) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        key: (sum(totals[key][0] for totals in all_totals), sum(totals[key][1] for totals in all_totals))
        for key in all_totals[0]
    }  # fmt: skip
