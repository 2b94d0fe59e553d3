"""3x-ui's messages under fire: the database is held by others, processes are killed, and in the end stored = told.

3x-ui never sends a message twice. Therefore each message names a person of its own: of whoever was answered with
200 the bytes are stored once, and of all others once or not at all.
"""

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from tests.test_crash import PATIENCE, Panel, database, stored_sums  # noqa: F401  a fixture

pytestmark = pytest.mark.slow
SENDERS = 4
KILLS = 20


@contextlib.contextmanager
def busy(found: dict[str, str]) -> Iterator[None]:
    """Another program holds the database."""
    other: sqlite3.Connection | psycopg.Connection
    if "DATABASE_URL" in found:
        other = psycopg.connect(found["DATABASE_URL"])
        other.execute("LOCK TABLE traffic_usage IN SHARE MODE")
    else:
        other = sqlite3.connect(
            found["XPERT_TRAFFIC_DB_PATH"], isolation_level=None, timeout=PATIENCE
        )
        other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


class Senders:
    """They send as 3x-ui does, but faster: each message once, whatever becomes of it."""

    def __init__(self, panel: Panel, key: str) -> None:
        self.url = f"{panel.url}/inform/3x-ui/{key}"
        self.answered: dict[str, int] = {}
        self.waiting: set[str] = set()
        self.lost: dict[str, int] = {}
        self.is_over = threading.Event()
        self.errors: list[BaseException] = []
        self.threads = [
            threading.Thread(target=self.run, args=(number,)) for number in range(SENDERS)
        ]

    def run(self, number: int) -> None:
        try:
            for count in range(10**6):
                if self.is_over.is_set():
                    return
                self.send(f"p{number}-{count}", count + 1)
        except BaseException as error:  # noqa: BLE001  shown by the test's own thread
            self.errors.append(error)

    def send(self, email: str, upload: int) -> None:
        body = {"clientTraffics": [{"email": email, "up": upload}], "inboundTraffics": None}
        try:
            answer = requests.post(self.url, json=body, timeout=10)
        except requests.RequestException:
            self.lost[email] = upload
            time.sleep(0.05)
            return
        assert answer.status_code == 200, answer.text
        self.answered[email] = upload
        if "waiting" in answer.json():
            self.waiting.add(email)

    def wait_for(self, kind: str) -> None:
        """Until one more message is of this kind."""
        deadline = time.monotonic() + PATIENCE
        before = len(getattr(self, kind))
        while len(getattr(self, kind)) == before and not self.errors:
            assert time.monotonic() < deadline
            time.sleep(0.01)


_MAKE_PEOPLE = f"""
from traffic.models import Subscriber
Subscriber.objects.bulk_create(
    [Subscriber(token=f"p{{number}}-{{count}}") for number in range({SENDERS}) for count in range(5000)]
)
"""


def test_every_answered_message_counts_once_whatever_is_killed_and_however_busy_the_database_is(
    database: dict[str, str],  # noqa: F811
    tmp_path: Path,
) -> None:
    draw = random.Random(7)
    spool = {"XPERT_TRAFFIC_DB_PATH": str(tmp_path / "panel.db")}  # its folder is beside that file
    panel = Panel(spool | database, tmp_path / "server.log")
    try:
        panel.manage("shell", "-v0", "-c", _MAKE_PEOPLE)
        key = panel.manage("create_api_key", "friend", "--scope", "manage").split()[-1]
        panel.environment["XPERT_RATE_REPORTS"] = ""
        senders = Senders(panel, key)
        panel.wait()
        for thread in senders.threads:
            thread.start()
        for kill in range(KILLS):
            senders.wait_for("answered")
            with busy(database):
                senders.wait_for("waiting")
                _kill(panel, draw, everything=kill % 4 == 0)
        senders.is_over.set()
        for thread in senders.threads:
            thread.join(PATIENCE)
        assert senders.errors == []
        assert len(senders.waiting) >= KILLS
        panel.wait()
        panel.stop()
        panel.manage("drain_spool")
        stored = {token: row["upload"] for (token, _), row in stored_sums(panel).items()}
        told = senders.answered | {
            email: up for email, up in senders.lost.items() if email in stored
        }
        assert stored == told
        assert "All sums agree" in panel.manage("check_traffic")
    finally:
        if panel.master.poll() is None:
            panel.kill_everything()


def _kill(panel: Panel, draw: random.Random, *, everything: bool) -> None:
    if everything:
        panel.kill_everything()
        panel.start()
    else:
        panel.kill_a_worker(draw)
