"""``migrate`` converts a database from before ``operations`` existed, with all its data."""

import gzip
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from operations.migrations._takeover import OLD_MIGRATIONS

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(__file__).parent / "data"
COUNTED = {
    "operations_apikey": 1,
    "operations_auditentry": 4,
    "operations_commandrun": 1,
    "operations_receiver": 1,
    "operations_notification": 1,
    "operations_delivery": 1,
    "traffic_subscriber": 2,
    "traffic_correction": 1,
    "subscriptions_directconfig": 1,
    "subscriptions_source": 1,
    "subscriptions_group": 1,
    "subscriptions_group_subscribers": 1,
    "subscriptions_subscriptionhit": 1,
}


class Database:
    """An old database, with methods to query it and to run ``manage.py`` on it."""

    def __init__(self, connection: Any, environment: dict[str, str]) -> None:
        self.connection = connection
        self.environment = environment

    def ask(self, sql: str) -> list[Any]:
        return list(self.connection.execute(sql).fetchall())

    def manage(self, *arguments: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("XPERT_")}
        settings_ = {"XPERT_ENV_FILE": os.devnull, "SECRET_KEY": "x" * 50}
        clean.pop("DJANGO_SETTINGS_MODULE", None)
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env=clean | settings_ | self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    sql = (DATA / f"database_before_operations.{request.param}.sql").read_text("utf-8")
    if request.param == "sqlite":
        if os.environ.get("DATABASE_URL"):
            pytest.skip("the run on SQLite has them")
        path = tmp_path / "old.db"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(sql)
        yield Database(connection, {"XPERT_TRAFFIC_DB_PATH": str(path), "DATABASE_URL": ""})
        connection.close()
        return
    if not os.environ.get("DATABASE_URL"):
        pytest.skip("needs PostgreSQL: DATABASE_URL=postgres://…")
    yield from _postgresql(sql, f"xpert_takeover_{os.getpid()}")


def _postgresql(sql: str, name: str) -> Iterator[Database]:
    server = os.environ["DATABASE_URL"].rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            with psycopg.connect(f"{server}/{name}", autocommit=True) as connection:
                connection.execute(sql.encode())
                connection.execute("SET search_path TO public")
                yield Database(connection, {"DATABASE_URL": f"{server}/{name}"})
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def test_every_row_and_every_sum_is_taken_over(old: Database) -> None:
    usage = "SELECT sum(upload), sum(download), count(*) FROM traffic_usage"
    before = old.ask(usage)
    old.manage("migrate", "--verbosity=0")
    assert old.ask(usage) == before
    for table, count in COUNTED.items():
        assert old.ask(f"SELECT count(*) FROM {table}") == [(count,)], table  # noqa: S608
    assert old.manage("check_traffic").startswith("All sums agree")


def test_the_audit_trail_names_its_targets(old: Database) -> None:
    old.manage("migrate", "--verbosity=0")
    told = old.ask("SELECT target_kind, target_name, action FROM operations_auditentry ORDER BY id")
    assert told == [
        ("operations.apikey", "reporter", "added"),
        ("traffic.subscriber", "Анна", "changed"),
        ("traffic.server", "", "changed"),
        ("traffic.subscriber", "Анна", "corrected"),
    ]


def test_staff_keep_their_permissions(old: Database) -> None:
    granted = (
        "SELECT codename FROM auth_permission JOIN auth_group_permissions "
        "ON permission_id = auth_permission.id JOIN auth_group ON auth_group.id = group_id "
        "WHERE auth_group.name = 'operator'"
    )
    before = set(old.ask(granted))
    old.manage("migrate", "--verbosity=0")
    assert before <= set(old.ask(granted))
    models = "SELECT app_label FROM django_content_type WHERE model = 'receiver'"
    assert old.ask(models) == [("operations",)]


def test_nothing_of_the_old_layout_is_left(old: Database) -> None:
    old.manage("migrate", "--verbosity=0")
    applied = set(old.ask("SELECT app, name FROM django_migrations"))
    assert not applied & OLD_MIGRATIONS
    assert ("traffic", "0001_squashed") in applied
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        names = [name for (name,) in old.ask("SELECT name FROM sqlite_master")]
        assert not [name for name in names if "before_" in name]


def test_migrating_again_changes_nothing(old: Database) -> None:
    old.manage("migrate", "--verbosity=0")
    assert "No migrations to apply" in old.manage("migrate")


def test_a_backup_of_the_old_layout_is_restored(old: Database, tmp_path: Path) -> None:
    if not (path := old.environment.get("XPERT_TRAFFIC_DB_PATH")):
        pytest.skip("a backup of PostgreSQL is a dump, which restoring brings up to date alike")
    packed = tmp_path / "old.db.gz"
    old.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    packed.write_bytes(gzip.compress(Path(path).read_bytes()))
    live = Database(None, {"XPERT_TRAFFIC_DB_PATH": str(tmp_path / "live.db"), "DATABASE_URL": ""})
    assert "2 subscribers" in live.manage("restore_traffic", str(packed), "--yes")
    assert live.manage("check_traffic").startswith("All sums agree")
