"""Cleanup and compaction, in steps small enough that reports keep flowing.

Each step is one transaction that leaves all sums in agreement, so it may be killed
between any two, and run twice at once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from django.db import models, transaction
from django.db.models import ExpressionWrapper, F, IntegerField, Max, Min, OuterRef, Q, Subquery, Sum

from . import erasure, rollups
from .audit import By
from .fields import HourField
from .models import MAX_COUNTER, Balance, ServerUsage, Usage
from .periods import DAY, floor_day, floor_hour, fold_edge
from .recording import retried
from .reports import MAX_AGE
from .rollups import Sums, Taken

# Records a transaction: some ten milliseconds of the write lock.
STEP = 1000
_END = datetime(9999, 1, 1, tzinfo=UTC)

# Bytes an hour of which any day fits one counter.
_FOLDABLE = MAX_COUNTER // 24

Progress = Callable[[int], object]
"""Is told how many more rows were dealt with."""


class Span(NamedTuple):
    """The hours of a server with ``start`` <= hour < ``end``."""

    server: int
    start: datetime
    end: datetime


class Tidied(msgspec.Struct, frozen=True):
    """What ``tidy`` did. ``others``: rows dropped by what other apps have registered."""

    folded: int
    events: int
    others: dict[str, int]


_others: dict[str, Callable[[datetime], int]] = {}


def also_tidy(name: str, task: Callable[[datetime], int]) -> None:
    """Register what another app drops on every cleanup. ``task`` takes ``now`` and returns how many rows went."""
    _others[name] = task


def cutoff(days: int, now: datetime) -> datetime:
    """Records of hours before this moment are older than ``days``; 0 days: every record is.

    A folded day is kept until the whole of it is older.
    """
    if days == 0:
        return _END
    edge = floor_hour(now - days * DAY)
    return floor_day(edge) if edge < fold_edge(now) else edge


def count_records(days: int, now: datetime) -> int:
    """How many records ``delete_records`` would delete."""
    old = ServerUsage.objects.filter(hour__lt=cutoff(days, now))
    return int(old.aggregate(records=Sum("records"))["records"] or 0)


def delete_records(days: int, now: datetime, progress: Progress = int) -> int:
    """Delete records older than ``days`` and return how many. Counters of subscribers stay; the sums go to ``cleaned``."""
    edge = cutoff(days, now)
    spans = [Span(server, start, edge) for server, start in _starts(ServerUsage.objects.filter(hour__lt=edge))]
    return sum(_steps(_delete_step, spans, progress))


def fold(now: datetime, progress: Progress = int) -> int:
    """Add the hours of days that ended more than 32 days ago to their day; return how many records were folded."""
    return sum(_steps(_fold_step, _foldable(fold_edge(now)), progress))


def tidy(now: datetime, progress: Progress = int) -> Tidied:
    """What every cleanup does, whatever is kept: fold, and drop event ids and what other apps have registered."""
    folded = fold(now, progress)
    erasure.sweep(By("cleanup", now))
    events = 0
    while dropped := _drop_events_step(now):
        events += dropped
        progress(dropped)
    return Tidied(folded, events, {name: task(now) for name, task in _others.items()})


def _starts(rows: models.QuerySet[ServerUsage]) -> list[tuple[int, datetime]]:
    """Each server with its first hour."""
    return sorted(rows.order_by().values_list("server_id").annotate(start=Min("hour")))


def _foldable(edge: datetime) -> Iterator[Span]:
    """What lies before ``edge`` in hours, without the days whose sum may not fit one counter: they stay hours."""
    old = ServerUsage.objects.filter(hour__lt=edge)
    too_large: dict[int, set[datetime]] = defaultdict(set)
    for server, hour in old.filter(Q(upload__gt=_FOLDABLE) | Q(download__gt=_FOLDABLE)).values_list("server", "hour"):
        too_large[server].add(floor_day(hour))
    hours = old.annotate(hour_of_day=ExpressionWrapper(F("hour") % 24, output_field=IntegerField()))
    for server, start in _starts(hours.exclude(hour_of_day=0)):
        for day in sorted(too_large[server]):
            yield Span(server, start, day)
            start = max(start, day + DAY)
        yield Span(server, start, edge)


def _steps(step: Callable[[Span], int], spans: Iterable[Span], progress: Progress) -> Iterator[int]:
    for span in spans:
        while done := step(span):
            progress(done)
            yield done


@retried
def _delete_step(span: Span) -> int:
    with transaction.atomic():
        taken = rollups.take_usage(*_in_hours(span), limit=STEP)
        _take_from_server(span.server, taken)
        sums: dict[int, Sums] = defaultdict(Sums)
        for row in taken:
            sums[row.subscriber].add(row.upload, row.download, row.connections, row.last)
        last_used = rollups.add_cleaned(sums)
        _look_for_last_use([pk for pk, moment in last_used.items() if moment is not None and moment <= sums[pk].last])
    return len(taken)


def _look_for_last_use(subscribers: list[int]) -> None:
    """Of those whose latest record is gone: it is now the latest of what is left, or none."""
    left = Usage.objects.filter(subscriber=OuterRef("subscriber")).order_by().values("subscriber")
    latest = left.annotate(latest=Max("last_used_at")).values("latest")
    Balance.objects.filter(subscriber__in=subscribers).update(last_used_at=Subquery(latest))


@retried
def _fold_step(span: Span) -> int:
    server = span.server
    with transaction.atomic():
        taken = rollups.take_usage(*_in_hours(span), limit=STEP, unfolded=True)
        days: dict[rollups.UsageKey, Sums] = defaultdict(Sums)
        totals: dict[rollups.ServerKey, Sums] = defaultdict(Sums)
        for row in taken:
            day = row.hour - row.hour % 24
            for sums in (days[row.subscriber, day, server], totals[server, day]):
                sums.add(row.upload, row.download, row.connections, row.last)
        new_records = rollups.add_usage(days)
        _take_from_server(server, taken)
        rollups.add_server_usage(totals, new_records)
    return len(taken)


def _take_from_server(server: int, taken: Iterable[Taken]) -> None:
    sums: dict[rollups.ServerKey, Sums] = defaultdict(Sums)
    records: dict[rollups.ServerKey, int] = defaultdict(int)
    for row in taken:
        sums[server, row.hour].add(row.upload, row.download, row.connections, 0)
        records[server, row.hour] += 1
    rollups.add_server_usage(sums, records, sign="-")
    hours = [HourField.to_moment(hour) for _, hour in sums]
    ServerUsage.objects.filter(server=server, hour__in=hours, records__lte=0).delete()


@retried
def _drop_events_step(now: datetime) -> int:
    with transaction.atomic():
        return rollups.drop_events(HourField.to_number(now - MAX_AGE), limit=STEP)


def _in_hours(span: Span) -> tuple[int, int, int]:
    return span.server, HourField.to_number(span.start), HourField.to_number(span.end)
