"""The only read path: every figure that anybody sees comes from here, as a frozen struct in whole bytes."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from django.conf import settings
from django.db import connection
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

from . import rollups
from .models import Balance, Server, ServerUsage, Subscriber, Usage
from .periods import EPOCH, Bucket, Window, day_buckets, hour_buckets
from .querysets import ServerQuerySet, SumsQuerySet
from .subscribers import current_period, find

TOP = 10
# Subscribers or servers whose days are read in one query.
_STEP = 200
BucketSize = Literal["hour", "day"]
# The stored number: thousands of them are not worth a datetime each.
_HOUR = ExpressionWrapper(F("hour"), output_field=IntegerField())


class Share(msgspec.Struct, frozen=True):
    """What went over one server, by its host, port and protocol. Bytes; ``connections``: reports."""

    server: str
    port: int
    protocol: str
    upload: int
    download: int
    connections: int
    last_used_at: datetime | None = None
    server_id: int = 0

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
    connections: int
    top_servers: list[Share]


class Day(msgspec.Struct, frozen=True):
    date: date
    total: int
    users: int


class DayUsage(msgspec.Struct, frozen=True):
    """What went over a server on a UTC day, of one subscriber or (0) of all. Bytes; ``connections``: reports."""

    date: date
    subscriber_id: int
    server_id: int
    upload: int
    download: int
    connections: int


class ServerStatistics(msgspec.Struct, frozen=True):
    users: int
    total: int
    connections: int
    days: list[Day]


class Point(msgspec.Struct, frozen=True):
    time: datetime
    upload: int
    download: int
    connections: int

    @property
    def total(self) -> int:
        return self.upload + self.download


class Series(msgspec.Struct, frozen=True):
    bucket: BucketSize
    start: datetime
    end: datetime
    points: list[Point]


class ServerDays(msgspec.Struct, frozen=True):
    """What went over one server, and the bytes of it on each day."""

    share: Share
    days: list[int]


class DaysByServer(msgspec.Struct, frozen=True):
    """``days``: the midnights with which they begin; ``servers``: most used first."""

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
    """Counters of one subscriber: of the current period, and of the whole life. Bytes."""

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
    """What one subscriber used on a server."""

    subscriber: Subscriber
    upload: int
    download: int
    connections: int

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


def user(token: str, window: Window) -> UserStatistics:
    """Usage of one subscriber by server, most used first; of an unknown or ill-formed token: nothing."""
    subscriber = find(token)
    return subscriber_statistics(subscriber, window) if subscriber else UserStatistics(0, [])


def subscriber_statistics(subscriber: Subscriber, window: Window) -> UserStatistics:
    rows = Usage.objects.filter(subscriber=subscriber).since(window.start)
    servers = _shares(rows, last_used_at=Max("last_used_at"))
    return UserStatistics(sum(share.total for share in servers), servers)


def overall(window: Window) -> GlobalStatistics:
    """The figures of the whole panel: from the rollup, so they cost the same with any number of subscribers."""
    shares = server_shares(window)
    return GlobalStatistics(
        users=Balance.objects.filter(last_used_at__gte=window.start).count(),
        servers=len({(share.server, share.port) for share in shares}),
        protocols=len({share.protocol for share in shares}),
        total=sum(share.total for share in shares),
        connections=sum(share.connections for share in shares),
        top_servers=shares[:TOP],
    )


def server_shares(window: Window) -> list[Share]:
    """What went over each server, most used first, deleted ones too."""
    return _shares(ServerUsage.objects.since(window.start))


def _shares(rows: SumsQuerySet, **more: Any) -> list[Share]:
    """Grouped by id and named afterwards: joining every row to its server would cost more than the sums."""
    found = list(rows.sums("server_id").annotate(**more))
    servers = Server.objects.in_bulk([row["server_id"] for row in found])
    shares = [_share(servers[row["server_id"]], row) for row in found]
    return sorted(shares, key=lambda share: (-share.total, share.server, share.port, share.protocol))


def _share(server: Server, row: dict[str, Any]) -> Share:
    return Share(
        server.host,
        server.port,
        server.protocol,
        row["sum_upload"],
        row["sum_download"],
        row["sum_connections"],
        row.get("last_used_at"),
        server.pk,
    )


def server(host: str, port: int, window: Window) -> ServerStatistics:
    """Figures of one server over all its protocols, and of each UTC day that saw traffic. Unknown server: nothing."""
    return _server_statistics(list(Server.objects.filter(host=host, port=port).values_list("pk", flat=True)), window)


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
    connections = 0
    for row in ServerUsage.objects.filter(server__in=ids).since(window.start).sums("hour"):
        totals[(row["hour"] - EPOCH).days] += row["sum_upload"] + row["sum_download"]
        connections += row["sum_connections"]
    return ServerStatistics(
        users=usage.aggregate(users=Count("subscriber_id", distinct=True))["users"],
        total=sum(totals.values()),
        connections=connections,
        days=[
            Day((EPOCH + timedelta(days=day)).date(), total, users_by_day.get(day, 0))
            for day, total in sorted(totals.items())
        ],
    )


def server_users(target: Server, window: Window, limit: int) -> list[UserShare]:
    """Who used a server most."""
    rows = list(Usage.objects.filter(server=target).since(window.start).sums("subscriber_id"))
    rows.sort(key=lambda row: -(row["sum_upload"] + row["sum_download"]))
    subscribers = Subscriber.objects.in_bulk([row["subscriber_id"] for row in rows[:limit]])
    return [
        UserShare(subscribers[row["subscriber_id"]], row["sum_upload"], row["sum_download"], row["sum_connections"])
        for row in rows[:limit]
        if row["subscriber_id"] in subscribers
    ]


def users_of(server: int, window: Window) -> QuerySet[Usage, Any]:
    """Ids of those who used a server: a subquery to choose subscribers by."""
    return Usage.objects.filter(server=server).since(window.start).order_by().values("subscriber_id").distinct()


def last_hour(target: Server) -> datetime | None:
    """The latest hour in which anything was reported of a server."""
    return ServerUsage.objects.filter(server=target).order_by("-hour").values_list("hour", flat=True).first()


def with_traffic(servers: ServerQuerySet, window: Window) -> ServerQuerySet:
    """Adds ``last_hour``, and to sort by: ``upload``, ``download`` and ``total`` of the window.

    Those three are only for the order: they are sums of floats, which no counter overflows. The bytes
    are told by ``traffic_of``.
    """
    sums = ServerUsage.objects.filter(server=OuterRef("pk"))
    recent = sums.since(window.start).order_by().values("server_id")

    def column(counter: str | CombinedExpression) -> Coalesce:
        return Coalesce(Subquery(recent.annotate(part=Sum(Cast(counter, FloatField()))).values("part")), 0.0)

    return servers.annotate(last_hour=Subquery(sums.order_by("-hour").values("hour")[:1])).alias(
        upload=column("upload"), download=column("download"), total=column(F("upload") + F("download"))
    )


def traffic_of(servers: Iterable[Server], window: Window) -> dict[int, Traffic]:
    """Exact bytes by id, of those servers that had any."""
    rows = ServerUsage.objects.filter(server__in=[found.pk for found in servers]).since(window.start).sums("server_id")
    return {row["server_id"]: Traffic(row["sum_upload"], row["sum_download"]) for row in rows}


def user_series(token: str, window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    """Usage of one subscriber by hour or day of ``zone``, empty buckets included."""
    subscriber = find(token)
    rows = Usage.objects.filter(subscriber=subscriber) if subscriber else Usage.objects.none()
    return _series(rows, window, bucket, zone)


def subscriber_series(subscriber: Subscriber, window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    return _series(Usage.objects.filter(subscriber=subscriber), window, bucket, zone)


def subscriber_days(subscriber: Subscriber, window: Window, zone: ZoneInfo) -> DaysByServer:
    """Usage of one subscriber by day of ``zone`` and by server, days without any included."""
    buckets = list(day_buckets(window, zone))
    edges = [_hour_of(bucket.edge) for bucket in buckets]
    days: dict[int, list[int]] = defaultdict(lambda: [0] * len(buckets))
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    rows = Usage.objects.filter(subscriber=subscriber).since(window.start)
    for server, hour, upload, download, reports in rows.values_list(
        "server_id", _HOUR, "upload", "download", "connections"
    ):
        # Before the first edge lies nothing; beyond the last, what a clock that ran ahead has stored.
        days[server][max(bisect_right(edges, hour) - 1, 0)] += upload + download
        row = sums[server]
        row[0] += upload
        row[1] += download
        row[2] += reports
    found = [_server_days(known, sums[pk], days[pk]) for pk, known in Server.objects.in_bulk(list(sums)).items()]
    found.sort(key=lambda row: (-row.share.total, row.share.server, row.share.port, row.share.protocol))
    return DaysByServer([bucket.start for bucket in buckets], found)


def _server_days(known: Server, sums: list[int], days: list[int]) -> ServerDays:
    upload, download, connections = sums
    return ServerDays(
        Share(known.host, known.port, known.protocol, upload, download, connections, server_id=known.pk), days
    )


def _hour_of(moment: datetime) -> int:
    return int(moment.timestamp()) // 3600


def global_series(window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    return _series(ServerUsage.objects.all(), window, bucket, zone)


def server_series(target: Server, window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    return _series(ServerUsage.objects.filter(server=target), window, bucket, zone)


def _series(rows: SumsQuerySet, window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    return series_of(rows.since(window.start).sums("hour"), window, bucket, zone)


def series_of(hours: Iterable[dict[str, Any]], window: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    """The series of sums by hour, as ``SumsQuerySet.sums`` tells them, none from before the window."""
    buckets = list((hour_buckets if bucket == "hour" else day_buckets)(window, zone))
    return Series(
        bucket,
        window.start.astimezone(zone),
        window.now.astimezone(zone).replace(microsecond=0),
        _points(buckets, hours),
    )


def _points(buckets: Sequence[Bucket], hours: Iterable[dict[str, Any]]) -> list[Point]:
    edges = [bucket.edge for bucket in buckets]
    sums = [[0, 0, 0] for _ in buckets]
    for row in hours:
        # Before the first edge lies nothing; beyond the last, what a clock that ran ahead has stored.
        target = sums[max(bisect_right(edges, row["hour"]) - 1, 0)]
        for place, name in enumerate(("sum_upload", "sum_download", "sum_connections")):
            target[place] += row[name]
    return [Point(bucket.start, *total) for bucket, total in zip(buckets, sums, strict=True)]


def days_of_subscribers(subscribers: Sequence[int], window: Window) -> Iterator[DayUsage]:
    """Usage by UTC day and server, one subscriber after the other; read in steps, so any number may be asked for."""
    for start in range(0, len(subscribers), _STEP):
        rows = Usage.objects.filter(subscriber__in=subscribers[start : start + _STEP]).since(window.start)
        yield from _days(rows, "subscriber_id", "day", "server_id")


def days_of_servers(servers: Sequence[int], window: Window) -> Iterator[DayUsage]:
    """Usage of servers over all subscribers, by UTC day."""
    for start in range(0, len(servers), _STEP):
        rows = ServerUsage.objects.filter(server__in=servers[start : start + _STEP]).since(window.start)
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
            row["sum_connections"],
        )


def usage_of(subscriber: Subscriber, now: datetime) -> SubscriberUsage:
    """Counters for header, limit and admin. A period that has ended counts as empty, though no report came since."""
    balance = Balance.objects.filter(subscriber=subscriber).first()
    if balance is None:
        return SubscriberUsage()
    is_current = balance.period_start >= current_period(subscriber, now).replace(microsecond=0)
    return SubscriberUsage(
        balance.period_upload if is_current else 0,
        balance.period_download if is_current else 0,
        balance.life_upload,
        balance.life_download,
        balance.last_used_at,
    )


def database() -> DatabaseInfo:
    """Counted from the rollup and the balances: never by scanning records."""
    records = dict(ServerUsage.objects.order_by().values_list("server_id").annotate(records=Sum("records")))
    endpoints = Server.objects.in_bulk(list(records)).values()
    return DatabaseInfo(
        path=_database_path(),
        records=sum(records.values()),
        users=Balance.objects.exclude(last_used_at=None).count(),
        servers=len({(found.host, found.port) for found in endpoints}),
        size=database_size(),
    )


def database_size() -> int:
    """Bytes that the database takes on disk."""
    return rollups.database_size()


def last_used_at() -> datetime | None:
    """When the latest traffic of which there is a record flowed."""
    found: datetime | None = Balance.objects.aggregate(latest=Max("last_used_at"))["latest"]
    return found


def _database_path() -> str:
    """The path as configured, or host and name of a PostgreSQL database; never credentials."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return str(getattr(settings, "XPERT_TRAFFIC_DB_PATH", database["NAME"]))
    return f"{database['HOST'] or 'localhost'}/{database['NAME']}"
