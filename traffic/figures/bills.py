"""Usage by calendar month: what subscribers are charged for, with corrections, and what servers carried.

Months are those of UTC: old hours are folded into UTC days, so a month of another zone would change afterwards.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
from django.db import models

from operations.databases.exact_sum import ExactSum
from traffic.models import Correction, Reseller, ServerUsage, Subscriber, Usage
from traffic.querysets import SubscriberQuerySet, SumsQuerySet

from .statistics import Share, shares_of

_YEARS = (1970, 9998)


class Month(msgspec.Struct, frozen=True):
    """``first``: its first day."""

    first: date

    @property
    def start(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def end(self) -> datetime:
        return datetime.combine(self.next, time(), UTC)

    @property
    def next(self) -> date:
        return (self.first + timedelta(days=32)).replace(day=1)

    @property
    def previous(self) -> date:
        return (self.first - timedelta(days=1)).replace(day=1)

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


def month_of(moment: datetime) -> Month:
    return Month(moment.astimezone(UTC).date().replace(day=1))


def parse_month(text: str) -> Month:
    """From ``2026-11``. Raises ValueError for anything else."""
    first = date.fromisoformat(f"{text}-01")
    if not _YEARS[0] < first.year < _YEARS[1]:
        raise ValueError(text)
    return Month(first)


class Bill(msgspec.Struct, frozen=True):
    """Bytes of one subscriber in a month: as reported, and what corrections add (or, below zero, take away)."""

    subscriber_id: int
    name: str
    external_id: str
    upload: int
    download: int
    corrected: int

    @property
    def total(self) -> int:
        return self.upload + self.download + self.corrected


class ResellerBill(msgspec.Struct, frozen=True):
    """Bytes of the present subscribers of a reseller in a month; of those without one if ``reseller_id`` is None.

    ``people``: the number of subscribers with usage.
    """

    reseller_id: int | None
    name: str
    people: int
    upload: int
    download: int
    corrected: int

    @property
    def total(self) -> int:
        return self.upload + self.download + self.corrected


class Statement(msgspec.Struct, frozen=True):
    """One subscriber's month, by server, with its corrections."""

    servers: list[Share]
    corrections: list[Correction]

    @property
    def used(self) -> int:
        return sum(share.total for share in self.servers)

    @property
    def total(self) -> int:
        return self.used + sum(made.upload + made.download for made in self.corrections)


def subscribers(month: Month, people: SubscriberQuerySet | None = None) -> list[Bill]:
    """Everybody with usage or corrections in the month, most used first; erased and deleted people too.

    ``people``: of these subscribers alone.
    """
    used = {
        row["subscriber_id"]: row for row in _in(Usage.objects.all(), month).sums("subscriber_id")
    }
    sums = (
        _corrections(month)
        .order_by()
        .values_list("subscriber_id")
        .annotate(sum=ExactSum(models.F("upload") + models.F("download")))
    )
    corrected = {pk: int(added) for pk, added in sums}
    rows = Subscriber.objects.all() if people is None else people
    found = [_bill(row, used, corrected) for row in _people({*used, *corrected}, rows)]
    return sorted(found, key=lambda bill: (-bill.total, bill.subscriber_id))


def resellers(month: Month) -> list[ResellerBill]:
    """Every reseller, also without usage in the month, most used first."""
    owned = Subscriber.objects.exclude(reseller=None).values_list("pk", "reseller")
    seller = dict(owned)
    by_seller: dict[int | None, list[Bill]] = {}
    for bill in subscribers(month):
        by_seller.setdefault(seller.get(bill.subscriber_id), []).append(bill)
    names: dict[int | None, str] = dict(Reseller.objects.values_list("pk", "name"))
    known = [*names, *(key for key in by_seller if key not in names)]
    found = [_of_reseller(key, names.get(key, ""), by_seller.get(key, [])) for key in known]
    return sorted(found, key=lambda bill: (-bill.total, bill.name))


def _of_reseller(key: int | None, name: str, rows: Sequence[Bill]) -> ResellerBill:
    return ResellerBill(
        key,
        name,
        len(rows),
        sum(row.upload for row in rows),
        sum(row.download for row in rows),
        sum(row.corrected for row in rows),
    )


def servers(month: Month) -> list[Share]:
    """What each server carried in the month, over all subscribers, most used first."""
    return shares_of(_in(ServerUsage.objects.all(), month))


def statement(subscriber: Subscriber, month: Month) -> Statement:
    used = _in(Usage.objects.filter(subscriber=subscriber), month)
    made = _corrections(month).filter(subscriber=subscriber).order_by("made_at", "pk")
    return Statement(shares_of(used), list(made))


def of_servers(ids: Iterable[int], month: Month) -> int:
    """Bytes that these servers carried in the month."""
    rows = _in(ServerUsage.objects.filter(server__in=list(ids)), month).sums("server_id")
    return sum(row["sum_upload"] + row["sum_download"] for row in rows)


def _in(rows: SumsQuerySet, month: Month) -> SumsQuerySet:
    return rows.filter(hour__gte=month.start, hour__lt=month.end)


def _corrections(month: Month) -> models.QuerySet[Correction]:
    return Correction.objects.filter(
        made_at__gte=month.start, made_at__lt=month.end, undone_at=None
    )


def _people(ids: set[int], rows: SubscriberQuerySet) -> Iterable[Any]:
    known = rows.values_list("pk", "name", "external_id")
    return (row for row in known.iterator() if row[0] in ids)


def _bill(person: tuple[int, str, str], used: Any, corrected: dict[int, int]) -> Bill:
    pk, name, external_id = person
    row = used.get(pk, {"sum_upload": 0, "sum_download": 0})
    return Bill(pk, name, external_id, row["sum_upload"], row["sum_download"], corrected.get(pk, 0))
