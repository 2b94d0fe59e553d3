"""PostgreSQL backups: ``pg_dump`` uses the snapshot whose sums are measured; ``psql`` restores in one transaction."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple, cast

from django.db import OperationalError, connection, transaction
from django.db.backends.postgresql.client import DatabaseClient
from psycopg import IsolationLevel

from operations import distribution
from operations.databases import citus
from operations.databases import postgresql as engine
from operations.databases.substitution import as_default, like_default

from .files import CHUNK, BackupError, Progress, compress
from .totals import Totals, measure, stored_models, summed_by_table

_LAST_LINE = b"-- PostgreSQL database dump complete"
MIGRATIONS = "django_migrations"
_TRIES = 4
_Migrations = set[tuple[str, str]]


class Dump(NamedTuple):
    """The content of a dump, read without a database."""

    totals: Totals
    migrations: _Migrations


def dump(target: Path, now: datetime, progress: Progress) -> Totals:
    """Dump the tables of all apps into a gzip file, and return their totals at that moment.

    A snapshot holds on one node only, so with tables on several of them reports wait until the dump is made.
    """
    for _ in range(_TRIES):
        try:
            return _dump(target, now, progress)
        except OperationalError as error:
            # It takes its locks in the order of the reports, but others may write in another.
            if not engine.may_be_retried(error):
                raise
    return _dump(target, now, progress)


def _dump(target: Path, now: datetime, progress: Progress) -> Totals:
    options = connection.settings_dict["OPTIONS"] | {
        "isolation_level": IsolationLevel.REPEATABLE_READ
    }
    spread = _quoted(distribution.wanted()) if citus.is_spread() else []
    with as_default(like_default(OPTIONS=options)), transaction.atomic():
        if spread:
            engine.hold_off_writers(spread)
        found = measure()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = cursor.fetchone()[0]
        tables = [f'--table="{table}"' for table in _tables()]
        compress(
            _dumped(["--snapshot", snapshot, "--no-owner", "--no-privileges", *tables], progress),
            target,
            now,
        )
    return found


def _dumped(arguments: list[str], progress: Progress) -> Iterator[bytes]:
    done = 0
    with _client("pg_dump", arguments, reads=False) as output:
        while chunk := output.read(CHUNK):
            yield chunk
            done += len(chunk)
            progress("dumping", done, 0)


@contextmanager
def _client(program: str, arguments: list[str], *, reads: bool) -> Iterator[IO[bytes]]:
    """Run a PostgreSQL client on our database; yields its input if it ``reads``, else its output.

    Raises BackupError with the program's error output if it fails.
    """
    command, variables = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(  # noqa: S603  no shell; the arguments are ours
                [program, *command[1:], *arguments],
                env=os.environ | (variables or {}),
                stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
                stderr=complaints,
            )
        except FileNotFoundError:
            raise BackupError(f"{program} is missing: apt-get install postgresql-client.") from None
        with process:
            try:
                yield cast(IO[bytes], process.stdin or process.stdout)
                with suppress(BrokenPipeError):
                    process.communicate()
            except BrokenPipeError:
                process.wait()  # the program ended early; its error output says why
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            complaints.seek(0)
            said = " ".join(complaints.read().decode(errors="replace").split())
            raise BackupError(f"{program} failed: {said[-500:]}")


def _quoted(tables: Iterable[str]) -> list[str]:
    return [f'"{table}"' for table in tables]


def _tables() -> list[str]:
    """The existing tables of all apps, and the list of migrations."""
    existing = set(connection.introspection.table_names())
    names = {model._meta.db_table for model in stored_models()} | {MIGRATIONS}  # noqa: SLF001
    return sorted(names & existing)


def read(lines: Iterable[bytes], progress: Progress) -> Dump:
    """Count the rows of a dump; raises BackupError if it is incomplete."""
    found, migrations, whole, done = Totals(), set[tuple[str, str]](), False, 0
    stream = iter(lines)
    for line in stream:
        if line.startswith(b"COPY "):
            table, columns = _heading(line)
            for row in _rows(stream, len(columns)):
                _count(found, table, columns, row)
                if table == MIGRATIONS:
                    migrations.add(
                        (row[columns.index("app")].decode(), row[columns.index("name")].decode())
                    )
                done += 1
                if done % 10_000 == 0:
                    progress("checking", done, 0)
        whole = whole or line.startswith(_LAST_LINE)
    if not whole:
        raise BackupError("The dump in the backup is incomplete.")
    return Dump(found, migrations)


def _heading(line: bytes) -> tuple[str, list[str]]:
    """Table and columns of ``COPY public.traffic_usage (subscriber_id, hour, …) FROM stdin;``."""
    name, _, rest = line.decode().removeprefix("COPY ").partition(" (")
    columns = rest.partition(")")[0].split(", ")
    return name.rpartition(".")[2].strip('"'), [column.strip('"') for column in columns]


def _rows(stream: Iterator[bytes], width: int) -> Iterator[list[bytes]]:
    for line in stream:
        if line == b"\\.\n":
            return
        row = line.rstrip(b"\n").split(b"\t")
        if len(row) != width or not line.endswith(b"\n"):
            break
        yield row
    raise BackupError("The dump in the backup is incomplete.")


def _count(found: Totals, table: str, columns: list[str], row: list[bytes]) -> None:
    if table == MIGRATIONS:
        return
    found[table] = found.get(table, 0) + 1
    for column in summed_by_table().get(table, ()):
        if column in columns:
            name = f"{table}.{column}"
            found[name] = found.get(name, 0) + int(row[columns.index(column)])


def refuse_company() -> None:
    """Raise BackupError if others are connected, because a running panel caches ids that a restore may change."""
    if others := engine.others_connected():
        raise BackupError(
            f"{others} other connections use the database: first stop the panel and everything else that uses it."
        )


def put_back(chunks: Iterable[bytes], progress: Progress) -> None:
    """Replace our tables with those of a dump, in one transaction."""
    tables = ", ".join(f'"{table}"' for table in _tables())
    connection.close()
    done = 0
    # psql's own --single-transaction would commit a partial dump if this process is killed.
    with _client("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"], reads=True) as sql:
        sql.write(b"BEGIN;\n")
        sql.write(f"DROP TABLE IF EXISTS {tables} CASCADE;\n".encode() if tables else b"")
        for chunk in chunks:
            sql.write(chunk)
            done += len(chunk)
            progress("restoring", done, 0)
        sql.write(b"COMMIT;\n")
