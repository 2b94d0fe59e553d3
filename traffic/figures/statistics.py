"""The only read path: every figure comes from here, as a frozen struct in whole bytes."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from django.db.models import (
    Count,
    ExpressionWrapper,
    F,
    FloatField,
    IntegerField,
    Max,
    OuterRef,
    QuerySet,
    Subquery,
    Sum,
)
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Cast, Coalesce

from operations.databases import engine
from operations.hosts import join_host_port
from traffic.ledger.lookup import current_period
from traffic.models import Balance, Server, ServerUsage, Subscriber, Usage
from traffic.people.subscribers import find
from traffic.periods import EPOCH, Bucket, Window, ceil_hour, day_buckets, hour_buckets
from traffic.querysets import ServerQuerySet, SumsQuerySet

TOP = 10
# The number of subscribers or servers per query for usage by day.
_STEP = 200
BucketSize = Literal["hour", "day"]
# The stored number of the hour, because a datetime for each of thousands of rows is slow.
_HOUR = ExpressionWrapper(F("hour"), output_field=IntegerField())


class Share(msgspec.Struct, frozen=True):
    """The traffic of one server in bytes, and its number of reports."""

    server: str
    port: int
    protocol: str
    upload: int
    download: int
    reports: int
    last_used_at: datetime | None = None
    server_id: int = 0

    def __str__(self) -> str:
        return f"{join_host_port(self.server, self.port)} {self.protocol}"

    @property
    def total(self) -> int:
        return self.upload + self.download


class UserStatistics(msgspec.Struct, frozen=True):
    total: int
    servers: list[Share]


class GlobalStatistics(msgspec.Struct, frozen=True):
    users: int
    servers: int
    protocols: int
    total: int
    reports: int
    top_servers: list[Share]


class Day(msgspec.Struct, frozen=True):
    date: date
    total: int
    users: int


class DayUsage(msgspec.Struct, frozen=True):
    """The traffic of a server on a UTC day in bytes, for one subscriber or (0) for all, and the number of reports."""

    date: date
    subscriber_id: int
    server_id: int
    upload: int
    download: int
    reports: int


class ServerStatistics(msgspec.Struct, frozen=True):
    users: int
    total: int
    reports: int
    days: list[Day]


class Point(msgspec.Struct, frozen=True):
    time: datetime
    upload: int
    download: int
    reports: int

    @property
    def total(self) -> int:
        return self.upload + self.download


class Series(msgspec.Struct, frozen=True):
    bucket: BucketSize
    start: datetime
    end: datetime
    points: list[Point]


class ServerDays(msgspec.Struct, frozen=True):
    """The traffic of one server, in total and on each day."""

    share: Share
    days: list[int]


class DaysByServer(msgspec.Struct, frozen=True):
    """``days``: the midnights at which they begin; ``servers``: most used first."""

    days: list[datetime]
    servers: list[ServerDays]

    @property
    def total(self) -> int:
        return sum(server.share.total for server in self.servers)


class DatabaseInfo(msgspec.Struct, frozen=True):
    path: str
    records: int
    users: int
    servers: int
    size: int


class SubscriberUsage(msgspec.Struct, frozen=True):
    """Counters of one subscriber in bytes: for the current period and for the whole life."""

    period_upload: int = 0
    period_download: int = 0
    life_upload: int = 0
    life_download: int = 0
    last_used_at: datetime | None = None

    @property
    def period_total(self) -> int:
        return self.period_upload + self.period_download

    @property
    def life_total(self) -> int:
        return self.life_upload + self.life_download


class UserShare(msgspec.Struct, frozen=True):
    """The usage of a server by one subscriber."""

    subscriber: Subscriber
    upload: int
    download: int
    reports: int

    @property
    def total(self) -> int:
        return self.upload + self.download


class Traffic(msgspec.Struct, frozen=True):
    """Bytes of one server."""

    upload: int = 0
    download: int = 0

    @property
    def total(self) -> int:
        return self.upload + self.download


class SubscribersStatistics(msgspec.Struct, frozen=True):
    """``servers``: most used first. ``by_subscriber``: those who used any, by id."""

    servers: list[Share]
    by_subscriber: dict[int, Traffic]


def user(token: str, window: Window) -> UserStatistics:
    """The usage of one subscriber by server, most used first; empty for an unknown or invalid token."""
    subscriber = find(token)
    return subscriber_statistics(subscriber, window) if subscriber else UserStatistics(0, [])


def subscriber_statistics(subscriber: Subscriber, window: Window) -> UserStatistics:
    rows = Usage.objects.filter(subscriber=subscriber).since(window.start)
    servers = shares_of(rows, last_used_at=Max("last_used_at"))
    return UserStatistics(sum(share.total for share in servers), servers)


def overall(window: Window) -> GlobalStatistics:
    """Figures of the whole panel. They come from the rollup, so their cost does not depend on the number of subscribers."""
    shares = server_shares(window)
    return GlobalStatistics(
        users=active_users(window),
        servers=len({(share.server, share.port) for share in shares}),
        protocols=len({share.protocol for share in shares}),
        total=sum(share.total for share in shares),
        reports=sum(share.reports for share in shares),
        top_servers=shares[:TOP],
    )


def active_users(window: Window) -> int:
    """How many subscribers used any server."""
    return Balance.objects.filter(last_used_at__gte=window.start).count()


def of_subscribers(subscribers: Sequence[int], window: Window) -> SubscribersStatistics:
    """The usage of several subscribers together by server, and of each; it is read in steps, so any number is allowed."""
    by_server: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    by_subscriber: dict[int, Traffic] = {}
    for start in range(0, len(subscribers), _STEP):
        step = subscribers[start : start + _STEP]
        rows = Usage.objects.filter(subscriber__in=step).since(window.start)
        for row in rows.sums("subscriber_id", "server_id"):
            subscriber, upload, download = (
                row["subscriber_id"],
                row["sum_upload"],
                row["sum_download"],
            )
            sums = by_server[row["server_id"]]
            for place, more in enumerate((upload, download, row["sum_reports"])):
                sums[place] += more
            before = by_subscriber.get(subscriber, Traffic())
            by_subscriber[subscriber] = Traffic(before.upload + upload, before.download + download)
    known = Server.objects.in_bulk(list(by_server))
    found = [_summed(known[pk], sums) for pk, sums in by_server.items()]
    return SubscribersStatistics(sorted(found, key=_most_first), by_subscriber)


def _summed(known: Server, sums: Sequence[int]) -> Share:
    upload, download, reports = sums
    return Share(
        known.host, known.port, known.protocol, upload, download, reports, server_id=known.pk
    )


def _most_first(share: Share) -> tuple[int, str, int, str]:
    return -share.total, share.server, share.port, share.protocol


def server_shares(window: Window) -> list[Share]:
    """The traffic of each server, most used first, including deleted servers."""
    return shares_of(ServerUsage.objects.since(window.start))


def shares_of(rows: SumsQuerySet, **more: Any) -> list[Share]:
    """The traffic of each server in these rows, most used first.

    Grouped by id and named afterwards: joining every row to its server would cost more than the sums.
    """
    found = list(rows.sums("server_id").annotate(**more))
    servers = Server.objects.in_bulk([row["server_id"] for row in found])
    shares = [_share(servers[row["server_id"]], row) for row in found]
    return sorted(shares, key=_most_first)


def _share(server: Server, row: dict[str, Any]) -> Share:
    return Share(
        server.host,
        server.port,
        server.protocol,
        row["sum_upload"],
        row["sum_download"],
        row["sum_reports"],
        row.get("last_used_at"),
        server.pk,
    )


def server(host: str, port: int, window: Window) -> ServerStatistics:
    """Figures of one server over all its protocols, and of each UTC day that saw traffic. Unknown server: nothing."""
    return _server_statistics(
        list(Server.objects.filter(host=host, port=port).values_list("pk", flat=True)), window
    )


def server_statistics(target: Server, window: Window) -> ServerStatistics:
    """The same of one protocol alone."""
    return _server_statistics([target.pk], window)


def _server_statistics(ids: list[int], window: Window) -> ServerStatistics:
    usage = Usage.objects.filter(server__in=ids).since(window.start)
    users_by_day = dict(
        usage.order_by()
        .annotate(day=ExpressionWrapper(F("hour") / 24, output_field=IntegerField()))
        .values_list("day")
        .annotate(users=Count("subscriber_id", distinct=True))
    )
    totals: dict[int, int] = defaultdict(int)
    reports = 0
    for row in ServerUsage.objects.filter(server__in=ids).since(window.start).sums("hour"):
        totals[(row["hour"] - EPOCH).days] += row["sum_upload"] + row["sum_download"]
        reports += row["sum_reports"]
    return ServerStatistics(
        users=usage.aggregate(users=Count("subscriber_id", distinct=True))["users"],
        total=sum(totals.values()),
        reports=reports,
        days=[
            Day((EPOCH + timedelta(days=day)).date(), total, users_by_day.get(day, 0))
            for day, total in sorted(totals.items())
        ],
    )


def server_users(target: Server, window: Window, limit: int) -> list[UserShare]:
    """The top subscribers of a server."""
    rows = list(Usage.objects.filter(server=target).since(window.start).sums("subscriber_id"))
    rows.sort(key=lambda row: -(row["sum_upload"] + row["sum_download"]))
    subscribers = Subscriber.objects.in_bulk([row["subscriber_id"] for row in rows[:limit]])
    return [
        UserShare(
            subscribers[row["subscriber_id"]],
            row["sum_upload"],
            row["sum_download"],
            row["sum_reports"],
        )
        for row in rows[:limit]
        if row["subscriber_id"] in subscribers
    ]


def users_of(server: int, window: Window) -> QuerySet[Usage, Any]:
    """The ids of subscribers who used a server, as a subquery."""
    return (
        Usage.objects.filter(server=server)
        .since(window.start)
        .order_by()
        .values("subscriber_id")
        .distinct()
    )


def last_hour(target: Server) -> datetime | None:
    """The latest hour with reports for a server."""
    return (
        ServerUsage.objects.filter(server=target)
        .order_by("-hour")
        .values_list("hour", flat=True)
        .first()
    )


def with_traffic(servers: ServerQuerySet, window: Window) -> ServerQuerySet:
    """Adds ``last_hour``, and ``upload``, ``download`` and ``total`` of the window for sorting.

    The last three are sums of floats, which cannot overflow but are not exact. ``traffic_of`` returns the
    exact bytes.
    """
    sums = ServerUsage.objects.filter(server=OuterRef("pk"))
    recent = sums.since(window.start).order_by().values("server_id")

    def column(counter: str | CombinedExpression) -> Coalesce:
        return Coalesce(
            Subquery(recent.annotate(part=Sum(Cast(counter, FloatField()))).values("part")), 0.0
        )

    return servers.annotate(last_hour=Subquery(sums.order_by("-hour").values("hour")[:1])).alias(
        upload=column("upload"),
        download=column("download"),
        total=column(F("upload") + F("download")),
    )


def traffic_of(servers: Iterable[Server], window: Window) -> dict[int, Traffic]:
    """Exact bytes by id, for servers that had any."""
    rows = (
        ServerUsage.objects.filter(server__in=[found.pk for found in servers])
        .since(window.start)
        .sums("server_id")
    )
    return {row["server_id"]: Traffic(row["sum_upload"], row["sum_download"]) for row in rows}


def user_series(token: str, window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    """Usage of one subscriber by hour or day of ``zone``, empty buckets included."""
    subscriber = find(token)
    rows = Usage.objects.filter(subscriber=subscriber) if subscriber else Usage.objects.none()
    return _series(rows, window, bucket, zone)


def subscriber_series(
    subscriber: Subscriber, windows: Sequence[Window], zone: ZoneInfo
) -> list[Series]:
    """By day in each of these windows, with one look at the records."""
    return _day_series(Usage.objects.filter(subscriber=subscriber), windows, zone)


def subscriber_days(subscriber: Subscriber, window: Window, zone: ZoneInfo) -> DaysByServer:
    """Usage of one subscriber by day of ``zone`` and by server, days without any included."""
    buckets = list(day_buckets(window, zone))
    edges = [_hour_of(bucket.edge) for bucket in buckets]
    days: dict[int, list[int]] = defaultdict(lambda: [0] * len(buckets))
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    rows = Usage.objects.filter(subscriber=subscriber).since(window.start)
    for server, hour, upload, download, reports in rows.values_list(
        "server_id", _HOUR, "upload", "download", "reports"
    ):
        # There is nothing before the first edge. Beyond the last is what a clock that ran ahead has stored.
        days[server][max(bisect_right(edges, hour) - 1, 0)] += upload + download
        row = sums[server]
        row[0] += upload
        row[1] += download
        row[2] += reports
    found = [
        _server_days(known, sums[pk], days[pk])
        for pk, known in Server.objects.in_bulk(list(sums)).items()
    ]
    found.sort(key=lambda row: _most_first(row.share))
    return DaysByServer([bucket.start for bucket in buckets], found)


def _server_days(known: Server, sums: list[int], days: list[int]) -> ServerDays:
    return ServerDays(_summed(known, sums), days)


def _hour_of(moment: datetime) -> int:
    return int(moment.timestamp()) // 3600


def global_series(window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    return _series(ServerUsage.objects.all(), window, bucket, zone)


def server_series(target: Server, windows: Sequence[Window], zone: ZoneInfo) -> list[Series]:
    """The same over all subscribers."""
    return _day_series(ServerUsage.objects.filter(server=target), windows, zone)


def _day_series(rows: SumsQuerySet, windows: Sequence[Window], zone: ZoneInfo) -> list[Series]:
    hours = list(rows.since(min(one.start for one in windows)).sums("hour"))
    return [series_of(hours, one, "day", zone) for one in windows]


def _series(rows: SumsQuerySet, window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    return series_of(rows.since(window.start).sums("hour"), window, bucket, zone)


def series_of(
    hours: Iterable[dict[str, Any]], window: Window, bucket: BucketSize, zone: ZoneInfo
) -> Series:
    """A series made of those sums by hour from ``SumsQuerySet.sums`` that are not before the window."""
    buckets = list((hour_buckets if bucket == "hour" else day_buckets)(window, zone))
    inside = (row for row in hours if row["hour"] >= window.start)
    return Series(
        bucket,
        window.start.astimezone(zone),
        window.now.astimezone(zone).replace(microsecond=0),
        _points(buckets, inside),
    )


def _points(buckets: Sequence[Bucket], hours: Iterable[dict[str, Any]]) -> list[Point]:
    edges = [bucket.edge for bucket in buckets]
    sums = [[0, 0, 0] for _ in buckets]
    for row in hours:
        # There is nothing before the first edge. Beyond the last is what a clock that ran ahead has stored.
        target = sums[max(bisect_right(edges, row["hour"]) - 1, 0)]
        for place, name in enumerate(("sum_upload", "sum_download", "sum_reports")):
            target[place] += row[name]
    return [Point(bucket.start, *total) for bucket, total in zip(buckets, sums, strict=True)]


def days_of_subscribers(subscribers: Sequence[int], window: Window) -> Iterator[DayUsage]:
    """Usage by UTC day and server, one subscriber after the other. It is read in steps, so any number is allowed."""
    for start in range(0, len(subscribers), _STEP):
        rows = Usage.objects.filter(subscriber__in=subscribers[start : start + _STEP]).since(
            window.start
        )
        yield from _days(rows, "subscriber_id", "day", "server_id")


def days_of_servers(servers: Sequence[int], window: Window) -> Iterator[DayUsage]:
    """Usage of servers over all subscribers, by UTC day."""
    for start in range(0, len(servers), _STEP):
        rows = ServerUsage.objects.filter(server__in=servers[start : start + _STEP]).since(
            window.start
        )
        yield from _days(rows, "server_id", "day")


def _days(rows: SumsQuerySet, *keys: str) -> Iterator[DayUsage]:
    by_day = rows.annotate(day=ExpressionWrapper(F("hour") / 24, output_field=IntegerField()))
    for row in by_day.sums(*keys).order_by(*keys).iterator():
        yield DayUsage(
            (EPOCH + timedelta(days=row["day"])).date(),
            row.get("subscriber_id", 0),
            row["server_id"],
            row["sum_upload"],
            row["sum_download"],
            row["sum_reports"],
        )


def usage_of(subscriber: Subscriber, now: datetime) -> SubscriberUsage:
    """Counters for the header, the limit and the admin. A period that has ended is empty, even without a new report."""
    balance = Balance.objects.filter(subscriber=subscriber).first()
    return _usage_in(subscriber, balance, now)


def usage_of_loaded(subscriber: Subscriber, now: datetime) -> SubscriberUsage:
    """``usage_of`` for one of many rows: their query has ``select_related("balance")``."""
    return _usage_in(subscriber, getattr(subscriber, "balance", None), now)


def _usage_in(subscriber: Subscriber, balance: Balance | None, now: datetime) -> SubscriberUsage:
    if balance is None:
        return SubscriberUsage()
    is_current = balance.period_start >= current_period(subscriber, now)
    return SubscriberUsage(
        balance.period_upload if is_current else 0,
        balance.period_download if is_current else 0,
        balance.life_upload,
        balance.life_download,
        balance.last_used_at,
    )


def life_total(subscriber: str) -> Subquery:
    """Bytes that a subscriber ever used, corrections included: a column of rows that refer to it by this name."""
    balance = Balance.objects.filter(subscriber=OuterRef(subscriber)).order_by()
    return Subquery(balance.values(total=F("life_upload") + F("life_download")))


def life_totals() -> Iterator[tuple[int, int]]:
    """Ids of all subscribers with what they ever used, in bytes."""
    total = F("life_upload") + F("life_download")
    return Balance.objects.order_by("pk").values_list("pk", total).iterator()


def totals_since(start: datetime) -> dict[int, int]:
    """Bytes by subscriber, of the hours that began at ``start`` or later."""
    rows = Usage.objects.since(ceil_hour(start)).sums("subscriber_id")
    return {row["subscriber_id"]: row["sum_upload"] + row["sum_download"] for row in rows}


def database() -> DatabaseInfo:
    """Counts from the rollup and the balances, without scanning records."""
    records = dict(
        ServerUsage.objects.order_by().values_list("server_id").annotate(records=Sum("records"))
    )
    endpoints = Server.objects.in_bulk(list(records)).values()
    return DatabaseInfo(
        path=engine.database_path(),
        records=sum(records.values()),
        users=Balance.objects.exclude(last_used_at=None).count(),
        servers=len({(found.host, found.port) for found in endpoints}),
        size=engine.database_size(),
    )


def last_used_at() -> datetime | None:
    """The time of the latest recorded traffic."""
    found: datetime | None = Balance.objects.aggregate(latest=Max("last_used_at"))["latest"]
    return found
