"""The additive upserts, and the look-ups before them: the only raw SQL of the project.

``bulk_create(update_conflicts=True)`` can only set columns, never add to them. Every
function takes its rows by key, once each, and sends them sorted, so that two writers
lock in the same order and never deadlock. Call them inside a transaction.
"""

import os
import socket
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from django.db import connection, models

from operations.databases import engine
from traffic.fields import HourField
from traffic.models import (
    MAX_COUNTER,
    Balance,
    Correction,
    LimitBalance,
    LimitedServer,
    Meter,
    ReceivedEvent,
    Reporter,
    Server,
    ServerUsage,
    Subscriber,
    Told,
    Usage,
)

T = TypeVar("T")
N = TypeVar("N", bound=tuple[Any, ...])
UsageKey = tuple[int, int, int]  # subscriber id, hour since 1970, server id
ServerKey = tuple[int, int]  # server id, hour since 1970
EventKey = tuple[int, str]  # subscriber id, event id
LimitKey = tuple[int, int]  # subscriber id or NOBODY, limit id
ToldKey = tuple[int, int, int, int]  # subscriber id, server id, reporter id, day since 1970
Sign = Literal[1, -1]

# Small statements have any size, larger ones a power of two, so that the same texts come again and again.
_FEW = 16
# Where the sum of a server and hour stands, with the slots after it if a counter would exceed its limit. Before it are
# those to which writers add.
SLOT = 0


class Period(msgspec.Struct, frozen=True):
    """Columns that start from zero in each period.

    ``start`` is when the stored period began. A row with an older period was made before midnight: traffic (``seen``)
    from before the stored period began does not count in it. ``capped``: columns stop at MAX_COUNTER.
    """

    start: str
    seen: str
    columns: tuple[str, ...]
    capped: bool = False


class Rollup(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How rows are merged into a table. The upserts of all engines are generated from it.

    ``key`` finds the stored row; ``added`` are added to it, ``capped`` too, up to MAX_COUNTER; of ``latest`` the greater
    stays, ``replaced`` are set, ``kept`` are stored with a new row only. ``returned``: columns that come back for each row that was written.
    ``is_locking``: without any change, the stored rows are locked.
    The values of a row are in the order of ``columns``.
    """

    model: type[models.Model]
    key: tuple[str, ...]
    added: tuple[str, ...] = ()
    capped: tuple[str, ...] = ()
    latest: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    period: Period | None = None
    returned: tuple[str, ...] = ()
    is_locking: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        period = (self.period.start, *self.period.columns) if self.period else ()
        return (
            *self.key,
            *self.added,
            *self.capped,
            *self.latest,
            *self.replaced,
            *self.kept,
            *period,
        )


USAGE = Rollup(
    model=Usage,
    key=("subscriber_id", "hour", "server_id"),
    added=("upload", "download", "reports"),
    latest=("last_used_at",),
    returned=("subscriber_id", "hour", "server_id", "reports"),
)
SERVER_USAGE = Rollup(
    model=ServerUsage,
    key=("server_id", "hour", "slot"),
    added=("upload", "download", "reports", "records"),
)
BALANCE = Rollup(
    model=Balance,
    key=("subscriber_id",),
    added=("life_upload", "life_download", "life_reports", "metered_upload", "metered_download"),
    latest=("last_used_at",),
    returned=(
        "subscriber_id",
        "life_upload",
        "life_download",
        "corrected_upload",
        "corrected_download",
    ),
    period=Period("period_start", "last_used_at", ("period_upload", "period_download")),
)
CLEANED = Rollup(
    model=Balance,
    key=("subscriber_id",),
    added=("cleaned_upload", "cleaned_download", "cleaned_reports"),
    returned=("subscriber_id", "last_used_at"),
)
EVENTS = Rollup(
    model=ReceivedEvent,
    key=("subscriber_id", "event_id"),
    kept=("received",),
    returned=("subscriber_id", "event_id"),
)
LIMIT_BALANCE = Rollup(
    model=LimitBalance,
    key=("subscriber_id", "limit_id"),
    capped=("life_upload", "life_download"),
    latest=("last_used_at",),
    period=Period(
        "period_start", "last_used_at", ("period_upload", "period_download"), capped=True
    ),
)
LIMIT_CLEANED = Rollup(
    model=LimitBalance,
    key=("subscriber_id", "limit_id"),
    capped=("cleaned_upload", "cleaned_download"),
)
METERS = Rollup(
    model=Meter,
    key=("subscriber_id", "key"),
    added=("counted_upload", "counted_download"),
    replaced=("run", "upload", "download", "read_at", "reporter_id", "person_id", "server_id"),
)
TOLD = Rollup(
    model=Told,
    key=("subscriber_id", "server_id", "reporter_id", "day"),
    capped=("upload", "download", "control_upload", "control_download"),
)
NEW_METERS = Rollup(model=Meter, key=("subscriber_id", "key"), returned=("subscriber_id", "key"))
# Locks the existing rows as well, and returns only the new ones.
LOCKED_METERS = msgspec.structs.replace(NEW_METERS, is_locking=True)


class LastReading(NamedTuple):
    """The stored state of a row of ``Meter``. ``read_at`` (Unix seconds) is None before the first reading."""

    subscriber: int
    key: str
    run: int
    upload: int
    download: int
    read_at: int | None
    server: int | None
    counted_upload: int
    counted_download: int


_LAST_READING = (
    "subscriber_id", "key", "run", "upload", "download", "read_at", "server_id", "counted_upload", "counted_download",
)  # fmt: skip


class MeterRow(NamedTuple):
    """A row of ``Meter``; ``counted_*`` are added to the stored values, the others replace them."""

    subscriber: int
    key: str
    counted_upload: int
    counted_download: int
    run: int
    upload: int
    download: int
    read_at: int | None
    reporter: int | None
    person: int | None
    server: int | None


class Sums(msgspec.Struct):
    """Bytes and reports to add to one row; ``last``: Unix seconds of the latest."""

    upload: int = 0
    download: int = 0
    reports: int = 0
    last: int = 0

    def add(self, upload: int, download: int, reports: int, last: int) -> None:
        self.upload += upload
        self.download += download
        self.reports += reports
        if last > self.last:
            self.last = last


class ToldSums(msgspec.Struct):
    """Bytes that a reporter has told: those that were counted, and those that are controls."""

    upload: int = 0
    download: int = 0
    control_upload: int = 0
    control_download: int = 0

    def add(self, upload: int, download: int) -> None:
        self.upload += upload
        self.download += download

    def add_control(self, upload: int, download: int) -> None:
        """Nothing bounds them but this."""
        self.control_upload = min(self.control_upload + upload, MAX_COUNTER)
        self.control_download = min(self.control_download + download, MAX_COUNTER)


class PeriodSums(Sums):
    """``period_*``: the part in the current period, which began at ``period_start``."""

    period_start: int = 0
    period_upload: int = 0
    period_download: int = 0

    def count(self, upload: int, download: int, moment: int) -> None:
        self.add(upload, download, 1, moment)
        if moment >= self.period_start:
            self.period_upload += upload
            self.period_download += download


class BalanceSums(PeriodSums):
    """``metered_*``: the part that is growth of totals."""

    metered_upload: int = 0
    metered_download: int = 0


class FoundServer(NamedTuple):
    """A server by the name that reports use, and whether there is a limit on it."""

    host: str
    port: int
    protocol: str
    id: int
    is_limited: bool


class Taken(NamedTuple):
    """A deleted record, with its values."""

    subscriber: int
    hour: int
    server: int
    upload: int
    download: int
    reports: int
    last: int


class FoundSubscriber(NamedTuple):
    """What every group of reports asks of its subscribers. Moments are Unix seconds."""

    token: str
    id: int
    limit_reset: str
    reset_day: int
    reset_days: int
    started_at: int
    reset_at: int | None
    hold_days: int | None
    has_next: bool


def find_subscribers(tokens: Iterable[str]) -> list[FoundSubscriber]:
    """Subscribers that are not hidden.

    Every group of reports calls it. Through the ORM it would cost ten times as much, and a
    cache would have to learn of every change in the admin of another process.
    """
    columns = ", ".join(FoundSubscriber._fields)
    rows = _find(columns, Subscriber, "hidden_at IS NULL AND token", tokens)
    return list(_named(FoundSubscriber, rows))


def find_servers(hosts: Iterable[str]) -> list[FoundServer]:
    """All servers with these hosts.

    Reading ``LimitedServer`` here also holds off new limits until this transaction ends: see ``hold_off_reports``.
    """
    server, limited = _quoted(Server), _quoted(LimitedServer)
    same = " AND ".join(f"at.{name} = {server}.{name}" for name in ("host", "port", "protocol"))
    is_limited = f"EXISTS (SELECT 1 FROM {limited} AS at WHERE {same})"
    rows = _find(f"host, port, protocol, id, {is_limited}", Server, "host", hosts)
    return [FoundServer(*row) for row in rows]


def find_single_reporters(keys: Iterable[int], seen_after: datetime) -> list[tuple[int, str, int]]:
    """API key, grade and id of the reporters that these keys are when they send single reports.

    Without those that were last seen earlier: a new sighting has to be written. Asked for by every group of reports.
    """
    engine_mark = engine.current().PLACEHOLDER
    where = f"meter = '' AND ended_at IS NULL AND last_seen_at > {engine_mark} AND api_key_id"
    moment = connection.ops.adapt_datetimefield_value(seen_after)
    found: list[tuple[int, str, int]] = []
    for chunk in _chunks(sorted(keys)):
        columns = "api_key_id, grade, id"
        sql = _look_up(connection.vendor, _quoted(Reporter), columns, where, len(chunk))
        found += _send(sql, [moment, *chunk])
    return found


# The conditions of the indexes, without which no index would be used.
_REPORTERS = {
    "api_key_id": "subscriber_id IS NULL",
    "subscriber_id": "api_key_id IS NULL",
    "origin": "NOT (origin = '')",
}


def lock_reporters(
    column: str, values: Collection[Any], meters: Collection[str]
) -> Iterable[Reporter]:
    """The reporters with one of these values in ``column`` (see ``_REPORTERS``) and one of these meters, locked in the order of their ids.

    Asked for by every message of readings. Building this query through the ORM would cost four times as much.
    """
    sql = _reporters(connection.vendor, column, len(values), len(meters))
    return Reporter.objects.raw(sql, [*values, *meters])


@lru_cache(maxsize=64)
def _reporters(vendor: str, column: str, values: int, meters: int) -> str:
    """``vendor``: statements of one engine are not those of another."""
    some, of = ", ".join(["%s"] * values), ", ".join(["%s"] * meters)
    where = f"{_REPORTERS[column]} AND {column} IN ({some}) AND meter IN ({of})"
    return (
        f"SELECT * FROM {_quoted(Reporter)} WHERE {where} ORDER BY id{engine.current().FOR_UPDATE}"
    )


def _named(kind: type[N], rows: Iterable[Any]) -> Iterator[N]:
    """What ``kind._make`` does, without a Python call for each of a thousand rows."""
    return map(partial(tuple.__new__, kind), rows)


def _find(columns: str, model: type[models.Model], where: str, values: Iterable[str]) -> list[Any]:
    found: list[Any] = []
    for chunk in _chunks(list(values)):
        found += _send(
            _look_up(connection.vendor, _quoted(model), columns, where, len(chunk)), chunk
        )
    return found


def claim_events(keys: Collection[EventKey], hour: int) -> set[EventKey]:
    """Store event ids and return those that are new."""
    return set(_merge(EVENTS, [(*key, hour) for key in sorted(keys)]))


def _find_meters(keys: Iterable[EventKey], lock: str) -> dict[EventKey, LastReading]:
    found: dict[EventKey, LastReading] = {}
    for chunk in _chunks(sorted(keys) if lock else list(keys)):
        sql = _look_up_pairs(connection.vendor, lock, len(chunk))
        rows = _send(sql, [value for key in chunk for value in key])
        found |= {row[:2]: row for row in _named(LastReading, rows)}
    return found


def lock_meters(keys: Collection[EventKey]) -> dict[EventKey, LastReading]:
    """The existing rows by subscriber and key, locked against other writers until the end of this transaction.

    On engines with parallel writers, missing rows are created first: otherwise two writers would each take a first reading.
    """
    if not engine.current().can_lock_many():
        made = set(_merge(LOCKED_METERS, sorted(keys)))
        return _find_meters([key for key in keys if key not in made], "")
    lock = engine.current().FOR_UPDATE
    found = _find_meters(keys, lock)
    if not lock:
        return found
    if missing := sorted(key for key in keys if key not in found):
        made = set(_merge(NEW_METERS, missing))
        found |= _find_meters([key for key in missing if key not in made], lock)
    return found


def lock_balances(subscribers: Iterable[int]) -> list[Balance]:
    """The existing balances, locked against other writers until the end of this transaction."""
    rows = Balance.objects.filter(subscriber__in=subscribers).order_by("pk")
    if engine.current().can_lock_many():
        return list(rows.select_for_update())
    rows.update(life_reports=models.F("life_reports"))
    return list(rows)


def write_meters(rows: Iterable[MeterRow]) -> None:
    """No key may come twice."""
    # Compared by their first two columns, which tell them apart.
    _merge(METERS, sorted(rows))


def add_told(sums: Mapping[ToldKey, ToldSums]) -> None:
    rows = [
        (*key, row.upload, row.download, row.control_upload, row.control_download)
        for key, row in sorted(sums.items(), key=_key)
    ]
    _merge(TOLD, rows)


def add_usage(sums: Mapping[UsageKey, Sums]) -> Counter[ServerKey]:
    """Add to ``Usage`` and return the number of new rows by server and hour.

    An existing row has at least one report, so a row that is returned with
    exactly the values that were sent is new.
    """
    rows = [
        (*key, row.upload, row.download, row.reports, row.last)
        for key, row in sorted(sums.items(), key=_key)
    ]
    return Counter(
        (server, hour)
        for subscriber, hour, server, reports in _merge(USAGE, rows)
        if reports == sums[subscriber, hour, server].reports
    )


def add_server_usage(sums: Mapping[ServerKey, Sums], records: Mapping[ServerKey, int]) -> None:
    """Add to ``ServerUsage``; both may be negative. ``records``: number of rows of ``Usage``.

    Call it last: every writer of a server adds to the same sum, so that whoever has locked its row keeps others waiting.
    """
    slot = _own_slot()
    rows = [
        (*key, slot, row.upload, row.download, row.reports, records.get(key, 0))
        for key, row in sorted(sums.items(), key=_key)
    ]
    _merge(SERVER_USAGE, rows)


def _own_slot() -> int:
    """Where this process adds. Writers that work in parallel rarely share one, so they do not wait for each other."""
    writers = engine.current().WRITERS
    if writers == 1:
        return SLOT
    # Process ids are consecutive on one machine, and the same on many.
    return SLOT - 1 - (zlib.crc32(socket.gethostname().encode()) + os.getpid()) % writers


def spread_server_usage(
    sums: Mapping[ServerKey, Sums], records: Mapping[ServerKey, int], sign: Sign = 1
) -> None:
    """Add, or with ``sign=-1`` subtract, where a counter may exceed its limit: bytes are spread over as many slots as necessary.

    Nothing is ever refused here, because these are sums over many people.
    """
    rows: list[tuple[int, ...]] = []
    slots = _slots_of(sums)
    for key, row in sorted(sums.items(), key=_key):
        rows += _spread(key, row, records.get(key, 0), slots.get(key, {}), sign)
    _merge(SERVER_USAGE, rows)


def _spread(
    key: ServerKey, row: Sums, records: int, stored: dict[int, tuple[int, int]], sign: Sign
) -> Iterator[tuple[int, ...]]:
    """One row per necessary slot; the first has the reports and records."""
    left, slot, reports = [row.upload, row.download], SLOT, row.reports
    while slot == SLOT or any(left):
        step = [0, 0]
        for way in (0, 1):
            room = MAX_COUNTER - sign * stored.get(slot, (0, 0))[way]
            step[way] = min(left[way], room)
            left[way] -= step[way]
        yield (*key, slot, sign * step[0], sign * step[1], sign * reports, sign * records)
        slot, reports, records = slot + 1, 0, 0


def _slots_of(sums: Mapping[ServerKey, Sums]) -> dict[ServerKey, dict[int, tuple[int, int]]]:
    """Bytes up and down by slot; locked."""
    hours = [HourField.to_moment(hour) for hour in {hour for _, hour in sums}]
    found = ServerUsage.objects.filter(server__in={server for server, _ in sums}, hour__in=hours)
    slots: dict[ServerKey, dict[int, tuple[int, int]]] = {}
    for row in found.order_by("server", "hour", "slot").select_for_update():
        key = row.server_id, HourField.to_number(row.hour)
        slots.setdefault(key, {})[row.slot] = row.upload, row.download
    return slots


def gather_server_usage(server: int, start: datetime, end: datetime, *, limit: int) -> int:
    """Move up to ``limit`` rows of writers from ``start`` <= hour < ``end`` to the sum; return how many."""
    spread = ServerUsage.objects.filter(
        server=server, hour__gte=start, hour__lt=end, slot__lt=SLOT
    ).order_by("hour", "slot")
    rows = list(spread.select_for_update()[:limit])
    sums: dict[ServerKey, Sums] = defaultdict(Sums)
    records: Counter[ServerKey] = Counter()
    for row in rows:
        key = server, HourField.to_number(row.hour)
        sums[key].add(row.upload, row.download, row.reports, 0)
        records[key] += row.records
    ServerUsage.objects.filter(pk__in=[row.pk for row in rows]).delete()
    spread_server_usage(sums, records)
    drop_empty_server_usage(server, [hour for _, hour in sums])
    return len(rows)


def drop_empty_server_usage(server: int, hours: Iterable[int]) -> None:
    """Delete these hours of a server, with all slots, if no record is left in them.

    A slot that another writer adds meanwhile stays.
    """
    moments = [HourField.to_moment(hour) for hour in hours]
    rows = ServerUsage.objects.filter(server=server, hour__in=moments).order_by("hour", "slot")
    slots: dict[datetime, list[ServerUsage]] = defaultdict(list)
    for row in rows.select_for_update():
        slots[row.hour].append(row)
    empty = [
        row for found in slots.values() if sum(row.records for row in found) <= 0 for row in found
    ]
    ServerUsage.objects.filter(pk__in=[row.pk for row in empty]).delete()


def add_balances(sums: Mapping[int, BalanceSums]) -> list[tuple[int, int, int, int, int]]:
    """Add to life and period; a new period starts from zero.

    Returns subscriber, life up and down, corrections up and down, after the addition.
    """
    rows = [
        (
            key, row.upload, row.download, row.reports, row.metered_upload, row.metered_download, row.last,
            row.period_start, row.period_upload, row.period_download,
        )
        for key, row in sorted(sums.items(), key=_key)
    ]  # fmt: skip
    return _merge(BALANCE, rows)


def add_limit_balances(sums: Mapping[LimitKey, PeriodSums]) -> None:
    _merge(
        LIMIT_BALANCE,
        [
            (
                *key, _capped(row.upload), _capped(row.download), row.last, row.period_start,
                _capped(row.period_upload), _capped(row.period_download),
            )
            for key, row in sorted(sums.items(), key=_key)
        ],
    )  # fmt: skip


def add_limit_cleaned(sums: Mapping[LimitKey, Sums]) -> None:
    """Add deleted records to ``cleaned`` of what counts towards limits."""
    _merge(
        LIMIT_CLEANED,
        [
            (*key, _capped(row.upload), _capped(row.download))
            for key, row in sorted(sums.items(), key=_key)
        ],
    )


def _capped(size: int) -> int:
    return min(size, MAX_COUNTER)


def add_cleaned(sums: Mapping[int, Sums]) -> dict[int, int | None]:
    """Add deleted records to ``cleaned`` in the balances; return their ``last_used_at``."""
    rows = [
        (key, row.upload, row.download, row.reports) for key, row in sorted(sums.items(), key=_key)
    ]
    return dict(_merge(CLEANED, rows))


def take_usage(
    server: int, start: int, end: int, *, limit: int, unfolded: bool = False
) -> list[Taken]:
    """Delete the first ``limit`` records of a server with ``start`` <= hour < ``end`` and return their values.

    ``unfolded``: leave whole days.
    """
    inside = "server_id = %s AND hour >= %s AND hour < %s" + (
        " AND hour %% 24 <> 0" if unfolded else ""
    )
    sql = (
        f"DELETE FROM {{table}} WHERE {inside} AND (hour, subscriber_id) <= "
        f"(SELECT hour, subscriber_id FROM (SELECT hour, subscriber_id FROM {{table}} WHERE {inside}"
        " ORDER BY hour, subscriber_id LIMIT %s) AS step ORDER BY hour DESC, subscriber_id DESC LIMIT 1)"
        f" RETURNING {_TAKEN}"
    )
    return _take(sql, [server, start, end, server, start, end, limit])


def take_usage_of(subscriber: int, *, limit: int) -> list[Taken]:
    """Delete the first ``limit`` records of a subscriber and return their values."""
    sql = (
        "DELETE FROM {table} WHERE subscriber_id = %s AND (hour, server_id) <= "
        "(SELECT hour, server_id FROM (SELECT hour, server_id FROM {table} WHERE subscriber_id = %s"
        " ORDER BY hour, server_id LIMIT %s) AS step ORDER BY hour DESC, server_id DESC LIMIT 1)"
        f" RETURNING {_TAKEN}"
    )
    return _take(sql, [subscriber, subscriber, limit])


_TAKEN = "subscriber_id, hour, server_id, upload, download, reports, last_used_at"


def _take(sql: str, params: Sequence[int]) -> list[Taken]:
    with connection.cursor() as cursor:
        cursor.execute(sql.format(table=_quoted(Usage)), params)
        return [Taken(*row) for row in cursor.fetchall()]


def drop_events(before: int, *, limit: int) -> int:
    """Delete up to ``limit`` event ids received before the hour ``before``; return how many."""
    sql = (
        "DELETE FROM {table} WHERE (subscriber_id, event_id) IN"
        " (SELECT subscriber_id, event_id FROM {table} WHERE received < %s ORDER BY received LIMIT %s)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql.format(table=_quoted(ReceivedEvent)), [before, limit])
        return int(cursor.rowcount)


def _quoted(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001  Django's own name for it


_key = itemgetter(0)


def _merge(rollup: Rollup, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send ``rows`` in as few statements as allowed and return the resulting rows."""
    returned: list[Any] = []
    for chunk in _chunks(rows):
        statement = _upsert(rollup, connection.vendor, len(chunk))
        returned += _send(statement, [value for values in chunk for value in values])
    return returned


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    start, most = 0, engine.current().ROWS
    while rest := len(rows) - start:
        size = rest if rest <= _FEW else min(most, 1 << rest.bit_length() - 1)
        yield rows[start : start + size]
        start += size


@lru_cache(maxsize=256)  # texts of a few kB at most, which come again and again
def _look_up(vendor: str, table: str, columns: str, where: str, values: int) -> str:
    marks = ", ".join([engine.current().PLACEHOLDER] * values)
    return f"SELECT {columns} FROM {table} WHERE {where} IN ({marks})"


@lru_cache(maxsize=64)
def _look_up_pairs(vendor: str, lock: str, pairs: int) -> str:
    """Lock rows in the order of their keys. SQLite would read the whole table for ``(a, b) IN (VALUES …)``."""
    mark = engine.current().PLACEHOLDER
    marks = ", ".join([f"({mark}, {mark})"] * pairs)
    columns = ", ".join(f"meter.{name}" for name in _LAST_READING)
    order = f" ORDER BY meter.subscriber_id, meter.key{lock} OF meter" if lock else ""
    return (
        f"WITH wanted (subscriber_id, key) AS (VALUES {marks}) SELECT {columns}"
        f" FROM wanted CROSS JOIN {_quoted(Meter)} AS meter"
        f" WHERE meter.subscriber_id = wanted.subscriber_id AND meter.key = wanted.key{order}"
    )


@lru_cache(maxsize=256)
def _upsert(rollup: Rollup, vendor: str, rows: int) -> str:
    """``vendor``: statements of one engine are not those of another."""
    marks = ", ".join([engine.current().PLACEHOLDER] * len(rollup.columns))
    changes = ", ".join(_changes(rollup))
    conflict = f"({', '.join(rollup.key)}) DO UPDATE SET {changes}" if changes else "DO NOTHING"
    if rollup.is_locking:
        conflict = f"({', '.join(rollup.key)}) DO UPDATE SET key = old.key WHERE false"
    returning = f" RETURNING {', '.join(rollup.returned)}" if rollup.returned else ""
    return (
        f"INSERT INTO {_quoted(rollup.model)} AS old ({', '.join(rollup.columns)})"
        f" VALUES {', '.join([f'({marks})'] * rows)} ON CONFLICT {conflict}{returning}"
    )


def _changes(rollup: Rollup) -> Iterator[str]:
    """The part of an upsert that changes the columns of an existing row."""
    greatest = engine.current().GREATEST
    for name in rollup.added:
        yield f"{name} = old.{name} + excluded.{name}"
    for name in rollup.capped:
        yield f"{name} = {_capped_sum(name)}"
    for name in rollup.latest:
        yield f"{name} = {greatest}(COALESCE(old.{name}, 0), excluded.{name})"
    for name in rollup.replaced:
        yield f"{name} = excluded.{name}"
    if rollup.period:
        yield from _period_changes(rollup.period, greatest)


def _capped_sum(name: str) -> str:
    room = f"{MAX_COUNTER} - excluded.{name}"
    return f"CASE WHEN old.{name} > {room} THEN {MAX_COUNTER} ELSE old.{name} + excluded.{name} END"


def _period_changes(period: Period, greatest: str) -> Iterator[str]:
    start, seen = period.start, period.seen
    for name in period.columns:
        total = _capped_sum(name) if period.capped else f"old.{name} + excluded.{name}"
        yield (
            f"{name} = CASE WHEN old.{start} < excluded.{start} THEN excluded.{name}"
            f" WHEN old.{start} > excluded.{seen} THEN old.{name}"
            f" ELSE {total} END"
        )
    yield f"{start} = {greatest}(old.{start}, excluded.{start})"


def _send(sql: str, params: Sequence[Any]) -> list[Any]:
    """Rows that a statement returns, if any."""
    with connection.cursor() as cursor:
        engine.current().send(cursor, sql, params)
        return cursor.fetchall() if cursor.description else []


def hold_off_writers() -> None:
    """Keep other writers from changing sums until the end of this transaction."""
    engine.current().hold_off_writers(
        [_quoted(model) for model in (Meter, Told, Usage, ServerUsage, Correction, LimitBalance)]
    )


def hold_off_reports() -> None:
    """Wait for reports that are being written, and keep others waiting until the end of this transaction.

    After it, every report either is in the records or will find the limits that this transaction makes.
    """
    engine.current().hold_off_readers([_quoted(LimitedServer)])
