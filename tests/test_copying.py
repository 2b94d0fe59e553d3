"""Copies SQLite to PostgreSQL with the real commands, which are killed during the copy."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.test_backups import Place
from tests.test_crash import PATIENCE, REPOSITORY, database

__all__ = ["database"]  # a fixture

pytestmark = [
    pytest.mark.skipif(
        settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3",
        reason="needs PostgreSQL",
    ),
    pytest.mark.slow,
]

KILLED = """
import os, signal
from operations.backups import copying
copying.STEP = 20
def stop(table, done, total):
    if table == "traffic_usage" and done > 50:
        os.kill(os.getpid(), signal.SIGKILL)
copying.copy({url!r}, stop)
"""


def test_a_sqlite_panel_moves_to_postgresql_even_when_it_is_killed_on_the_way(
    database: dict[str, str], tmp_path: Path
) -> None:
    place = Place({"XPERT_TRAFFIC_DB_PATH": str(tmp_path / "panel.db")}, tmp_path)
    place.record()
    url = database["DATABASE_URL"]
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", KILLED.format(url=url)],
        cwd=REPOSITORY, env=place.environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    said = place.manage("copy_traffic", "--to", url)
    assert "were already there" in said
    assert "every row was compared and is equal" in said
    before = place.sums()
    place.environment |= database
    assert place.sums() == before
    assert "All sums agree" in place.manage("check_traffic")
    place.record()
    place.manage("create_subscriber", "Zed")
    assert "All sums agree" in place.manage("check_traffic")
