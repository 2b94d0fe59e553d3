"""Reports flow over a midnight, with a clock that every process of the panel reads: each counts in its own period."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
import requests

from tests.test_crash import Panel, database

pytestmark = pytest.mark.slow

__all__ = ["database"]  # a fixture

ZONE = ZoneInfo("Asia/Tokyo")
SECONDS = 4  # before midnight, and after it
SLACK = 1  # seconds by which clocks of processes may differ
RESETS = ["daily", "weekly", "monthly", "yearly", "never"]
PEOPLE = """
from traffic.models import Subscriber
for reset in {resets}:
    for kind in ("told", "untold"):
        name = reset + "-" + kind
        Subscriber.objects.create(name=name, token=name, limit_reset=reset, reset_day=1)
"""
COUNTERS = """
from datetime import datetime
from traffic.models import Balance, Usage
from traffic.people.quotas import with_usage
from traffic.models import Subscriber
from operations.conf import conf
from django.utils import timezone
for who in with_usage(Subscriber.objects.all(), timezone.now(), conf.time_zone):
    since = Usage.objects.filter(subscriber=who, hour__gte=datetime.fromisoformat("{midnight}"))
    print("row", who.token, who.life_used, who.period_used, sum(row.upload + row.download for row in since))
"""


class Sent(NamedTuple):
    """A report that the panel has acknowledged. Moments are Unix seconds of the panel's clock."""

    token: str
    size: int
    told: int | None
    began: float
    ended: float


# Every Python process of the panel runs this first. It follows the file, also in the children of a fork.
FOLLOW = """
import os, threading, time
from pathlib import Path
import time_machine

real = time_machine.escape_hatch.time.time
path, known = Path(os.environ["CLOCK"]), float(Path(os.environ["CLOCK"]).read_text())
clock = time_machine.travel(time.time() + known, tick=True).start()

def follow():
    global known
    ticks = threading.Event()
    while not ticks.wait(0.05):
        offset = float(path.read_text())
        if offset != known:
            known = offset
            clock.move_to(real() + offset)

def begin():
    threading.Thread(target=follow, daemon=True).start()

begin()
os.register_at_fork(after_in_child=begin)
"""


class Clock:
    """The clock of the panel's processes: ours plus an offset, which they read from a file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._path, self._offset = folder / "offset", 0.0
        (folder / "sitecustomize.py").write_text(FOLLOW)
        self.environment = {"PYTHONPATH": str(folder), "CLOCK": str(self._path)}
        self.set(time.time())

    def set(self, moment: float) -> None:
        self._offset = moment - time.time()
        scratch = self._path.with_suffix(".new")
        scratch.write_text(repr(self._offset))
        scratch.replace(self._path)

    def now(self) -> float:
        return time.time() + self._offset


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def panel(database: dict[str, str], tmp_path: Path, clock: Clock) -> Iterator[Panel]:
    log = tmp_path / "server.log"
    found = Panel(database, log, XPERT_TIME_ZONE=ZONE.key, **clock.environment)
    try:
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            found.kill_everything()


def report(draw: random.Random, now: float) -> dict[str, Any]:
    """Of somebody. Those who tell when their traffic flowed tell it late: a moment ahead of the panel would count as now."""
    token = f"{draw.choice(RESETS)}-{draw.choice(['told', 'untold'])}"
    found: dict[str, Any] = {
        "user_token": token, "server": "vpn.example.com", "port": 443, "protocol": "vless",
        "bytes_uploaded": draw.randrange(2**30), "bytes_downloaded": draw.randrange(2**30),
    }  # fmt: skip
    if token.endswith("-told"):
        found["timestamp"] = int(now - draw.uniform(SLACK, SECONDS))
    return found


def send(panel: Panel, clock: Clock, draw: random.Random, end: float) -> Iterator[Sent]:
    with requests.Session() as session:
        while (began := clock.now()) < end:
            batch = [report(draw, began) for _ in range(draw.choice([1, 1, 5]))]
            answer = session.post(f"{panel.url}/traffic-webhook", json=batch, timeout=60)
            ended = clock.now()
            assert answer.status_code == 200, answer.text
            for one in batch:
                size = one["bytes_uploaded"] + one["bytes_downloaded"]
                yield Sent(one["user_token"], size, one.get("timestamp"), began, ended)


def send_from_many(panel: Panel, clock: Clock, end: float) -> list[Sent]:
    sent: list[Sent] = []
    errors: list[BaseException] = []

    def one(client: int) -> None:
        try:
            sent.extend(send(panel, clock, random.Random(client), end))
        except BaseException as error:  # noqa: BLE001  shown by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=one, args=(client,)) for client in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    return sent


def counters(panel: Panel, midnight: datetime) -> dict[str, tuple[int, int, int]]:
    """By token: bytes of the life, of the current period, and of the records since midnight."""
    script = COUNTERS.format(midnight=midnight.isoformat())
    rows = [
        line.split()[1:]
        for line in panel.manage("shell", "-v0", "-c", script).splitlines()
        if line.startswith("row ")
    ]
    return {token: (int(life), int(period), int(since)) for token, life, period, since in rows}


def test_reports_on_both_sides_of_a_midnight_count_in_their_own_period(
    panel: Panel, clock: Clock
) -> None:
    panel.manage("shell", "-v0", "-c", PEOPLE.format(resets=RESETS))
    panel.wait()
    year = datetime.now(UTC).year + 1
    # A new year, month and day; also a Monday, so a new week.
    year = next(each for each in range(year, year + 12) if datetime(each, 1, 1).weekday() == 0)  # noqa: DTZ001
    midnight = datetime(year, 1, 1, tzinfo=ZONE)
    edge = midnight.timestamp()
    clock.set(edge - SECONDS)
    time.sleep(0.5)  # until every process has seen it
    sent = send_from_many(panel, clock, edge + SECONDS)

    before, after = (
        [one for one in sent if one.ended < edge],
        [one for one in sent if one.began >= edge],
    )
    assert before
    assert after
    life, told, sure, possible = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for one in sent:
        life[one.token] += one.size
        told[one.token] += one.size * (one.told is not None and one.told >= edge)
        sure[one.token] += one.size * (one.began >= edge + SLACK)
        possible[one.token] += one.size * (one.ended >= edge - SLACK)
    found = counters(panel, midnight)
    assert {token: sums[0] for token, sums in found.items()} == life
    for token, (_, period, since) in found.items():
        assert period == (life[token] if token.startswith("never") else since), token
        if token.endswith("-told"):
            assert since == told[token], token
        else:
            assert sure[token] <= since <= possible[token], token
    assert "All sums agree" in panel.manage("check_traffic")
