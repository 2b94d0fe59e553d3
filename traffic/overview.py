"""The read path of the operator's first screen: what is over all subscribers and is not asked for by the API.

Like everything in ``statistics``: frozen structs in whole bytes, ``now`` is given. Nothing here reads ``Usage``: sums are
of the rollup ``ServerUsage``, which does not grow with subscribers; counters and moments are of ``Balance``, one narrow
row a subscriber. So there is no ranking of subscribers by an arbitrary window: it would have to read every record in it.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict
from zoneinfo import ZoneInfo

import msgspec
from django.db.models import Count, F, OuterRef, Q, Subquery

from .models import ApiKey, Balance, Server, ServerUsage, Subscriber
from .periods import DAY, HOUR, Window, floor_hour, midnight, window
from .statistics import BucketSize, Series, series_of

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Used(TypedDict):
        period_began: datetime
        period_used: int
        life_used: int
        last_used_at: datetime | None

    Used = WithAnnotations[Subscriber, _Used]
else:
    Used = Subscriber

# From here on somebody who used to report is silent. A subscriber may be on holiday, a server may not.
SUBSCRIBER_SILENT = 7 * DAY
SERVER_SILENT = DAY
# Who has been silent for longer is gone.
_GONE = 30 * DAY
# Days: the last 30, and those they are compared with.
_COMPARED = 60

Hours = list[dict[str, Any]]
"""Rows of ``SumsQuerySet.sums("hour")``."""


class Span(msgspec.Struct, frozen=True):
    """Traffic since a moment, and of the time before it: ``previous`` bytes in ``before``. ``elapsed``, ``before``: time."""

    upload: int
    download: int
    connections: int
    previous: int
    elapsed: timedelta
    before: timedelta

    @property
    def total(self) -> int:
        return self.upload + self.download

    @property
    def change(self) -> int | None:
        """Percent by which more (or less) flows in an hour than before; None when nothing flowed before.

        Of an hour, for the two times may differ in length: this hour is not over, and old days are kept whole.
        """
        if not self.previous or not self.elapsed:
            return None
        return round(self.total / self.previous * (self.before / self.elapsed) * 100 - 100)


class Recent(msgspec.Struct, frozen=True):
    """``per_minute``: reports in this hour and the last one."""

    today: Span
    week: Span
    month: Span
    per_minute: float


class States(msgspec.Struct, frozen=True):
    """How many subscribers are in each state; ``silent`` and ``expiring`` are among them."""

    active: int
    limited: int
    expired: int
    disabled: int
    silent: int
    expiring: int


class Silent(msgspec.Struct, frozen=True):
    """A subscriber or a server that used to report, and when it last did."""

    who: Subscriber | Server
    since: datetime


def hours(now: datetime, days: int = _COMPARED) -> Hours:
    """Sums over all servers of each hour with reports, far enough back for ``recent`` and a series of ``days``."""
    return list(ServerUsage.objects.since(window(max(days, _COMPARED), now).start).sums("hour"))


def series(rows: Hours, chosen: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    """The same as ``statistics.global_series``, of what ``hours`` has found."""
    return series_of([row for row in rows if row["hour"] >= chosen.start], chosen, bucket, zone)


def recent(rows: Hours, now: datetime, zone: ZoneInfo) -> Recent:
    """Today (of ``zone``), 7 and 30 days, the latter two as the API counts ``days=7`` and ``days=30``."""
    today, yesterday = (floor_hour(midnight(now, zone, ago)) for ago in (0, 1))
    return Recent(
        today=_span(rows, now, today, yesterday, floor_hour(now) - DAY + HOUR),
        week=_span(rows, now, window(7, now).start, window(14, now).start),
        month=_span(rows, now, window(30, now).start, window(60, now).start),
        per_minute=_per_minute(rows, now),
    )


def _span(rows: Hours, now: datetime, start: datetime, previous: datetime, until: datetime | None = None) -> Span:
    """Since ``start``, compared with what flowed from ``previous`` to ``until``."""
    end = min(until or start, start)
    current = [row for row in rows if row["hour"] >= start]
    before = [row for row in rows if previous <= row["hour"] < end]
    return Span(
        upload=sum(row["sum_upload"] for row in current),
        download=sum(row["sum_download"] for row in current),
        connections=sum(row["sum_connections"] for row in current),
        previous=sum(row["sum_upload"] + row["sum_download"] for row in before),
        elapsed=now - start,
        before=end - previous,
    )


def _per_minute(rows: Hours, now: datetime) -> float:
    start = floor_hour(now) - HOUR
    reports: int = sum(row["sum_connections"] for row in rows if row["hour"] >= start)
    return reports / ((now - start) / timedelta(minutes=1))


def states(now: datetime, zone: ZoneInfo) -> States:
    """Of all subscribers that are not deleted: the numbers that the list's filters show."""
    is_valid = Q(is_active=True) & (Q(expires_at=None) | Q(expires_at__gt=now))
    quiet = now - SUBSCRIBER_SILENT
    found = Subscriber.objects.visible().aggregate(
        disabled=Count("pk", filter=Q(is_active=False)),
        expired=Count("pk", filter=Q(is_active=True, expires_at__lte=now)),
        valid=Count("pk", filter=is_valid),
        expiring=Count("pk", filter=Q(is_active=True, expires_at__gt=now, expires_at__lte=now + 7 * DAY)),
        silent=Count(
            "pk",
            filter=Q(created_at__lte=quiet) & (Q(balance__last_used_at__lt=quiet) | Q(balance__last_used_at=None)),
        ),
    )
    limited = _limited(now, zone)
    return States(
        active=found["valid"] - limited,
        limited=limited,
        expired=found["expired"],
        disabled=found["disabled"],
        silent=found["silent"],
        expiring=found["expiring"],
    )


def _limited(now: datetime, zone: ZoneInfo) -> int:
    """Whose counters have not reached the limit need not be asked when their period began."""
    reached = F("balance__period_upload") + F("balance__period_download")
    candidates = Subscriber.objects.visible().filter(data_limit__lte=reached)
    return candidates.with_usage(now, zone).in_state("limited", now).count()


def top_subscribers(now: datetime, zone: ZoneInfo, limit: int) -> list[Used]:
    """Who has used most in the period that their limit counts."""
    found: Any = Subscriber.objects.visible().with_usage(now, zone)
    return list(found.filter(period_used__gt=0).order_by("-period_used", "pk")[:limit])


def near_limit(now: datetime, zone: ZoneInfo) -> list[Used]:
    """Who is valid and has used four fifths of the limit or more, in the order of their ids; asks balances alone."""
    fifth = F("data_limit") / 5
    counted = F("balance__period_upload") + F("balance__period_download")
    # Few counters are that high; only of these it is asked when their period began.
    candidates = Subscriber.objects.visible().filter(data_limit__lte=counted + fifth, is_active=True)
    found: Any = candidates.exclude(expires_at__lte=now).with_usage(now, zone)
    return list(found.filter(data_limit__lte=F("period_used") + fifth).order_by("pk"))


def expiring(now: datetime, until: datetime) -> list[Subscriber]:
    """Who is valid still, and no longer after ``until``."""
    return list(Subscriber.objects.visible().expiring(now, until).order_by("pk"))


def silent_reporters(now: datetime) -> list[ApiKey]:
    """Keys for reports that are valid, were used within a month, and have not been for a day."""
    keys = ApiKey.objects.filter(scope=ApiKey.Scope.REPORT, revoked_at=None).exclude(expires_at__lte=now)
    return list(keys.filter(last_used_at__gte=now - _GONE, last_used_at__lt=now - SERVER_SILENT).order_by("pk"))


def last_reports(limit: int) -> list[Balance]:
    """Of whom traffic flowed last, the latest first; with their subscribers."""
    found = Balance.objects.filter(last_used_at__isnull=False, subscriber__hidden_at=None)
    return list(found.select_related("subscriber").order_by("-last_used_at")[:limit])


def silent_subscribers(now: datetime, limit: int) -> list[Silent]:
    """Who is switched on, used to report and has stopped within a month; the latest first."""
    found = Balance.objects.filter(
        last_used_at__gte=now - _GONE,
        last_used_at__lt=now - SUBSCRIBER_SILENT,
        subscriber__hidden_at=None,
        subscriber__is_active=True,
    )
    latest = found.select_related("subscriber").order_by("-last_used_at")[:limit]
    return [Silent(balance.subscriber, balance.last_used_at) for balance in latest if balance.last_used_at]


def silent_servers(now: datetime, limit: int) -> list[Silent]:
    """Over which nothing was reported for a day, but within a month; ``since``: the end of the last hour that saw traffic."""
    last = ServerUsage.objects.filter(server=OuterRef("pk")).order_by("-hour").values("hour")[:1]
    found = Server.objects.visible().annotate(last_hour=Subquery(last))
    edges = {"last_hour__gte": floor_hour(now - _GONE), "last_hour__lt": floor_hour(now - SERVER_SILENT)}
    latest: Any = found.filter(**edges).order_by("-last_hour", "pk")[:limit]
    return [Silent(server, server.last_hour + HOUR) for server in latest]
