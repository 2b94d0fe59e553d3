"""The read path of the first screen: figures over all subscribers that the API does not offer.

Like ``statistics`` it returns frozen structs in whole bytes and takes ``now``. Nothing here reads ``Usage``: sums come
from the rollup ``ServerUsage``, which does not grow with subscribers; counters and times come from ``Balance``, one narrow
row per subscriber. So subscribers cannot be ranked by an arbitrary window, which would read every record in it.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict
from zoneinfo import ZoneInfo

import msgspec
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from operations.models import ApiKey
from operations.quota_levels import Level
from traffic.models import Balance, Reporter, Server, ServerUsage, Subscriber
from traffic.people import quotas
from traffic.people.quotas import State
from traffic.periods import DAY, HOUR, Window, floor_hour, midnight, window
from traffic.querysets import SubscriberQuerySet

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

# A server or reporter is silent after a day. A subscriber may be on holiday, so they have more time.
SILENT = DAY
SUBSCRIBER_SILENT = 7 * DAY
# After this time they count as gone, not as silent.
GONE = 30 * DAY
# The last 30 days, and the 30 days they are compared with.
_COMPARED = 60

Hours = list[dict[str, Any]]
"""Rows of ``SumsQuerySet.sums("hour")``."""


class Span(msgspec.Struct, frozen=True):
    """Traffic since a time, compared with ``previous`` bytes before it. ``elapsed`` and ``before`` are durations."""

    upload: int
    download: int
    reports: int
    previous: int
    elapsed: timedelta
    before: timedelta

    @property
    def total(self) -> int:
        return self.upload + self.download

    @property
    def change(self) -> int | None:
        """The change of traffic per hour in percent; None if there was no traffic before.

        It is per hour because the two durations may differ: this hour is not over, and old days are stored as a whole.
        """
        if not self.previous or not self.elapsed:
            return None
        return round(self.total / self.previous * (self.before / self.elapsed) * 100 - 100)


class Recent(msgspec.Struct, frozen=True):
    """``per_minute``: computed from the reports of this hour and the last one."""

    today: Span
    week: Span
    month: Span
    per_minute: float


class States(msgspec.Struct, frozen=True):
    """The number of subscribers in each state. ``silent`` and ``expiring`` overlap with the states."""

    active: int
    on_hold: int
    limited: int
    expired: int
    disabled: int
    silent: int
    expiring: int


class Silent(msgspec.Struct, frozen=True):
    """A subscriber or server without recent reports, and the time of the last one."""

    who: Subscriber | Server
    since: datetime


def hours(now: datetime, days: int = _COMPARED) -> Hours:
    """The sums over all servers by hour, far enough back for ``recent`` and a series of ``days``."""
    return list(ServerUsage.objects.since(window(max(days, _COMPARED), now).start).sums("hour"))


def series(rows: Hours, chosen: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    """The same as ``statistics.global_series``, computed from the result of ``hours``."""
    return series_of(rows, chosen, bucket, zone)


def recent(rows: Hours, now: datetime, zone: ZoneInfo) -> Recent:
    """Today (in ``zone``) and the last 7 and 30 days, which equal ``days=7`` and ``days=30`` of the API."""
    today, yesterday = (floor_hour(midnight(now, zone, ago)) for ago in (0, 1))
    return Recent(
        today=_span(rows, now, today, yesterday, floor_hour(now) - DAY + HOUR),
        week=_span(rows, now, window(7, now).start, window(14, now).start),
        month=_span(rows, now, window(30, now).start, window(60, now).start),
        per_minute=_per_minute(rows, now),
    )


def _span(
    rows: Hours, now: datetime, start: datetime, previous: datetime, until: datetime | None = None
) -> Span:
    """Traffic since ``start``, compared with the traffic from ``previous`` to ``until``."""
    end = min(until or start, start)
    current = [row for row in rows if row["hour"] >= start]
    before = [row for row in rows if previous <= row["hour"] < end]
    return Span(
        upload=sum(row["sum_upload"] for row in current),
        download=sum(row["sum_download"] for row in current),
        reports=sum(row["sum_reports"] for row in current),
        previous=sum(row["sum_upload"] + row["sum_download"] for row in before),
        elapsed=now - start,
        before=end - previous,
    )


def _per_minute(rows: Hours, now: datetime) -> float:
    start = floor_hour(now) - HOUR
    reports: int = sum(row["sum_reports"] for row in rows if row["hour"] >= start)
    return reports / ((now - start) / timedelta(minutes=1))


def states(now: datetime, zone: ZoneInfo, people: SubscriberQuerySet | None = None) -> States:
    """The states of all subscribers that are not deleted, with the same numbers as the list's filters.

    ``people``: of these alone.
    """
    rows = Subscriber.objects.visible() if people is None else people
    found = rows.aggregate(
        disabled=Count("pk", filter=quotas.has_state(State.DISABLED, now)),
        expired=Count("pk", filter=quotas.has_state(State.EXPIRED, now)),
        begun=Count("pk", filter=quotas.is_valid(now) & Q(hold_days=None)),
        on_hold=Count("pk", filter=quotas.is_valid(now) & Q(hold_days__isnull=False)),
        expiring=Count("pk", filter=quotas.expires_between(now, now + 7 * DAY)),
        silent=Count("pk", filter=is_silent(now)),
    )
    over = _limited(now, zone, rows).aggregate(
        begun=Count("pk", filter=Q(hold_days=None)),
        on_hold=Count("pk", filter=Q(hold_days__isnull=False)),
    )
    return States(
        active=found["begun"] - over["begun"],
        on_hold=found["on_hold"] - over["on_hold"],
        limited=over["begun"] + over["on_hold"],
        expired=found["expired"],
        disabled=found["disabled"],
        silent=found["silent"],
        expiring=found["expiring"],
    )


def is_silent(now: datetime) -> Q:
    """Created at least a week ago, without traffic in that week."""
    moment = now - SUBSCRIBER_SILENT
    unheard = Q(balance__last_used_at__lt=moment) | Q(balance__last_used_at=None)
    return Q(created_at__lte=moment) & unheard


def limited(now: datetime, zone: ZoneInfo) -> int:
    """The number of subscribers over their limit."""
    return _limited(now, zone, Subscriber.objects.visible()).count()


def _limited(now: datetime, zone: ZoneInfo, rows: SubscriberQuerySet) -> SubscriberQuerySet:
    candidates = rows.filter(quotas.may_have_reached(Level.OVER))
    found = quotas.with_usage(candidates, now, zone)
    return found.filter(quotas.has_state(State.LIMITED, now))


def top_subscribers(
    now: datetime, zone: ZoneInfo, limit: int, people: SubscriberQuerySet | None = None
) -> list[Used]:
    """The subscribers who used most in their current period. ``people``: of these alone."""
    rows = Subscriber.objects.visible() if people is None else people
    found: Any = quotas.with_usage(rows, now, zone)
    return list(found.filter(period_used__gt=0).order_by("-period_used", "pk")[:limit])


def near_limit(now: datetime, zone: ZoneInfo) -> list[Used]:
    """Valid subscribers who used at least four fifths of their limit, by id. Reads only balances."""
    candidates = Subscriber.objects.visible().filter(
        quotas.is_valid(now), quotas.may_have_reached(Level.HIGH)
    )
    found: Any = quotas.with_usage(candidates, now, zone)
    near = quotas.has_level(Level.HIGH) | quotas.has_level(Level.OVER)
    return list(found.filter(near).order_by("pk"))


def expiring(now: datetime, until: datetime) -> list[Subscriber]:
    """Valid subscribers who expire by ``until``."""
    found = Subscriber.objects.visible().filter(quotas.expires_between(now, until))
    return list(found.order_by("pk"))


def expired(since: datetime, now: datetime) -> list[Subscriber]:
    """Subscribers who are switched on and have expired since then. A next plan begins by itself, so its owners are left out."""
    found = Subscriber.objects.visible().filter(is_active=True, has_next=False)
    return list(found.filter(expires_at__gt=since, expires_at__lte=now).order_by("pk"))


def reporters(now: datetime) -> QuerySet[ApiKey]:
    """Valid keys for reports."""
    keys = ApiKey.objects.filter(scope=ApiKey.Scope.REPORT, revoked_at=None)
    return keys.exclude(expires_at__lte=now)


def silent_reporters(now: datetime) -> list[ApiKey]:
    """Valid keys for reports that were last used more than a day but less than a month ago.

    Without keys of which a ``Reporter`` is known: ``figures.reporters`` knows better when these are silent.
    """
    edges = {"last_used_at__gte": now - GONE, "last_used_at__lt": now - SILENT}
    known = Reporter.objects.filter(api_key=OuterRef("pk"))
    return list(reporters(now).filter(~Exists(known), **edges).order_by("pk"))


def last_reports(limit: int) -> list[Balance]:
    """The balances with the latest traffic, newest first, with their subscribers."""
    found = Balance.objects.filter(last_used_at__isnull=False, subscriber__hidden_at=None)
    return list(found.select_related("subscriber").order_by("-last_used_at")[:limit])


def silent_subscribers(now: datetime, limit: int) -> list[Silent]:
    """Active subscribers whose traffic stopped within the last month, the latest first."""
    found = Balance.objects.filter(
        last_used_at__gte=now - GONE,
        last_used_at__lt=now - SUBSCRIBER_SILENT,
        subscriber__hidden_at=None,
        subscriber__is_active=True,
    )
    latest = found.select_related("subscriber").order_by("-last_used_at")[:limit]
    return [
        Silent(balance.subscriber, balance.last_used_at)
        for balance in latest
        if balance.last_used_at
    ]


def server_is_silent(now: datetime) -> Q:
    """For rows with ``last_hour``: no traffic for a day, but some within a month."""
    return Q(last_hour__gte=floor_hour(now - GONE), last_hour__lt=floor_hour(now - SILENT))


def silent_servers(now: datetime, limit: int) -> list[Silent]:
    """Servers without traffic for a day, but with traffic within a month. ``since``: the end of the last hour with traffic."""
    last = ServerUsage.objects.filter(server=OuterRef("pk")).order_by("-hour").values("hour")[:1]
    found = Server.objects.visible().annotate(last_hour=Subquery(last))
    latest: Any = found.filter(server_is_silent(now)).order_by("-last_hour", "pk")[:limit]
    return [Silent(server, server.last_hour + HOUR) for server in latest]
