"""The additive upserts, and the look-ups before them: the only raw SQL of the project.

``bulk_create(update_conflicts=True)`` can only set columns, never add to them. Every
function takes its rows by key, once each, and sends them sorted, so that two writers
lock in the same order and never deadlock. Call them inside a transaction.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from django.db import connection, models

from .models import Balance, Correction, ImportedUsage, ReceivedEvent, Server, ServerUsage, Subscriber, Usage

T = TypeVar("T")
UsageKey = tuple[int, int, int]  # subscriber id, hour since 1970, server id
ServerKey = tuple[int, int]  # server id, hour since 1970
EventKey = tuple[int, str]  # subscriber id, event id

# The only differences of dialect.
_MARK = {"sqlite": "?", "postgresql": "%s"}
_GREATEST = {"sqlite": "MAX", "postgresql": "GREATEST"}
# Rows a statement; those with few come in every size, the others in powers of two. SQLite keeps statements
# compiled, 128 for each thread, and one with a thousand rows weighs 600 kB.
_ROWS = 128
_FEW = 16


class Sums(msgspec.Struct):
    """Bytes and reports to add to one row; ``last``: Unix seconds of the latest."""

    upload: int = 0
    download: int = 0
    connections: int = 0
    last: int = 0

    def add(self, upload: int, download: int, connections: int, last: int) -> None:
        self.upload += upload
        self.download += download
        self.connections += connections
        if last > self.last:
            self.last = last


class BalanceSums(Sums):
    """``period_*``: the part of it that falls into the current period, which began at ``period_start``."""

    period_start: int = 0
    period_upload: int = 0
    period_download: int = 0


class Taken(NamedTuple):
    """A record that was deleted, and what stood in it."""

    subscriber: int
    hour: int
    upload: int
    download: int
    connections: int
    last: int


def find_subscribers(tokens: Iterable[str]) -> list[tuple[str, int, str, int, int | None]]:
    """Token, id, limit_reset, reset_day and reset_at (Unix seconds) of subscribers that are not hidden.

    Asked for by every group of reports. Through the ORM it would cost ten times as much, and a
    cache would have to learn of every change that another process makes in the admin.
    """
    return _find("token, id, limit_reset, reset_day, reset_at", Subscriber, "hidden_at IS NULL AND token", tokens)


def find_servers(hosts: Iterable[str]) -> list[tuple[str, int, str, int]]:
    """Host, port, protocol and id of all servers with these hosts."""
    return _find("host, port, protocol, id", Server, "host", hosts)


def _find(columns: str, model: type[models.Model], where: str, values: Iterable[str]) -> list[Any]:
    found: list[Any] = []
    for chunk in _chunks(list(values)):
        found += _send(_look_up(connection.vendor, _quoted(model), columns, where, len(chunk)), chunk)
    return found


def claim_events(keys: Collection[EventKey], hour: int) -> set[EventKey]:
    """Remember event ids; the answer holds those that were not known before."""
    rows = [(*key, hour) for key in sorted(keys)]
    sql = "INSERT INTO {table} (subscriber_id, event_id, received) VALUES {values} ON CONFLICT DO NOTHING RETURNING subscriber_id, event_id"
    return {(subscriber, event) for subscriber, event in _run(ReceivedEvent, sql, rows)}


def remember_imported(rows: Mapping[EventKey, tuple[int, int]]) -> None:
    """Bytes up and down that have now been counted of another panel's rows, by subscriber and key."""
    sql = (
        "INSERT INTO {table} (subscriber_id, key, upload, download) VALUES {values}"
        " ON CONFLICT (subscriber_id, key) DO UPDATE SET upload = excluded.upload, download = excluded.download"
    )
    _run(ImportedUsage, sql, [(*key, *counted) for key, counted in sorted(rows.items())])


def add_usage(sums: Mapping[UsageKey, Sums]) -> Counter[ServerKey]:
    """Add to ``Usage``; the answer counts the rows that are new, by server and hour.

    A row that was there has at least one connection, so one that comes back with
    exactly what was sent is new.
    """
    rows = [(*key, row.upload, row.download, row.connections, row.last) for key, row in sorted(sums.items(), key=_key)]
    sql = (
        "INSERT INTO {table} AS old (subscriber_id, hour, server_id, upload, download, connections, last_used_at)"
        " VALUES {values} ON CONFLICT (subscriber_id, hour, server_id) DO UPDATE SET"
        " upload = old.upload + excluded.upload,"
        " download = old.download + excluded.download,"
        " connections = old.connections + excluded.connections,"
        " last_used_at = {greatest}(old.last_used_at, excluded.last_used_at)"
        " RETURNING subscriber_id, hour, server_id, connections"
    )
    return Counter(
        (server, hour)
        for subscriber, hour, server, connections in _run(Usage, sql, rows)
        if connections == sums[subscriber, hour, server].connections
    )


def add_server_usage(
    sums: Mapping[ServerKey, Sums], records: Mapping[ServerKey, int], sign: Literal["+", "-"] = "+"
) -> None:
    """Add to ``ServerUsage``, or with ``sign="-"`` take away what cleanup has deleted. ``records``: rows of ``Usage``."""
    rows = [
        (*key, row.upload, row.download, row.connections, records.get(key, 0))
        for key, row in sorted(sums.items(), key=_key)
    ]
    sql = (
        "INSERT INTO {table} AS old (server_id, hour, upload, download, connections, records)"
        " VALUES {values} ON CONFLICT (server_id, hour) DO UPDATE SET"
        f" upload = old.upload {sign} excluded.upload,"
        f" download = old.download {sign} excluded.download,"
        f" connections = old.connections {sign} excluded.connections,"
        f" records = old.records {sign} excluded.records"
    )
    _run(ServerUsage, sql, rows)


def add_balances(sums: Mapping[int, BalanceSums]) -> None:
    """Add to life and period; a period that is over starts again from nothing.

    Who comes with an older period than the stored one has read the clock before its midnight:
    what flowed before the stored period began stays out of it.
    """
    rows = [
        (
            key, row.period_start, row.period_upload, row.period_download,
            row.upload, row.download, row.connections, row.last,
        )
        for key, row in sorted(sums.items(), key=_key)
    ]  # fmt: skip
    period = (
        "CASE WHEN old.period_start < excluded.period_start THEN excluded.{0}"
        " WHEN old.period_start > excluded.last_used_at THEN old.{0}"
        " ELSE old.{0} + excluded.{0} END"
    )
    sql = (
        "INSERT INTO {table} AS old (subscriber_id, period_start, period_upload, period_download,"
        " life_upload, life_download, life_connections, last_used_at,"
        " cleaned_upload, cleaned_download, cleaned_connections)"
        " VALUES {values} ON CONFLICT (subscriber_id) DO UPDATE SET"
        f" period_upload = {period.format('period_upload')},"
        f" period_download = {period.format('period_download')},"
        " period_start = {greatest}(old.period_start, excluded.period_start),"
        " life_upload = old.life_upload + excluded.life_upload,"
        " life_download = old.life_download + excluded.life_download,"
        " life_connections = old.life_connections + excluded.life_connections,"
        " last_used_at = {greatest}(COALESCE(old.last_used_at, 0), excluded.last_used_at)"
    )
    _run(Balance, sql, rows, constants=", 0, 0, 0")


def add_cleaned(sums: Mapping[int, Sums]) -> dict[int, int | None]:
    """Remember in the balances what cleanup has deleted; the answer is their ``last_used_at``."""
    rows = [(key, row.upload, row.download, row.connections) for key, row in sorted(sums.items(), key=_key)]
    sql = (
        "INSERT INTO {table} AS old (subscriber_id, cleaned_upload, cleaned_download, cleaned_connections,"
        " period_start, period_upload, period_download, life_upload, life_download, life_connections)"
        " VALUES {values} ON CONFLICT (subscriber_id) DO UPDATE SET"
        " cleaned_upload = old.cleaned_upload + excluded.cleaned_upload,"
        " cleaned_download = old.cleaned_download + excluded.cleaned_download,"
        " cleaned_connections = old.cleaned_connections + excluded.cleaned_connections"
        " RETURNING subscriber_id, last_used_at"
    )
    return dict(_run(Balance, sql, rows, constants=", 0, 0, 0, 0, 0, 0"))


def take_usage(server: int, start: int, end: int, *, limit: int, unfolded: bool = False) -> list[Taken]:
    """Delete the first ``limit`` records of a server with ``start`` <= hour < ``end``; the answer is what stood in them.

    ``unfolded``: leave those that are whole days.
    """
    inside = "server_id = %s AND hour >= %s AND hour < %s" + (" AND hour %% 24 <> 0" if unfolded else "")
    sql = (
        f"DELETE FROM {{table}} WHERE {inside} AND (hour, subscriber_id) <= "
        f"(SELECT hour, subscriber_id FROM (SELECT hour, subscriber_id FROM {{table}} WHERE {inside}"
        " ORDER BY hour, subscriber_id LIMIT %s) AS step ORDER BY hour DESC, subscriber_id DESC LIMIT 1)"
        " RETURNING subscriber_id, hour, upload, download, connections, last_used_at"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql.format(table=_quoted(Usage)), [server, start, end, server, start, end, limit])
        return [Taken(*row) for row in cursor.fetchall()]


def drop_events(before: int, *, limit: int) -> int:
    """Forget up to ``limit`` event ids received before the hour ``before``; return how many."""
    sql = (
        "DELETE FROM {table} WHERE (subscriber_id, event_id) IN"
        " (SELECT subscriber_id, event_id FROM {table} WHERE received < %s ORDER BY received LIMIT %s)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql.format(table=_quoted(ReceivedEvent)), [before, limit])
        return int(cursor.rowcount)


def _quoted(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001  Django's own name for it


def _key(item: tuple[Any, Any]) -> Any:
    return item[0]


def _run(
    model: type[models.Model], sql: str, rows: Sequence[tuple[Any, ...]], constants: str = ""
) -> list[tuple[Any, ...]]:
    """Send ``rows``, each with ``constants`` at its end, in as few statements as allowed; the answer is what they return."""
    returned: list[tuple[Any, ...]] = []
    for chunk in _chunks(rows):
        row = f"({', '.join([_MARK[connection.vendor]] * len(chunk[0]))}{constants})"
        statement = _upsert(connection.vendor, _quoted(model), sql, row, len(chunk))
        returned += _send(statement, [value for values in chunk for value in values])
    return returned


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    start = 0
    while rest := len(rows) - start:
        size = rest if rest <= _FEW else min(_ROWS, 1 << rest.bit_length() - 1)
        yield rows[start : start + size]
        start += size


@lru_cache(maxsize=256)  # texts of a few kB at most, which come again and again
def _look_up(vendor: str, table: str, columns: str, where: str, values: int) -> str:
    return f"SELECT {columns} FROM {table} WHERE {where} IN ({', '.join([_MARK[vendor]] * values)})"


@lru_cache(maxsize=256)
def _upsert(vendor: str, table: str, sql: str, row: str, rows: int) -> str:
    return sql.format(table=table, values=", ".join([row] * rows), greatest=_GREATEST[vendor])


def _send(sql: str, params: Sequence[Any]) -> list[Any]:
    """Rows that a statement returns, if any. Its marks are those of the database.

    On SQLite Django's own cursor would look for %s in every statement and replace thousands
    of them: a third of the time of a large batch. It still does when queries are logged.
    """
    with connection.cursor() as cursor, connection.wrap_database_errors:
        if connection.vendor != "sqlite":
            cursor.execute(sql, params)
        elif connection.queries_logged:
            cursor.execute(sql.replace("?", "%s"), params)
        else:
            sqlite3.Cursor.execute(cursor.cursor, sql, params)
        return cursor.fetchall() if cursor.description else []


def database_size() -> int:
    """Bytes that the database takes on disk."""
    sql = {
        "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        "postgresql": "SELECT pg_database_size(current_database())",
    }
    with connection.cursor() as cursor:
        cursor.execute(sql[connection.vendor])
        return int(cursor.fetchone()[0])


def hold_off_writers() -> None:
    """Until the end of this transaction nobody else changes a sum. On SQLite the transaction itself sees to that."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            tables = ", ".join(_quoted(model) for model in (Usage, ServerUsage, Correction))
            cursor.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
