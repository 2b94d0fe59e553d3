"""What counts towards limits on servers, beside the other sums of the same transaction."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from django.db.models import Q, QuerySet

from operations.databases.exact_sum import ExactSum
from traffic.fields import HourField
from traffic.models import (
    NOBODY,
    LimitBalance,
    LimitedServer,
    Reset,
    Server,
    ServerLimit,
    ServerUsage,
    Usage,
)
from traffic.periods import EPOCH, ceil_hour, floor_day, floor_hour
from traffic.querysets import SumsQuerySet
from traffic.reports import Report

from . import rollups
from .lookup import Endpoint, current_period, endpoint_of
from .rollups import LimitKey, PeriodSums, Sums, Taken

_WITHOUT_CALENDAR = (Reset.NEVER, Reset.INTERVAL)
_NOTHING = (0, 0)


class CountedLimit(msgspec.Struct, frozen=True):
    """A limit as counting needs it. ``subscriber``: the only one whom it counts; None = everybody."""

    id: int
    subscriber: int | None
    is_together: bool
    period_start: int
    counted_from: int

    def key(self, subscriber: int, hour: int) -> LimitKey | None:
        """Where usage of this subscriber in this hour counts; None = nowhere."""
        if hour < self.counted_from or self.subscriber not in (None, subscriber):
            return None
        return (NOBODY if self.is_together else subscriber), self.id


def on_servers(
    servers: Mapping[Endpoint, int], subscribers: Collection[int], now: datetime
) -> Mapping[int, Sequence[CountedLimit]]:
    """The limits on these servers that may count these subscribers, by the id of the server."""
    mine = Q(limit__subscriber=None) | Q(limit__subscriber__in=subscribers)
    near = LimitedServer.objects.filter(mine, host__in={host for host, _, _ in servers})
    rows = [row for row in near.select_related("limit") if endpoint_of(row) in servers]
    known = {row.limit_id: row.limit for row in rows}
    counted = {pk: _counted(limit, now) for pk, limit in known.items()}
    found: dict[int, list[CountedLimit]] = defaultdict(list)
    for row in rows:
        found[servers[endpoint_of(row)]].append(counted[row.limit_id])
    return found


def _counted(limit: ServerLimit, now: datetime) -> CountedLimit:
    return CountedLimit(
        id=limit.pk,
        subscriber=limit.subscriber_id,
        is_together=limit.is_together,
        period_start=int(current_period(limit, now).timestamp()),
        counted_from=HourField.to_number(limit.counted_from),
    )


def count(
    sums: dict[LimitKey, PeriodSums], limit: CountedLimit, subscriber: int, report: Report
) -> None:
    """Add a report on a server of this limit."""
    key = limit.key(subscriber, report.moment // 3600)
    if key is not None:
        row = sums.setdefault(key, PeriodSums(period_start=limit.period_start))
        row.count(report.upload, report.download, report.moment)


def note_cleaned(server: int, taken: Sequence[Taken]) -> None:
    """Deleted records of a server still count towards its limits."""
    endpoint = endpoint_of(Server.objects.get(pk=server))
    subscribers = {row.subscriber for row in taken}
    known = on_servers({endpoint: server}, subscribers, EPOCH).get(server, ())
    sums: dict[LimitKey, Sums] = defaultdict(Sums)
    for row in taken if known else ():
        for limit in known:
            key = limit.key(row.subscriber, row.hour)
            if key is not None:
                sums[key].add(row.upload, row.download, 0, 0)
    rollups.add_limit_cleaned(sums)


# Call ``begin``, ``count_again``, ``extend`` and ``restart`` after ``rollups.hold_off_reports`` in the same transaction.


def begin(limit: ServerLimit, endpoints: Iterable[Endpoint], now: datetime) -> None:
    """Store a new limit on these servers. What the records of its current period hold counts already.

    A limit that has no calendar counts from now.
    """
    if limit.limit_reset in _WITHOUT_CALENDAR:
        limit.started_at = limit.reset_at = now.replace(microsecond=0)
    limit.counted_from = floor_day(current_period(limit, now))
    limit.save(force_insert=True)
    extend(limit, endpoints, now)


def count_again(limit: ServerLimit, now: datetime) -> None:
    """Count the current period of a limit from the records, after its reset was changed."""
    if limit.limit_reset in _WITHOUT_CALENDAR and limit.reset_at is None:
        limit.reset_at = limit.started_at
    limit.counted_from = floor_day(current_period(limit, now))
    limit.save(update_fields=["counted_from", "reset_at"])
    LimitBalance.objects.filter(limit=limit).delete()
    _count_records(limit, LimitedServer.objects.filter(limit=limit), now)


def extend(limit: ServerLimit, endpoints: Iterable[Endpoint], now: datetime) -> int:
    """Add servers to a limit, with what their records hold; return how many were new."""
    known = {endpoint_of(row) for row in LimitedServer.objects.filter(limit=limit)}
    new = [
        LimitedServer(limit=limit, host=host, port=port, protocol=protocol)
        for host, port, protocol in sorted(set(endpoints) - known)
    ]
    LimitedServer.objects.bulk_create(new, batch_size=500)
    _count_records(limit, new, now)
    return len(new)


def restart(balances: QuerySet[LimitBalance], now: datetime) -> None:
    """Begin a period now; earlier reports do not count in it."""
    balances.update(period_start=now.replace(microsecond=0), period_upload=0, period_download=0)


def _count_records(limit: ServerLimit, servers: Iterable[LimitedServer], now: datetime) -> None:
    ids = ids_of(servers)
    start = current_period(limit, now)
    # The records of an hour in which somebody restarted the period are of the period before.
    edge = ceil_hour(start) if start == limit.reset_at else floor_hour(start)
    life, period = records_of(limit, ids), records_of(limit, ids, edge)
    rollups.add_limit_balances(
        {
            (pk, limit.pk): PeriodSums(
                upload,
                download,
                last=int(now.timestamp()),
                period_start=int(start.timestamp()),
                period_upload=period.get(pk, _NOTHING)[0],
                period_download=period.get(pk, _NOTHING)[1],
            )
            for pk, (upload, download) in life.items()
        }
    )


def ids_of(servers: Iterable[LimitedServer]) -> list[int]:
    """The ids of those that were ever reported."""
    names = {endpoint_of(row) for row in servers}
    return [row.id for row in rollups.find_servers({name[0] for name in names}) if row[:3] in names]


def records_of(
    limit: ServerLimit, servers: Collection[int], start: datetime | None = None
) -> dict[int, tuple[int, int]]:
    """Bytes up and down by the subscriber for whom they count: since ``start``, or all that the limit counts."""
    since = limit.counted_from if start is None else max(start, limit.counted_from)
    if limit.is_together:
        return _together(ServerUsage.objects.since(since).filter(server__in=servers))
    rows = Usage.objects.since(since).filter(server__in=servers)
    if limit.subscriber_id is not None:
        rows = rows.filter(subscriber=limit.subscriber_id)
    return {
        row["subscriber_id"]: (row["sum_upload"], row["sum_download"])
        for row in rows.sums("subscriber_id")
    }


def _together(rows: SumsQuerySet) -> dict[int, tuple[int, int]]:
    found = rows.aggregate(up=ExactSum("upload"), down=ExactSum("download"))
    return {NOBODY: (found["up"], found["down"])} if any(found.values()) else {}
