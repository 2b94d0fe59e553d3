"""PostgreSQL: dumped by ``pg_dump`` in the very snapshot whose sums are taken, put back by ``psql`` in one transaction."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple, cast

from django.db import connection, transaction
from django.db.backends.postgresql.client import DatabaseClient
from psycopg import IsolationLevel

from traffic.databases import as_default, like_default

from .files import CHUNK, BackupError, Progress, compress
from .totals import SUMMED_COLUMNS, Totals, measure, stored_models

_LAST_LINE = b"-- PostgreSQL database dump complete"
MIGRATIONS = "django_migrations"
_Migrations = set[tuple[str, str]]


class Dump(NamedTuple):
    """What stands in a dump, read without a database."""

    totals: Totals
    migrations: _Migrations


def dump(target: Path, now: datetime, progress: Progress) -> Totals:
    """Dump the tables of all apps into a gzip file; the answer is what they held at that moment."""
    options = connection.settings_dict["OPTIONS"] | {"isolation_level": IsolationLevel.REPEATABLE_READ}
    with as_default(like_default(OPTIONS=options)), transaction.atomic():
        found = measure()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = cursor.fetchone()[0]
        tables = [f'--table="{table}"' for table in _tables()]
        compress(_dumped(["--snapshot", snapshot, "--no-owner", "--no-privileges", *tables], progress), target, now)
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
    """A program of PostgreSQL's own, on our database: its input if it ``reads``, else its output.

    Raises BackupError with the program's words when it fails.
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
                process.wait()  # it has ended early, and said why
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            complaints.seek(0)
            said = " ".join(complaints.read().decode(errors="replace").split())
            raise BackupError(f"{program} failed: {said[-500:]}")


def _tables() -> list[str]:
    """Of all apps, those that exist, and the list of migrations."""
    existing = set(connection.introspection.table_names())
    names = {model._meta.db_table for model in stored_models()} | {MIGRATIONS}  # noqa: SLF001
    return sorted(names & existing)


def read(lines: Iterable[bytes], progress: Progress) -> Dump:
    """Count what a dump holds; raises BackupError when it does not come to its end."""
    found, migrations, whole, done = Totals(), set[tuple[str, str]](), False, 0
    stream = iter(lines)
    for line in stream:
        if line.startswith(b"COPY "):
            table, columns = _heading(line)
            for row in _rows(stream, len(columns)):
                _count(found, table, columns, row)
                if table == MIGRATIONS:
                    migrations.add((row[columns.index("app")].decode(), row[columns.index("name")].decode()))
                done += 1
                if done % 10_000 == 0:
                    progress("checking", done, 0)
        whole = whole or line.startswith(_LAST_LINE)
    if not whole:
        raise BackupError("The dump in it breaks off.")
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
        if len(row) != width:
            break
        yield row
    raise BackupError("The dump in it breaks off.")


def _count(found: Totals, table: str, columns: list[str], row: list[bytes]) -> None:
    if table == MIGRATIONS:
        return
    found[table] = found.get(table, 0) + 1
    for column in SUMMED_COLUMNS.get(table, ()):
        if column in columns:
            name = f"{table}.{column}"
            found[name] = found.get(name, 0) + int(row[columns.index(column)])


def refuse_company() -> None:
    """Raises BackupError while anybody else is connected: a running panel knows ids that may mean others after a restore."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        others = cursor.fetchone()[0]
    if others:
        raise BackupError(f"{others} other connections use the database: stop the panel, and whatever else, first.")


def put_back(chunks: Iterable[bytes], progress: Progress) -> None:
    """Put the tables of a dump in place of ours, in one transaction: all of it or nothing."""
    tables = ", ".join(f'"{table}"' for table in _tables())
    connection.close()
    done = 0
    # Not psql's own --single-transaction: should we be killed, it would commit what has come so far.
    with _client("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"], reads=True) as sql:
        sql.write(b"BEGIN;\n")
        sql.write(f"DROP TABLE IF EXISTS {tables} CASCADE;\n".encode() if tables else b"")
        for chunk in chunks:
            sql.write(chunk)
            done += len(chunk)
            progress("restoring", done, 0)
        sql.write(b"COMMIT;\n")
