"""What a database takes while it is under load: processor time of its processes, bytes of WAL, bytes of its tables.

Everything is read from outside of the panel: from /proc and from the catalogues of PostgreSQL.
"""

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
import psycopg

from tests import cluster

from . import servers

WAL_WRITER = "WAL writer"
# Backend types of pg_stat_activity by the part that they are shown as. Others do nothing for the panel.
_PARTS = {"client backend": "database", "walwriter": WAL_WRITER}
_RECORDS = "traffic_usage"
_PEOPLE = "traffic_subscriber"
_SIZES = """
SELECT c.relname, {table}, {indexes} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname = 'public'
"""


class Sizes(msgspec.Struct, frozen=True):
    """Bytes: of the records with their indexes, of the people with theirs, of all other tables, and of all indexes."""

    records: int
    people: int
    other: int
    indexes: int

    @property
    def all(self) -> int:
        return self.records + self.people + self.other


class Watched(Protocol):
    def prepare(self, manage: Callable[..., str]) -> None:
        """Whatever the empty, migrated database still needs."""

    def seconds(self) -> dict[str, float]:
        """Processor seconds so far by part, without the web processes."""

    def wal(self, web: servers.Server) -> int:
        """Bytes of WAL so far."""

    def sizes(self) -> Sizes: ...


class File:
    """SQLite: the web processes do its work, and write its log and its pages."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    @contextmanager
    def made(cls, folder: Path) -> Iterator[tuple[dict[str, str], Watched]]:
        path = folder / "scale.db"
        yield servers.environment(path), cls(path)

    def prepare(self, manage: Callable[..., str]) -> None:
        pass

    def seconds(self) -> dict[str, float]:
        return {}

    def wal(self, web: servers.Server) -> int:
        """What the web processes have sent to the disk: the log, and the pages when it is emptied."""
        return sum(_written(pid) for pid in web.processes())

    def sizes(self) -> Sizes:
        with sqlite3.connect(self._path) as connection:
            found = connection.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name")
            by_name = dict(found.fetchall())
            tables = dict(connection.execute("SELECT name, tbl_name FROM sqlite_master"))
        connection.close()
        return _sizes((tables.get(name, name), count, name != tables.get(name, name))
                      for name, count in by_name.items())  # fmt: skip


class Server:
    """One PostgreSQL on this machine. Its WAL is that of all its databases, so nothing else may write there."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: dict[tuple[str, int], float] = {}

    @classmethod
    @contextmanager
    def made(cls, url: str, folder: Path) -> Iterator[tuple[dict[str, str], Watched]]:
        with _database(url) as own, cls(own) as found:
            yield servers.environment(folder / "unused.db", DATABASE_URL=own), found

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @cached_property
    def _connection(self) -> psycopg.Connection:
        """Made when it is needed, because a database is distributed only while nobody uses it."""
        found = psycopg.connect(self._url, autocommit=True)
        # Citus hides the shards of a worker. On plain PostgreSQL the name means nothing.
        found.execute("SET citus.override_table_visibility = off")
        return found

    def prepare(self, manage: Callable[..., str]) -> None:
        pass

    def seconds(self) -> dict[str, float]:
        """A backend that has ended keeps what it had used when it was last seen."""
        sql = (
            "SELECT backend_type, pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND (datname = current_database() OR backend_type = 'walwriter')"
        )
        for kind, pid in self._connection.execute(sql).fetchall():
            if kind in _PARTS:
                self._seen[_PARTS[kind], pid] = servers.processor_seconds(str(pid))
        found = dict.fromkeys(_PARTS.values(), 0.0)
        for (part, _), used in self._seen.items():
            found[part] += used
        return found

    def wal(self, web: servers.Server | None = None) -> int:
        row = self._connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row
        return int(row[0])

    def sizes(self) -> Sizes:
        sql = _SIZES.format(table="pg_table_size(c.oid)", indexes="pg_indexes_size(c.oid)")
        return self._sized(sql)

    def _sized(self, sql: str) -> Sizes:
        parts = []
        for name, table, indexes in self._connection.execute(sql.encode()).fetchall():
            parts += [(name, int(table), False), (name, int(indexes), True)]
        return _sizes(parts)


class Cluster:
    """A coordinator and its workers, all on this machine."""

    def __init__(self, first: Server, workers: list[Server]) -> None:
        self._first, self._workers = first, workers

    @classmethod
    @contextmanager
    def made(cls, url: str, folder: Path) -> Iterator[tuple[dict[str, str], Watched]]:
        with ExitStack() as stack:
            own = stack.enter_context(_database(url))
            place = urlsplit(own)
            name = place.path.removeprefix("/")
            login = {
                "HOST": place.hostname, "PORT": place.port, "USER": place.username, "PASSWORD": place.password,
            }  # fmt: skip
            stack.enter_context(cluster.joined(name, login))
            nodes = [own, *(_at(own, node.host, node.port) for node in cluster.workers())]
            first, *workers = [stack.enter_context(Server(node)) for node in nodes]
            yield servers.environment(folder / "unused.db", DATABASE_URL=own), cls(first, workers)

    def prepare(self, manage: Callable[..., str]) -> None:
        manage("distribute_citus", "--shards", str(cluster.SHARDS))

    def seconds(self) -> dict[str, float]:
        found = {"coordinator": 0.0, "workers": 0.0, WAL_WRITER: 0.0}
        for part, node in [
            ("coordinator", self._first),
            *(("workers", each) for each in self._workers),
        ]:
            used = node.seconds()
            found[part] += used["database"]
            found[WAL_WRITER] += used[WAL_WRITER]
        return found

    def wal(self, web: servers.Server) -> int:
        return sum(node.wal() for node in (self._first, *self._workers))

    def sizes(self) -> Sizes:
        """A shard on a worker has the name of its table and a number."""
        sql = _SIZES.format(table="pg_table_size(c.oid)", indexes="pg_indexes_size(c.oid)")
        all_ = [node._sized(sql) for node in (self._first, *self._workers)]  # noqa: SLF001
        return Sizes(
            *(sum(values) for values in zip(*map(msgspec.structs.astuple, all_), strict=True))
        )


def _sizes(parts: Any) -> Sizes:
    """From tuples of table, bytes, and whether they are of an index."""
    found = dict.fromkeys(Sizes.__struct_fields__, 0)
    for table, count, is_index in parts:
        where = {_RECORDS: "records", _PEOPLE: "people"}.get(
            table.rstrip("0123456789").rstrip("_"), "other"
        )
        found[where] += count
        found["indexes"] += count if is_index else 0
    return Sizes(**found)


@contextmanager
def _database(url: str) -> Iterator[str]:
    """A new database on the server of this URL, which is dropped afterwards."""
    place = urlsplit(url)
    name = f"xpert_scale_{secrets.token_hex(4)}"
    with psycopg.connect(place._replace(path="/postgres").geturl(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield place._replace(path=f"/{name}").geturl()
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _at(url: str, host: str, port: int) -> str:
    place = urlsplit(url)
    return place._replace(netloc=f"{place.username}:{place.password}@{host}:{port}").geturl()


def _written(pid: str) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
