"""Whether the panel can accept reports: asked by ``/readyz``, explained by ``doctor``."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from operations import distribution
from operations.databases import citus
from operations.databases.transactions import write_transaction
from operations.models import CommandRun

# Free bytes on the disk. Below the first it is time to act; below the second SQLite and its journal may fail at any moment.
DISK_LOW = 2**30
DISK_FLOOR = 100 * 2**20


class Disk(NamedTuple):
    """Bytes of the file system that holds the SQLite file."""

    total: int
    free: int


def disk() -> Disk | None:
    """None with PostgreSQL, whose disk the panel cannot see."""
    if connection.vendor != "sqlite":
        return None
    usage = shutil.disk_usage(_folder())
    return Disk(usage.total, usage.free)


def is_writable() -> bool:
    """Take the write lock and write nothing, except a byte beside the SQLite file.

    A transaction that changes nothing succeeds even on a disk that the kernel has made read-only.
    """
    try:
        if citus.is_worker():
            return _setting("transaction_read_only") == "off"
        with write_transaction():
            CommandRun.objects.filter(command="").update(error="")
        if connection.vendor == "sqlite":
            with tempfile.TemporaryFile(dir=_folder(), buffering=0) as file:
                file.write(b"x")
    except (DatabaseError, InterfaceError, OSError):
        return False
    return True


def _setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"{'PRAGMA' if connection.vendor == 'sqlite' else 'SHOW'} {name}")
        return str(cursor.fetchone()[0])


def _folder() -> Path:
    """The folder of the SQLite file."""
    return Path(connection.settings_dict["NAME"]).parent


_DURABLE = {
    "sqlite": {"journal_mode": {"wal"}, "synchronous": {"2", "3"}, "foreign_keys": {"1"}},
    "postgresql": {
        "fsync": {"on"},
        "synchronous_commit": {"on", "local", "remote_write", "remote_apply"},
    },
}


def why_not_durable() -> str:
    """The database setting that puts acknowledged reports at risk, like ``journal_mode=delete``; empty if there is none."""
    for name, good in _DURABLE[connection.vendor].items():
        value = _setting(name)
        if value not in good:
            return f"{name}={value}"
    return ""


def pending_migrations() -> list[str]:
    """Names of migrations that are not applied, as ``app.name``."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def is_outdated() -> bool:
    """Whether tables are older than this release. A worker of Citus takes reports, and only its coordinator knows the migrations."""
    return bool(distribution.outdated() if citus.is_worker() else pending_migrations())


class _Migrated:
    """Remembers that all migrations of this process's code are applied, which stays true."""

    is_known = False

    def __call__(self) -> bool:
        self.is_known = self.is_known or not is_outdated()
        return self.is_known


_is_migrated = _Migrated()


def why_not_ready() -> str:
    """The reason why reports cannot be accepted; empty if they can."""
    try:
        if not _is_migrated():
            return "Migrations are not applied."
    except (DatabaseError, InterfaceError):
        return "The database does not answer."
    if not is_writable():
        return "The database cannot be written."
    space = disk()
    return "The disk is full." if space is not None and space.free < DISK_FLOOR else ""
