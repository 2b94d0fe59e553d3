"""A 200 means that the report is on disk: counts syncs, simulates power cuts and a full disk."""

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings

from tests.test_crash import (
    PATIENCE,
    REPOSITORY,
    Panel,
    database,
    expected_sums,
    panel,
    reports_of,
    stored_sums,
)

pytestmark = pytest.mark.slow

__all__ = ["database", "panel"]  # fixtures

IS_SQLITE = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
sqlite_only = pytest.mark.skipif(not IS_SQLITE, reason="about the SQLite file")

# Records the reports one by one, each in a separate transaction.
RECORD = """
import sys, django
django.setup()
from django.utils import timezone
from traffic.ledger.group_commit import submit
from traffic.ledger.recording import Reports
from traffic.reports import Report
for number in range(int(sys.argv[1])):
    now = timezone.now()
    report = Report("ann", "vpn.example.com", 443, "vless", 1, 2, int(now.timestamp()))
    submit(Reports([report]), now, create_subscribers=True)
"""


def post(panel: Panel, report: dict[str, Any]) -> int:
    return requests.post(f"{panel.url}/traffic-webhook", json=report, timeout=30).status_code


def syncs(panel: Panel, reports: int, trace: Path) -> int:
    """The number of syncs while the given number of reports is recorded."""
    strace = ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
    command = [*strace, sys.executable, "-c", RECORD, str(reports)]
    subprocess.run(command, cwd=REPOSITORY, env=panel.environment, check=True, timeout=120)
    return sum("sync(" in line and "resumed" not in line for line in trace.read_text().splitlines())


@sqlite_only
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
def test_every_lone_report_reaches_the_disk_before_it_is_acknowledged(
    panel: Panel, tmp_path: Path
) -> None:
    few, many = syncs(panel, 5, tmp_path / "few"), syncs(panel, 25, tmp_path / "many")
    assert many - few >= 20


@sqlite_only
def test_after_a_power_cut_the_database_is_consistent_and_holds_every_acknowledged_report(
    panel: Panel, tmp_path: Path
) -> None:
    draw = random.Random(3)
    panel.wait()
    stop, acknowledged, errors = threading.Event(), [], []

    def send(client: int) -> None:
        try:
            for report in reports_of(client, random.Random(client)):
                if stop.is_set():
                    return
                assert post(panel, report) == 200
                acknowledged.append(report)
        except BaseException as error:  # noqa: BLE001  shown by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=send, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    source, copies = Path(panel.environment["XPERT_TRAFFIC_DB_PATH"]), []
    for number in range(4):
        time.sleep(draw.uniform(0.05, 0.3))
        os.killpg(panel.master.pid, signal.SIGSTOP)  # all files as they are at one moment
        known = list(acknowledged)
        copies.append((copy := tmp_path / f"copy{number}.db", known))
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(f"{source}{suffix}", f"{copy}{suffix}")
        os.killpg(panel.master.pid, signal.SIGCONT)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
    for copy, known in copies:
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            events = {
                event
                for (event,) in connection.execute("SELECT event_id FROM traffic_receivedevent")
            }
        assert {report["event_id"] for report in known} <= events
        panel.environment["XPERT_TRAFFIC_DB_PATH"] = str(copy)
        assert "All sums agree" in panel.manage("check_traffic")


@sqlite_only
def test_a_full_disk_is_a_503_and_the_panel_recovers(panel: Panel) -> None:
    panel.wait()
    reports = reports_of(1, random.Random(1))
    assert post(panel, reports[0]) == 200
    wal = Path(panel.environment["XPERT_TRAFFIC_DB_PATH"] + "-wal")
    for pid in panel.workers():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (wal.stat().st_size, resource.RLIM_INFINITY))
    answers = [post(panel, report) for report in reports[1:6]]
    assert set(answers) == {503}
    for pid in panel.workers():
        resource.prlimit(
            pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
    assert [post(panel, report) for report in reports[1:6]] == [200] * 5
    assert stored_sums(panel) == expected_sums(reports[:6])
    assert "All sums agree" in panel.manage("check_traffic")


def manage_with_little_room(panel: Panel, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that cannot make any file larger than this, as on a full disk."""
    room = 2**16
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY,
        env=panel.environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def content(path: str) -> list[str]:
    """Every table and index, and every row."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return list(connection.iterdump())


@sqlite_only
def test_a_migration_on_a_full_disk_changes_nothing_and_the_next_one_succeeds(panel: Panel) -> None:
    panel.wait()
    reports = reports_of(1, random.Random(1))
    assert [post(panel, report) for report in reports[:5]] == [200] * 5
    panel.stop()
    panel.manage("migrate", "-v0", "traffic", "0014")
    before = content(path := panel.environment["XPERT_TRAFFIC_DB_PATH"])
    failed = manage_with_little_room(panel, "migrate", "-v0")
    assert failed.returncode == 1
    assert "The database cannot be used: disk I/O error. The disk is full" in failed.stderr
    assert content(path) == before
    panel.manage("migrate", "-v0")
    panel.manage("migrate", "--check")
    assert stored_sums(panel) == expected_sums(reports[:5])
    assert "All sums agree" in panel.manage("check_traffic")


@sqlite_only
def test_a_locked_database_is_a_503_and_nothing_is_half_written(
    panel: Panel,
) -> None:
    panel.wait()
    reports = reports_of(1, random.Random(1))
    with contextlib.closing(sqlite3.connect(panel.environment["XPERT_TRAFFIC_DB_PATH"])) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = requests.post(f"{panel.url}/traffic-webhook", json=reports[0], timeout=30)
        other.rollback()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert stored_sums(panel) == {}
    assert post(panel, reports[0]) == 200


def test_cleanups_at_once_while_reports_flow_leave_every_counter_right(panel: Panel) -> None:
    panel.wait()
    sent = [reports_of(client, random.Random(client)) for client in range(3)]
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda mine=mine: answers.extend(post(panel, report) for report in mine)
        )
        for mine in sent
    ]
    for thread in threads:
        thread.start()
    cleanups = []
    while any(thread.is_alive() for thread in threads):
        command = [sys.executable, "manage.py", "cleanup_traffic", "--days", "1"]
        cleanups = [
            subprocess.Popen(
                command, cwd=REPOSITORY, env=panel.environment, stdout=subprocess.DEVNULL
            )
            for _ in range(2)
        ]
        assert [cleanup.wait(60) for cleanup in cleanups] == [0, 0]
    assert cleanups
    assert set(answers) == {200}
    assert "All sums agree" in panel.manage("check_traffic")
    script = "from traffic.models import Balance; print(sum(b.life_upload for b in Balance.objects.all()))"
    lives = int(panel.manage("shell", "-v0", "-c", script))
    assert lives == sum(report["bytes_uploaded"] for reports in sent for report in reports)


@pytest.fixture
def redis() -> Iterator[str]:
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", 6379)):
            pytest.skip("needs Redis on 127.0.0.1:6379")
    yield "redis://127.0.0.1:6379/9"


def test_processes_share_a_limit_through_redis(
    database: dict[str, str], redis: str, tmp_path: Path
) -> None:
    limited = Panel(
        database, tmp_path / "limited.log", CACHE_URL=redis, XPERT_RATE_REPORTS="10/day"
    )
    try:
        limited.wait()
        token = f"limited-{time.time_ns()}"
        report = {
            "user_token": token,
            "server": "vpn.example.com",
            "port": 443,
            "protocol": "vless",
        }
        assert sorted(post(limited, report) for _ in range(30)) == [200] * 10 + [429] * 20
    finally:
        limited.kill_everything()


# Holds a write transaction that counts a report of Ann's, and never ends it.
HOLD = """
import time, django
django.setup()
from django.utils import timezone
from operations.databases.transactions import write_transaction
from traffic.ledger.recording import record
from traffic.reports import Report
now = timezone.now()
with write_transaction():
    record([Report("ann", "vpn.example.com", 443, "vless", 1, 2, int(now.timestamp()))], now)
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def stopped_writer(panel: Panel) -> Iterator[None]:
    """Another process of the panel is stopped in the midst of a write, and killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=REPOSITORY,
        env=panel.environment,
        stdout=subprocess.PIPE,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            holder.send_signal(signal.SIGSTOP)
            yield
        finally:
            holder.kill()


def test_a_writer_that_has_stopped_makes_others_answer_503_and_nothing_is_counted_of_that(
    panel: Panel,
) -> None:
    panel.wait()
    report = {
        "user_token": "ann", "server": "vpn.example.com", "port": 443, "protocol": "vless", "bytes_uploaded": 5,
    }  # fmt: skip
    assert post(panel, report) == 200
    with stopped_writer(panel), ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(panel, report), range(6)))
    assert answers == [503] * 6
    assert post(panel, report) == 200
    assert stored_sums(panel)["ann", "vpn.example.com"] == {
        "upload": 10, "download": 0, "reports": 2,
    }  # fmt: skip
