"""Windows, buckets and billing periods. Pure arithmetic on UTC moments; ``now`` is always given."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Days that ended longer ago than this are kept as whole UTC days.
HOURLY_DAYS = 32


def floor_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def floor_day(moment: datetime) -> datetime:
    return floor_hour(moment).replace(hour=0)


def ceil_day(moment: datetime) -> datetime:
    floor = floor_day(moment)
    return floor if floor == moment else floor + DAY


def fold_edge(now: datetime) -> datetime:
    """Midnight (UTC) before which every hour belongs to a folded day: those days ended 32 days ago or earlier."""
    return floor_day(now - HOURLY_DAYS * DAY)


class Window(msgspec.Struct, frozen=True):
    """The last ``days`` × 24 hours, from the start of the hour in which that moment falls.

    It has no upper edge: what a clock that once ran ahead has stored is shown rather than hidden.
    """

    days: int
    start: datetime
    now: datetime


def window(days: int, now: datetime) -> Window:
    start = floor_hour(now - days * DAY)
    if start < fold_edge(now):
        start = ceil_day(start)
    return Window(days, start, now)


class Bucket(msgspec.Struct, frozen=True):
    """``start`` labels the bucket, in its zone; ``edge`` is the UTC hour with which it begins."""

    start: datetime
    edge: datetime


def hour_buckets(span: Window, zone: ZoneInfo) -> Iterator[Bucket]:
    edge = span.start
    while edge <= span.now:
        yield Bucket(edge.astimezone(zone), edge)
        edge += HOUR


def day_buckets(span: Window, zone: ZoneInfo) -> Iterator[Bucket]:
    day = span.start.astimezone(zone).date()
    while (start := _midnight(day, zone)) <= span.now:
        yield Bucket(start, floor_hour(start))
        day += DAY


def period_start(reset: str, now: datetime, zone: ZoneInfo, day: int = 1) -> datetime:
    """When the current period of a data limit began: ``daily``, ``weekly`` (Monday), ``monthly``; ``never``: 1970.

    ``day``: of the month, 1 to 31, on which a month begins; in a shorter month its last day. The answer
    is in UTC: in a zone whose clock changes at midnight, that midnight would equal no other moment.
    """
    first = _first_day(reset, now.astimezone(zone).date(), day)
    return _midnight(first, zone).astimezone(UTC) if first else EPOCH


def period_end(reset: str, now: datetime, zone: ZoneInfo, day: int = 1) -> datetime | None:
    """When the current period ends and the next begins, in UTC; None when it never does."""
    first = _first_day(reset, now.astimezone(zone).date(), day)
    if first is None:
        return None
    match reset:
        case "daily":
            after = first + DAY
        case "weekly":
            after = first + 7 * DAY
        case _:
            after = _day_of_month(first.replace(day=1) + 31 * DAY, day)
    return _midnight(after, zone).astimezone(UTC)


def _first_day(reset: str, today: date, day: int) -> date | None:
    """Of the period in which ``today`` lies."""
    match reset:
        case "daily":
            return today
        case "weekly":
            return today - today.weekday() * DAY
        case "monthly":
            begins = _day_of_month(today, day)
            return begins if begins <= today else _day_of_month(today.replace(day=1) - DAY, day)
        case _:
            return None


def _day_of_month(month: date, day: int) -> date:
    return month.replace(day=min(day, monthrange(month.year, month.month)[1]))


def midnight(now: datetime, zone: ZoneInfo, days_ago: int = 0) -> datetime:
    """When today, or a day before, began in ``zone``."""
    return _midnight(now.astimezone(zone).date() - days_ago * DAY, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def parse_expiry(text: str, zone: ZoneInfo) -> datetime:
    """A moment from what a person writes: a day, which counts to its end, or ISO 8601; without an offset it is in ``zone``.

    ValueError otherwise.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        is_day = moment.time() == time() and ":" not in text
        return moment + DAY if is_day else moment
    except (ValueError, OverflowError):
        raise ValueError(f"Expected a date like 2027-01-31, not {text!r}.") from None
