"""The journal's file: schema, transactions and facts about the installation."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xpert_agent.sources.base import SourceError

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS source (
        name TEXT PRIMARY KEY, kind TEXT NOT NULL, run TEXT, read_at REAL,
        error TEXT NOT NULL DEFAULT '', problems TEXT NOT NULL DEFAULT '[]',
        active INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS store (
        source TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (source, name)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS counter (
        source TEXT NOT NULL, person TEXT NOT NULL, server TEXT NOT NULL,
        up INTEGER NOT NULL, down INTEGER NOT NULL,
        PRIMARY KEY (source, person, server)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS unmapped (
        source TEXT NOT NULL, person TEXT NOT NULL, server TEXT NOT NULL, reason TEXT NOT NULL,
        up INTEGER NOT NULL, down INTEGER NOT NULL,
        PRIMARY KEY (source, person, server)) WITHOUT ROWID""",
    # A line of the meter: a person and a server, with totals that began at 0 at `run`.
    # offered: the most that was ever put on the wire; acked: what the panel has confirmed.
    """CREATE TABLE IF NOT EXISTS row (
        id INTEGER PRIMARY KEY, person TEXT NOT NULL, by_token INTEGER NOT NULL,
        host TEXT NOT NULL, port INTEGER NOT NULL, protocol TEXT NOT NULL,
        run INTEGER NOT NULL, read_at REAL NOT NULL,
        up INTEGER NOT NULL DEFAULT 0, down INTEGER NOT NULL DEFAULT 0,
        offered_up INTEGER NOT NULL DEFAULT 0, offered_down INTEGER NOT NULL DEFAULT 0,
        acked_up INTEGER NOT NULL DEFAULT 0, acked_down INTEGER NOT NULL DEFAULT 0,
        rejected TEXT NOT NULL DEFAULT '', held_until REAL NOT NULL DEFAULT 0,
        UNIQUE (person, by_token, host, port, protocol))""",
    # The totals of a row at the end of an hour whose growth the panel has not confirmed yet.
    """CREATE TABLE IF NOT EXISTS snapshot (
        row INTEGER NOT NULL, read_at REAL NOT NULL, up INTEGER NOT NULL, down INTEGER NOT NULL,
        PRIMARY KEY (row, read_at)) WITHOUT ROWID""",
    # They are sent oldest first: without it each message would sort a month of them.
    "CREATE INDEX IF NOT EXISTS snapshot_by_time ON snapshot (read_at)",
)


class Database:
    """One connection behind one lock; any thread may call."""

    def __init__(self, path: Path, now: float) -> None:
        """Opens or makes the file. `now`: Unix seconds. Raises sqlite3.Error and OSError."""
        self._lock = threading.RLock()
        self._connection = _connect(path)
        with self.transaction():
            for statement in _SCHEMA:
                self.run(statement)
            if not self.fact("meter"):
                meter = f"agent-{secrets.token_hex(8)}"
                self.keep_facts({"meter": meter, "run": str(int(now)), "alive_at": repr(now)})
        self.watching_since = float(self.fact("alive_at"))
        """Unix seconds: the last moment of the previous agent, or the very first start.

        A core that began later has counted nothing that was already reported.
        """

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is on disk together when it ends; inside another one it joins that."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def run(self, statement: str, *values: object) -> int:
        """How many rows changed."""
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    def run_many(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._lock:
            self._connection.executemany(statement, rows)

    def all(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, *values: object) -> Any:
        """The first row, or None."""
        found = self.all(statement, *values)
        return found[0] if found else None

    def fact(self, name: str) -> str:
        """Something known about the installation, or ""."""
        found = self.one("SELECT value FROM fact WHERE name = ?", name)
        return "" if found is None else str(found[0])

    def keep_facts(self, facts: Mapping[str, str]) -> None:
        with self.transaction():
            self.run_many(
                "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                facts.items(),
            )


class SourceStore:
    """A source's own durable state: the `Store` of `sources.base`.

    Each entry of the state is a row, and only those that changed are written: a string as it is,
    everything else as JSON in bytes.
    """

    def __init__(self, database: Database, source: str) -> None:
        self._database = database
        self._source = source
        self._saved = dict(self._rows())

    def load(self) -> dict[str, Any]:
        return {name: _value(encoded) for name, encoded in self._rows()}

    def save(self, state: dict[str, Any]) -> None:
        fresh = {name: _encoded(value) for name, value in state.items()}
        changed = [
            (self._source, *item) for item in fresh.items() if self._saved.get(item[0]) != item[1]
        ]
        gone = [(self._source, name) for name in self._saved.keys() - fresh.keys()]
        self._write(changed, gone)
        self._saved = fresh

    def read_at(self) -> float:
        found = self._database.one("SELECT read_at FROM source WHERE name = ?", self._source)
        return float(found[0] or 0.0) if found else 0.0

    def update(self, changed: Iterable[tuple[str, Any]], gone: Iterable[str]) -> None:
        self._saved.clear()
        self._write(
            ((self._source, name, _encoded(value)) for name, value in changed),
            ((self._source, name) for name in gone),
        )

    def _write(
        self, changed: Iterable[tuple[object, ...]], gone: Iterable[tuple[object, ...]]
    ) -> None:
        try:
            with self._database.transaction():
                self._database.run_many("DELETE FROM store WHERE source = ? AND name = ?", gone)
                self._database.run_many("INSERT OR REPLACE INTO store VALUES (?, ?, ?)", changed)
        except sqlite3.Error as error:
            raise SourceError(f"The journal cannot be written: {error}.") from error

    def _rows(self) -> list[tuple[str, str | bytes]]:
        return self._database.all("SELECT name, value FROM store WHERE source = ?", self._source)


def _encoded(value: Any) -> str | bytes:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()


def _value(encoded: str | bytes) -> Any:
    return encoded if isinstance(encoded, str) else json.loads(encoded)


def _connect(path: Path) -> sqlite3.Connection:
    # It holds tokens; SQLite gives the files beside it the same mode.
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -1024")
    return connection
