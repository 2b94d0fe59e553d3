"""Cleanup and compaction, in steps small enough that reports keep flowing.

Each step is one transaction that leaves all sums in agreement, so it may be killed
between any two, and run twice at once.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import models
from django.db.models import (
    ExpressionWrapper,
    F,
    IntegerField,
    Max,
    Min,
    OuterRef,
    Q,
    Subquery,
    Sum,
)

from operations.databases.transactions import write_transaction
from traffic.fields import HourField
from traffic.models import MAX_COUNTER, NOBODY, Balance, ReceivedEvent, ServerUsage, Told, Usage
from traffic.periods import DAY, floor_day, floor_hour, fold_edge
from traffic.reports import MAX_AGE

from . import limits, rollups
from .rollups import Sums, Taken

# Records per transaction: about ten milliseconds of the write lock.
STEP = 1000
_END = datetime(9999, 1, 1, tzinfo=UTC)

# Who told what is kept for this long at most: it is looked at by the month, and a year is compared with the last.
TOLD = 400 * DAY

# Bytes per hour with which a whole day always fits one counter.
_FOLDABLE = MAX_COUNTER // 24

Progress = Callable[[int], object]
"""Called with the number of rows that were processed since the last call."""


class Span(NamedTuple):
    """The hours of a server with ``start`` <= hour < ``end``."""

    server: int
    start: datetime
    end: datetime


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
    """Delete records older than ``days`` and return how many. Counters of subscribers stay; the sums are added to ``cleaned``."""
    edge = cutoff(days, now)
    spans = [
        Span(server, start, edge)
        for server, start in _starts(ServerUsage.objects.filter(hour__lt=edge))
    ]
    return sum(_steps(_delete_step, spans, progress))


def fold(now: datetime, progress: Progress = int) -> int:
    """Add the hours of days that ended more than 32 days ago to their day; return how many records were folded."""
    gather(now)
    return sum(_steps(_fold_step, _foldable(fold_edge(now)), progress))


def gather(now: datetime, progress: Progress = int) -> int:
    """Put together what writers have spread over slots, of the hours that are over; return how many rows that were."""
    edge = floor_hour(now)
    spread = ServerUsage.objects.filter(hour__lt=edge, slot__lt=rollups.SLOT)
    spans = [Span(server, start, edge) for server, start in _starts(spread)]
    return sum(_steps(_gather_step, spans, progress))


def drop_events(now: datetime, progress: Progress = int) -> int:
    """Delete event ids whose reports are too old to be accepted again; return how many."""
    total = 0
    while dropped := _drop_events_step(now):
        total += dropped
        progress(dropped)
    return total


@write_transaction
def forget_events(event_ids: Collection[str]) -> None:
    """Delete the event ids of messages that are certain never to come again."""
    ReceivedEvent.objects.filter(subscriber=NOBODY, event_id__in=event_ids).delete()


def drop_told(days: int, now: datetime, progress: Progress = int) -> int:
    """Forget who told what more than ``days`` ago (0: for as long as records are kept), and what is too old anyway."""
    edge = floor_day(now - min(days * DAY, TOLD)) if days else floor_day(now - TOLD)
    total = 0
    while dropped := _drop_told_step(edge):
        total += dropped
        progress(dropped)
    return total


def _starts(rows: models.QuerySet[ServerUsage]) -> list[tuple[int, datetime]]:
    """Each server with its first hour."""
    return sorted(rows.order_by().values_list("server_id").annotate(start=Min("hour")))


def _foldable(edge: datetime) -> Iterator[Span]:
    """The records by hour before ``edge``, without days whose sum may not fit one counter: those stay hours."""
    old = ServerUsage.objects.filter(hour__lt=edge)
    too_large: dict[int, set[datetime]] = defaultdict(set)
    for server, hour in old.filter(
        Q(upload__gt=_FOLDABLE) | Q(download__gt=_FOLDABLE) | ~Q(slot=rollups.SLOT)
    ).values_list("server", "hour"):
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


@write_transaction
def _delete_step(span: Span) -> int:
    taken = rollups.take_usage(*_in_hours(span), limit=STEP)
    _forget_who_told(span.server, taken)
    sums: dict[int, Sums] = defaultdict(Sums)
    for row in taken:
        sums[row.subscriber].add(row.upload, row.download, row.reports, row.last)
    last_used = rollups.add_cleaned(sums)
    limits.note_cleaned(span.server, taken)
    look_for_last_use(
        [pk for pk, moment in last_used.items() if moment is not None and moment <= sums[pk].last]
    )
    _take_from_server(span.server, taken)
    return len(taken)


def look_for_last_use(subscribers: list[int]) -> None:
    """Correct the last use of subscribers whose latest record was deleted: the latest remaining record, or none."""
    left = Usage.objects.filter(subscriber=OuterRef("subscriber")).order_by().values("subscriber")
    latest = left.annotate(latest=Max("last_used_at")).values("latest")
    Balance.objects.filter(subscriber__in=subscribers).update(last_used_at=Subquery(latest))


@write_transaction
def _fold_step(span: Span) -> int:
    server = span.server
    taken = rollups.take_usage(*_in_hours(span), limit=STEP, unfolded=True)
    days: dict[rollups.UsageKey, Sums] = defaultdict(Sums)
    totals: dict[rollups.ServerKey, Sums] = defaultdict(Sums)
    for row in taken:
        day = row.hour - row.hour % 24
        for sums in (days[row.subscriber, day, server], totals[server, day]):
            sums.add(row.upload, row.download, row.reports, row.last)
    new_records = rollups.add_usage(days)
    _take_from_server(server, taken)
    rollups.spread_server_usage(totals, new_records)
    return len(taken)


@write_transaction
def _gather_step(span: Span) -> int:
    return rollups.gather_server_usage(span.server, span.start, span.end, limit=STEP)


def _take_from_server(server: int, taken: Iterable[Taken]) -> None:
    sums: dict[rollups.ServerKey, Sums] = defaultdict(Sums)
    records: dict[rollups.ServerKey, int] = defaultdict(int)
    for row in taken:
        sums[server, row.hour].add(row.upload, row.download, row.reports, 0)
        records[server, row.hour] += 1
    rollups.spread_server_usage(sums, records, sign=-1)
    rollups.drop_empty_server_usage(server, [hour for _, hour in sums])


def _forget_who_told(server: int, taken: Iterable[Taken]) -> None:
    """Delete ``Told`` on days that lose records, because nobody can have reported more than the records hold."""
    days = {row.hour // 24 for row in taken}
    people = {row.subscriber for row in taken}
    Told.objects.filter(subscriber__in=people, server=server, day__in=days).delete()


@write_transaction
def _drop_told_step(edge: datetime) -> int:
    old = Told.objects.filter(day__lt=edge).order_by("day", "reporter_id")
    keys = list(old.values_list("pk", flat=True)[:STEP])
    return Told.objects.filter(pk__in=keys).delete()[0]


@write_transaction
def _drop_events_step(now: datetime) -> int:
    return rollups.drop_events(HourField.to_number(now - MAX_AGE), limit=STEP)


def _in_hours(span: Span) -> tuple[int, int, int]:
    return span.server, HourField.to_number(span.start), HourField.to_number(span.end)
