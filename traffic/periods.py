"""Windows, buckets and billing periods. Pure arithmetic on UTC times; ``now`` is always a parameter."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Days that ended longer ago than this are stored as whole UTC days.
HOURLY_DAYS = 32
# Unix seconds of the years 2000 to 2100: the plausible range for the end of a subscription.
_PLAUSIBLE = range(946_684_800, 4_133_980_800)


def floor_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def ceil_hour(moment: datetime) -> datetime:
    floor = floor_hour(moment)
    return floor if floor == moment else floor + HOUR


def floor_day(moment: datetime) -> datetime:
    return floor_hour(moment).replace(hour=0)


def ceil_day(moment: datetime) -> datetime:
    floor = floor_day(moment)
    return floor if floor == moment else floor + DAY


def fold_edge(now: datetime) -> datetime:
    """The UTC midnight before which all days are folded: they ended at least 32 days ago."""
    return floor_day(now - HOURLY_DAYS * DAY)


class Window(msgspec.Struct, frozen=True):
    """The last ``days`` × 24 hours, from the start of the hour in which that moment falls.

    It has no upper bound, so that records stored by a fast clock are shown.
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
    """``start``: the label, in the bucket's zone; ``edge``: the UTC hour with which it begins."""

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
    """When the current period of a data limit began: ``daily``, ``weekly`` (Monday), ``monthly``, ``yearly``; others: 1970.

    ``day``: day of the month, 1 to 31, on which a month begins; a shorter month uses its last day. The result
    is in UTC, because in a zone whose clock changes at midnight a local midnight equals no other time.
    """
    first = _first_day(reset, now.astimezone(zone).date(), day)
    return _midnight(first, zone).astimezone(UTC) if first else EPOCH


def period_end(reset: str, now: datetime, zone: ZoneInfo, day: int = 1) -> datetime | None:
    """When the current period ends and the next begins, in UTC; None if it never ends."""
    first = _first_day(reset, now.astimezone(zone).date(), day)
    if first is None:
        return None
    match reset:
        case "daily":
            after = first + DAY
        case "weekly":
            after = first + 7 * DAY
        case "yearly":
            after = first.replace(year=first.year + 1)
        case _:
            after = _day_of_month(first.replace(day=1) + 31 * DAY, day)
    return _midnight(after, zone).astimezone(UTC)


def interval_start(start: int, days: int, now: int) -> int:
    """When the current interval of ``days`` × 24 hours began, counted from ``start``; all but ``days`` in Unix seconds."""
    step = days * 86_400
    return start + max(now - start, 0) // step * step


def _first_day(reset: str, today: date, day: int) -> date | None:
    """The first day of the period that holds ``today``."""
    match reset:
        case "daily":
            return today
        case "weekly":
            return today - today.weekday() * DAY
        case "monthly":
            begins = _day_of_month(today, day)
            return begins if begins <= today else _day_of_month(today.replace(day=1) - DAY, day)
        case "yearly":
            return today.replace(month=1, day=1)
        case _:
            return None


def _day_of_month(month: date, day: int) -> date:
    return month.replace(day=min(day, monthrange(month.year, month.month)[1]))


def midnight(now: datetime, zone: ZoneInfo, days_ago: int = 0) -> datetime:
    """The start of today, or of an earlier day, in ``zone``."""
    return _midnight(now.astimezone(zone).date() - days_ago * DAY, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def unix_end(number: int) -> int | None:
    """Unix seconds at which a subscription ends, from seconds or milliseconds; None means never.

    Panels write "never" as 0 or as a date thousands of years away. A number is taken as milliseconds
    only if that gives a plausible date and seconds do not.
    """
    if number < _PLAUSIBLE.stop:
        return number if number > 0 else None
    return number // 1000 if number // 1000 in _PLAUSIBLE else None


def parse_expiry(text: str, zone: ZoneInfo) -> datetime:
    """Parses an expiry: a day, which lasts to its end, or ISO 8601; without an offset the time is in ``zone``.

    Raises ValueError for anything else.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        is_day = moment.time() == time() and ":" not in text
        return moment + DAY if is_day else moment
    except (ValueError, OverflowError):
        raise ValueError(f"Expected a date like 2027-01-31, not {text!r}.") from None
