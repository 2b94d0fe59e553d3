"""Backup and restore as an operator uses them: real commands on a separate database, while a real panel counts."""

import contextlib
import gzip
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
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
from tests.test_scripts import environment

__all__ = ["database", "panel"]  # fixtures

IS_SQLITE = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
sqlite_only = pytest.mark.skipif(not IS_SQLITE, reason="about the SQLite file")
pytestmark = [
    pytest.mark.skipif(
        not IS_SQLITE and shutil.which("pg_dump") is None,
        reason="needs pg_dump: apt-get install postgresql-client",
    ),
    pytest.mark.slow,
]

RECORD = """
import django
django.setup()
from django.utils import timezone
from traffic.ledger.recording import record
from traffic.reports import Report
now = timezone.now()
moment = int(now.timestamp())
for number in range(3):
    for hours in range(40):
        record([Report(f"user{number}", "vpn.example.com", 443, "vless", 10, 20, moment - 3600 * hours)], now, create_subscribers=True)
"""


class Place:
    """An installation without a running server."""

    def __init__(self, database: dict[str, str], folder: Path) -> None:
        self.folder = folder
        self.backups = folder / "backups"
        self.environment = environment(
            **database,
            SECRET_KEY="only-for-tests-" + "0123456789abcdef" * 4,
            XPERT_ENV_FILE=os.devnull,
            XPERT_BACKUP_FOLDER=self.backups,
            DJANGO_SETTINGS_MODULE="xpert_panel.settings",
        )
        self.manage("migrate", "-v0")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        done = self.run("manage.py", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """The error output of a command that exits with 1 and shows no traceback."""
        done = self.run("manage.py", *arguments)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def record(self) -> None:
        done = self.run("-c", RECORD)
        assert done.returncode == 0, done.stderr

    def backup(self) -> Path:
        target = self.folder / "backup.gz"
        self.manage("backup_traffic", str(target))
        return target

    def sums(self) -> str:
        script = (
            "from operations.backups.totals import measure; print(sorted(item for item in measure().items() if item[0] != 'operations_commandrun'));"
            "from traffic.models import Subscriber; print(list(Subscriber.objects.order_by('pk').values_list('pk', 'token')))"
        )
        # Log lines of the apps' start come before it.
        return "\n".join(self.manage("shell", "-v0", "-c", script).splitlines()[-2:])

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Another process that has the database open, like an idle panel."""
        other: Any
        if IS_SQLITE:
            other = sqlite3.connect(self.environment["XPERT_TRAFFIC_DB_PATH"])
            other.execute("SELECT count(*) FROM traffic_usage").fetchone()
        else:
            other = psycopg.connect(self.environment["DATABASE_URL"], autocommit=True)
        with contextlib.closing(other):
            yield

    def destroy(self) -> None:
        if IS_SQLITE:
            Path(self.environment["XPERT_TRAFFIC_DB_PATH"]).unlink()
            return
        with psycopg.connect(self.environment["DATABASE_URL"]) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def forget_a_migration(self) -> None:
        """Make the database look like one from a version without sessions."""
        self.execute("DROP TABLE django_session")
        self.execute("DELETE FROM django_migrations WHERE app = 'sessions'")

    def execute(self, sql: str) -> None:
        script = f"from django.db import connection; connection.cursor().execute({sql!r})"
        self.manage("shell", "-v0", "-c", script)


@pytest.fixture
def place(database: dict[str, str], tmp_path: Path) -> Place:
    return Place(database, tmp_path)


def test_a_backup_made_under_load_restores_to_the_moment_of_the_backup(
    panel: Panel, tmp_path: Path
) -> None:
    panel.wait()
    acknowledged: list[dict[str, Any]] = []
    errors: list[BaseException] = []
    stop = threading.Event()

    def send(client: int) -> None:
        draw, number = random.Random(client), 0
        try:
            while not stop.is_set():
                for report in reports_of(1000 * client + number, draw):
                    if not stop.is_set():
                        answer = requests.post(
                            f"{panel.url}/traffic-webhook", json=report, timeout=30
                        )
                        assert answer.status_code == 200, answer.text
                        acknowledged.append(report)
                number += 1
        except BaseException as error:  # noqa: BLE001  shown by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=send, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    backup = tmp_path / "backup.gz"
    try:
        deadline = time.monotonic() + PATIENCE
        while len(acknowledged) < 50 and not errors:
            assert time.monotonic() < deadline
            stop.wait(0.05)
        before = [report["event_id"] for report in acknowledged]
        panel.manage("backup_traffic", str(backup))
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert errors == []
    panel.kill_everything()
    place = Place.__new__(Place)
    place.environment = panel.environment
    place.destroy()
    assert "Restored the state of" in panel.manage("restore_traffic", str(backup), "--yes")

    script = "from traffic.models import ReceivedEvent as E; print(*E.objects.values_list('event_id', flat=True))"
    held = set(panel.manage("shell", "-v0", "-c", script).splitlines()[-1].split())
    assert set(before) <= held
    assert stored_sums(panel) == expected_sums(
        [report for report in acknowledged if report["event_id"] in held]
    )
    assert "All sums agree" in panel.manage("check_traffic")


def test_usage_counted_after_the_backup_is_lost_after_the_restore(place: Place) -> None:
    place.record()
    before = place.sums()
    backup = place.backup()
    place.record()
    assert place.sums() != before
    dry = place.manage("restore_traffic", str(backup), "--dry-run")
    assert "3 subscribers, 120 records, 1.17 KB up, 2.34 KB down" in dry
    assert "Nothing was changed." in dry
    assert place.sums() != before
    place.manage("restore_traffic", str(backup), "--yes")
    assert place.sums() == before
    place.record()  # new rows get ids that are free
    assert "All sums agree" in place.manage("check_traffic")


def test_a_restore_asks_on_a_terminal_and_refuses_without_one(place: Place) -> None:
    place.record()
    backup, before = place.backup(), place.sums()
    place.record()
    after = place.sums()
    assert "use --yes" in place.refused("restore_traffic", str(backup))
    assert place.sums() == after != before


def test_a_restore_is_refused_while_anybody_has_the_database_open(place: Place) -> None:
    place.record()
    backup = place.backup()
    place.record()
    after = place.sums()
    with place.connected():
        assert "stop the panel" in place.refused("restore_traffic", str(backup), "--yes")
    assert place.sums() == after


def test_a_backup_of_an_older_version_is_brought_up_to_this_one(place: Place) -> None:
    place.record()
    place.forget_a_migration()
    backup = place.backup()
    place.manage("migrate", "-v0")
    before = place.sums()
    place.destroy()
    assert "an older version" in place.manage("restore_traffic", str(backup), "--yes")
    assert place.sums() == before
    place.manage("migrate", "--check")


def test_a_backup_of_a_newer_version_is_refused(place: Place) -> None:
    place.record()
    place.execute(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('traffic', '0999_later', '2030-01-01')"
    )
    backup = place.backup()
    place.execute("DELETE FROM django_migrations WHERE name = '0999_later'")
    place.record()
    before = place.sums()
    for option in ("--dry-run", "--yes"):
        said = place.refused("restore_traffic", str(backup), option)
        assert "newer version (it has traffic 0999_later)" in said
    assert place.sums() == before


def test_a_damaged_backup_is_refused_and_nothing_is_changed(place: Place) -> None:
    place.record()
    backup, before = place.backup(), place.sums()
    whole, plain = backup.read_bytes(), gzip.decompress(backup.read_bytes())
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 1
    damaged = [
        whole[: len(whole) // 2],
        bytes(flipped),
        gzip.compress(plain[: len(plain) // 2], 1),
        gzip.compress(b""),
        b"no backup at all",
    ]
    for content in damaged:
        backup.write_bytes(content)
        assert "Nothing was restored" in place.refused("restore_traffic", str(backup), "--yes")
    backup.unlink()
    assert "cannot be read" in place.refused("restore_traffic", str(backup), "--yes")
    assert place.sums() == before


@sqlite_only
def test_a_restore_over_a_ruined_file_puts_that_aside(place: Place) -> None:
    place.record()
    backup, before = place.backup(), place.sums()
    live = Path(place.environment["XPERT_TRAFFIC_DB_PATH"])
    live.write_bytes(b"\0" * 10_000)
    place.manage("restore_traffic", str(backup), "--yes")
    assert place.sums() == before
    assert Path(f"{live}.damaged").read_bytes() == b"\0" * 10_000
    assert live.stat().st_mode & 0o777 == 0o600


def test_backups_rotate_and_nothing_else_is_dropped(place: Place) -> None:
    place.backups.mkdir()
    suffix = "db" if IS_SQLITE else "sql"
    old = [f"xpert-panel-2024010{day}-030000.{suffix}.gz" for day in range(1, 4)]
    for name in [*old, "mine.db.gz", "xpert-panel-last.db.gz"]:
        (place.backups / name).touch()
    said = place.manage("backup_traffic", "--keep", "2")
    left = {path.name for path in place.backups.iterdir()}
    assert {"mine.db.gz", "xpert-panel-last.db.gz", old[2]} <= left
    assert len(left) == 4
    assert f"Dropped {old[0]}." in said
    made = next(path for path in place.backups.iterdir() if path.stat().st_size)
    assert made.stat().st_mode & 0o777 == 0o600


def test_a_backup_that_does_not_fit_leaves_nothing_behind(place: Place) -> None:
    place.record()
    kept = place.backup()
    content = kept.read_bytes()
    limited = [
        "bash",
        "-c",
        f"ulimit -f 4; trap '' XFSZ; exec {sys.executable} manage.py backup_traffic {kept}",
    ]
    done = subprocess.run(
        limited,
        cwd=REPOSITORY,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "No backup:" in done.stderr
    assert "Traceback" not in done.stderr
    assert kept.read_bytes() == content
    assert not list(place.folder.glob(".xpert-panel-*"))


@sqlite_only
def test_a_restore_that_is_killed_leaves_the_database_as_it_was(place: Place) -> None:
    """It is killed at a random moment; the new content is written in one transaction."""
    place.record()
    backup = place.backup()
    place.record()
    before = place.sums()
    script = (
        "import os, signal, sys; from operations import backups\n"
        "def stop(stage, done, total):\n"
        "    if stage == 'restoring': os.kill(os.getpid(), signal.SIGKILL)\n"
        "from operations.backups import sqlite; sqlite._PAGES = 20\n"
        f"backups.restore(__import__('pathlib').Path({str(backup)!r}), stop)"
    )
    done = place.run("manage.py", "shell", "-v0", "-c", script)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert place.sums() == before
