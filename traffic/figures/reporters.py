"""What reporters have reported: figures of each, and of one subscriber or server by reporter."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import msgspec
from django.db.models import Count, FloatField, Q, QuerySet, Sum
from django.db.models.functions import Cast

from operations.databases.exact_sum import ExactSum
from traffic.models import (
    MeteredPerson,
    Reporter,
    Server,
    ServerUsage,
    SetAside,
    Subscriber,
    Told,
    Usage,
)
from traffic.periods import DAY, HOUR, Window, floor_day

# A reporter is silent after three of its expected intervals, but not before this time.
PATIENCE = HOUR
# The same for single reports, whose interval depends on when people use a server.
PATIENCE_WITH_SINGLE_REPORTS = DAY
_INTERVALS = 3
# After this time a reporter counts as gone, not as silent.
GONE = 30 * DAY


class Figures(msgspec.Struct, frozen=True):
    """Figures of one reporter. ``people``: subscribers it reported about today or yesterday (UTC); ``unknown``: people nobody knows.

    ``today``: bytes that counted today; ``control``: bytes that did not, because a better reporter sees them.
    """

    people: int = 0
    unknown: int = 0
    today: int = 0
    control: int = 0


class Share(msgspec.Struct, frozen=True):
    """What one reporter reported; without a reporter, the rest: single reports without a key, and imports."""

    reporter: Reporter | None
    upload: int
    download: int
    control: int = 0

    @property
    def total(self) -> int:
        return self.upload + self.download


class PersonShare(msgspec.Struct, frozen=True):
    """What a reporter reported about one subscriber."""

    subscriber: Subscriber
    total: int
    control: int


def watched() -> QuerySet[Reporter]:
    """Without people's own devices and accounts, which are on the page of the person alone."""
    return Reporter.objects.filter(subscriber=None).exclude(kind=Reporter.Kind.ACCOUNT)


def figures_of(ids: Collection[int], now: datetime) -> dict[int, Figures]:
    today = floor_day(now)
    rows = Told.objects.filter(reporter__in=ids, day__gte=today - DAY).order_by()
    people = dict(
        rows.values_list("reporter_id").annotate(people=Count("subscriber_id", distinct=True))
    )
    bytes_ = {pk: (counted, control) for pk, counted, control in _bytes(rows.filter(day=today))}
    unknown = dict(
        MeteredPerson.objects.filter(reporter__in=ids, subscriber=None)
        .order_by()
        .values_list("reporter_id")
        .annotate(unknown=Count("pk"))
    )
    return {
        pk: Figures(people.get(pk, 0), unknown.get(pk, 0), *bytes_.get(pk, (0, 0))) for pk in ids
    }


def _bytes(rows: QuerySet[Told]) -> Iterable[tuple[int, int, int]]:
    sums = rows.values_list("reporter_id").annotate(
        up=ExactSum("upload"),
        down=ExactSum("download"),
        control_up=ExactSum("control_upload"),
        control_down=ExactSum("control_download"),
    )
    for pk, up, down, control_up, control_down in sums:
        yield pk, up + down, control_up + control_down


def silent_since(reporter: Reporter, now: datetime) -> datetime | None:
    """When it was last heard of, if more should have come since; None: it is not silent."""
    if reporter.ended_at is not None or _is_closed(reporter, now):
        return None
    silence = now - reporter.last_seen_at
    return reporter.last_seen_at if _patience(reporter) < silence <= GONE else None


def _is_closed(reporter: Reporter, now: datetime) -> bool:
    """Whether its key was revoked or has expired: nothing is expected of it."""
    key = reporter.api_key
    if key is None:
        return False
    return key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now)


def _patience(reporter: Reporter) -> timedelta:
    least = PATIENCE_WITH_SINGLE_REPORTS if reporter.kind == Reporter.Kind.WEBHOOK else PATIENCE
    if reporter.interval is None:
        return PATIENCE_WITH_SINGLE_REPORTS
    return max(least, timedelta(seconds=_INTERVALS * reporter.interval))


def problems(reporter: Reporter) -> list[str]:
    """What it cannot read, in its own words."""
    return [
        f"{source.get('name', '')}: {source.get('error') or '?'}"
        for source in reporter.sources
        if not source.get("ok", True)
    ]


def of_subscriber(subscriber: Subscriber, span: Window) -> list[Share]:
    """Most first. ``span`` is rounded down to whole UTC days."""
    start = floor_day(span.start)
    told = Told.objects.filter(subscriber=subscriber, day__gte=start)
    usage = Usage.objects.since(start).filter(subscriber=subscriber).sums("subscriber")
    return _shares(told, next(iter(usage), None))


def of_server(server: Server, span: Window) -> list[Share]:
    """Most first. ``span`` is rounded down to whole UTC days."""
    start = floor_day(span.start)
    told = Told.objects.filter(server=server, day__gte=start)
    usage = ServerUsage.objects.since(start).filter(server=server).sums("server")
    return _shares(told, next(iter(usage), None))


def _shares(told: QuerySet[Told], usage: dict[str, int] | None) -> list[Share]:
    rows = (
        told.order_by()
        .values_list("reporter_id")
        .annotate(
            up=ExactSum("upload"),
            down=ExactSum("download"),
            control_up=ExactSum("control_upload"),
            control_down=ExactSum("control_download"),
        )
    )
    found = {pk: figures for pk, *figures in rows}
    reporters = Reporter.objects.select_related("api_key", "subscriber").in_bulk(list(found))
    shares = [
        Share(reporters[pk], up, down, control_up + control_down)
        for pk, (up, down, control_up, control_down) in found.items()
    ]
    rest = _rest(shares, usage)
    if shares and rest.total:
        shares.append(rest)
    return sorted(shares, key=lambda share: -share.total)


def _rest(shares: Iterable[Share], usage: dict[str, int] | None) -> Share:
    used = usage or {"sum_upload": 0, "sum_download": 0}
    up = used["sum_upload"] - sum(share.upload for share in shares)
    down = used["sum_download"] - sum(share.download for share in shares)
    return Share(None, max(up, 0), max(down, 0))


def people_of(reporter: Reporter, span: Window, limit: int) -> list[PersonShare]:
    """The subscribers about whom it reported most."""
    rows = (
        Told.objects.filter(reporter=reporter, day__gte=floor_day(span.start))
        .order_by()
        .values_list("subscriber_id")
        .annotate(
            up=ExactSum("upload"),
            down=ExactSum("download"),
            control_up=ExactSum("control_upload"),
            control_down=ExactSum("control_download"),
            # Exact sums are texts: ranked by floats, which cannot overflow either.
            rank=Sum(Cast("upload", FloatField())) + Sum(Cast("download", FloatField())),
        )
        .order_by("-rank", "subscriber_id")[:limit]
    )
    found = list(rows)
    people = Subscriber.objects.in_bulk([row[0] for row in found])
    return [
        PersonShare(people[pk], up + down, control_up + control_down)
        for pk, up, down, control_up, control_down, _rank in found
        if pk in people
    ]


def unknown_people(reporter: Reporter) -> QuerySet[MeteredPerson]:
    return MeteredPerson.objects.filter(reporter=reporter, subscriber=None).order_by("name", "pk")


def waiting() -> QuerySet[SetAside]:
    """Amounts on which the operator has to decide."""
    found = SetAside.objects.filter(decision=SetAside.Decision.OPEN)
    return found.select_related("subscriber", "server").order_by("pk")


def with_unknown_people() -> QuerySet[Reporter, tuple[int, int]]:
    """Id of each reporter and the number of its people whom nobody knows."""
    rows: QuerySet[Reporter, tuple[int, int]] = (
        Reporter.objects.filter(Q(people__subscriber=None), people__isnull=False)
        .order_by()
        .values_list("pk")
        .annotate(unknown=Count("people"))
    )
    return rows
