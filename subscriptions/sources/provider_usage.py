"""What providers say was used, by UTC day, beside what was reported on their servers."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec

from operations.databases.transactions import write_transaction
from subscriptions.models import ProviderUsage, Source
from traffic import periods
from traffic.figures import bills, statistics
from traffic.models import MAX_COUNTER, Server

# Days that are kept, and those that are shown.
_KEPT = timedelta(days=400)
SHOWN = 14
# Reported parts of what the provider counts that need no explanation.
_LEAST, _MOST = 0.7, 1.1


class Totals(NamedTuple):
    """Bytes that were used so far, according to the provider; None = not told."""

    upload: int | None
    download: int | None


class Day(msgspec.Struct, frozen=True):
    """Bytes on a UTC day: according to the provider, and as reported by everybody on the source's servers."""

    day: date
    provider: int
    reported: int

    @property
    def share(self) -> float | None:
        return self.reported / self.provider if self.provider else None

    @property
    def is_low(self) -> bool:
        """Much was used that nobody reported."""
        return self.share is not None and self.share < _LEAST

    @property
    def is_high(self) -> bool:
        """More was reported than used: something is counted twice, or somebody invents it."""
        return self.reported > 0 if self.share is None else self.share > _MOST


def told_by(source: Source) -> Totals:
    return Totals(source.provider_upload, source.provider_download)


def growth(before: Totals, after: Totals) -> tuple[int, int]:
    """Bytes up and down. The first totals are a baseline; a fall is a reset, so all of it is new."""
    if before == Totals(None, None):
        return 0, 0
    if has_fallen(before, after):
        return after.upload or 0, after.download or 0
    return _grown(before.upload, after.upload), _grown(before.download, after.download)


def has_fallen(before: Totals, after: Totals) -> bool:
    pairs = zip(before, after, strict=True)
    return any(old is not None and new is not None and new < old for old, new in pairs)


def _grown(old: int | None, new: int | None) -> int:
    return 0 if old is None or new is None else new - old


def note(source: Source, after: Mapping[str, int | None], now: datetime) -> None:
    """Add what has grown since the last fetch. The caller holds the lock of the source, whose figures are the old ones."""
    new = Totals(after["provider_upload"], after["provider_download"])
    upload, download = growth(told_by(source), new)
    if not upload and not download:
        return
    day, _ = ProviderUsage.objects.get_or_create(source=source, day=now.date())
    # A provider may say any number.
    day.upload = min(day.upload + upload, MAX_COUNTER)
    day.download = min(day.download + download, MAX_COUNTER)
    day.save()


@write_transaction
def drop_old(now: datetime) -> int:
    return ProviderUsage.objects.filter(day__lt=(now - _KEPT).date()).delete()[0]


def days(source: Source, now: datetime) -> list[Day]:
    """Those of the last days on which anything was used, the newest first."""
    window = periods.window(SHOWN, now)
    told = {
        row.day: row.upload + row.download
        for row in source.days.filter(day__gte=window.start.date())
    }
    reported: Counter[date] = Counter()
    for usage in statistics.days_of_servers(_servers(source), window):
        reported[usage.date] += usage.upload + usage.download
    return [
        Day(day, told.get(day, 0), reported[day])
        for day in sorted(told.keys() | reported.keys(), reverse=True)
    ]


class MonthOfSource(msgspec.Struct, frozen=True):
    """Bytes in a month: according to the provider, and as reported by everybody on the source's servers."""

    source: Source
    provider: int
    reported: int


def month(first: date) -> list[MonthOfSource]:
    """Each source whose provider has told anything in the month that begins with this day."""
    span = bills.Month(first)
    rows = ProviderUsage.objects.filter(day__gte=span.first, day__lt=span.next)
    told: Counter[int] = Counter()
    for source, upload, download in rows.values_list("source_id", "upload", "download"):
        told[source] += upload + download
    known = Source.objects.in_bulk(list(told))
    return [
        MonthOfSource(source, told[pk], bills.of_servers(_servers(source), span))
        for pk, source in sorted(known.items())
    ]


def _servers(source: Source) -> list[int]:
    places = set(source.nodes.values_list("server", "port", "protocol"))
    rows = Server.objects.filter(host__in={host for host, _, _ in places})
    found = rows.values_list("pk", "host", "port", "protocol")
    return [pk for pk, *place in found if tuple(place) in places]
