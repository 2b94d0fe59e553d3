"""Conditions of this app for ``doctor``, notifications, gauges and cards. Each fact is found once, here."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime

from operations.findings import Condition, Level, Watch
from operations.models import ApiKey
from operations.quota_levels import Level as FillLevel
from operations.quota_levels import level as fill_level
from traffic.conf import conf
from traffic.figures import overview, statistics
from traffic.figures import reporters as figures
from traffic.figures.overview import SILENT
from traffic.models import Reporter, Reseller, SetAside, Subscriber
from traffic.people import lapsed, quotas, tidying
from traffic.people import resellers as quotas_of_resellers
from traffic.people import server_limits as limits_on_servers
from traffic.people.quotas import EXPIRES_SOON
from traffic.periods import DAY
from traffic.reports import MAX_AHEAD

# More servers than any real panel has.
_MANY = 10_000
_NEWS = 7 * DAY


def retention(now: datetime) -> Iterator[Condition]:
    days = conf.retention_days
    yield Condition(code="retention-days" if days else "retention-for-ever", figures={"days": days})


def reports(now: datetime) -> Iterator[Condition]:
    """Whether traffic is reported, and whether its times fit our clock. ``since``: the time of the latest traffic."""
    latest = statistics.last_used_at()
    # Reports may be ahead of our clock by this much, so a larger difference means that a clock is wrong.
    if latest is not None and latest > now + MAX_AHEAD:
        yield Condition(code="clock-ahead", level=Level.ERROR, since=latest)
    yield _latest(latest, now)


def _latest(latest: datetime | None, now: datetime) -> Condition:
    if not conf.tracking_enabled:
        return Condition(code="tracking-off", level=Level.WARNING, since=latest)
    if latest is None:
        return Condition(code="reports-none")
    if now - latest > overview.SILENT:
        return Condition(code="reports-silent", level=Level.WARNING, since=latest)
    return Condition(code="reports-ok", since=latest)


def periods(now: datetime) -> Iterator[Condition]:
    """Periods that were begun by a clock that ran ahead: their limits are not enforced."""
    if count := Subscriber.objects.filter(tidying.in_future_periods(now)).count():
        yield Condition(code="periods-ahead", level=Level.ERROR, figures={"count": count})


def reporters(now: datetime) -> Iterator[Condition]:
    """Reporters and API keys that were in use and are silent. People's own devices may be silent."""
    known = figures.watched().select_related("api_key").order_by("pk")
    silent = [*_silent_keys(now), *_silent(known, now)]
    yield from silent
    if not silent and (known.exists() or overview.reporters(now).exists()):
        yield Condition(code="reporters-ok")


def _silent_keys(now: datetime) -> Iterator[Condition]:
    """Keys that have been used, but never to report anything."""
    for key in overview.silent_reporters(now):
        yield _silence(key.name, key.last_used_at, key)


def _silent(known: Iterable[Reporter], now: datetime) -> Iterator[Condition]:
    for reporter in known:
        if since := figures.silent_since(reporter, now):
            yield _silence(str(reporter), since, reporter)


def _silence(name: str, since: datetime | None, target: ApiKey | Reporter) -> Condition:
    return Condition(
        code="reporter-silent", level=Level.WARNING, subject=name, since=since, target=target
    )


def problems(now: datetime) -> Iterator[Condition]:
    """What reporters cannot read, as long as they report it."""
    seen = figures.watched().filter(last_seen_at__gte=now - SILENT, ended_at=None)
    for reporter in seen.select_related("api_key").order_by("pk"):
        if found := figures.problems(reporter):
            yield Condition(
                code="reporter-problem",
                level=Level.WARNING,
                subject=str(reporter),
                figures={"problems": "; ".join(found)},
                since=reporter.last_seen_at,
                target=reporter,
            )


def unknown_people(now: datetime) -> Iterator[Condition]:
    """Names that reporters use and nobody knows: their traffic waits for the operator."""
    counts = dict(figures.with_unknown_people())
    for reporter in Reporter.objects.filter(pk__in=counts).select_related("api_key").order_by("pk"):
        yield Condition(
            code="people-unknown",
            level=Level.WARNING,
            subject=str(reporter),
            figures={"people": counts[reporter.pk]},
            target=reporter,
        )


def set_aside(now: datetime) -> Iterator[Condition]:
    """Amounts on which the operator has to decide."""
    amounts = list(figures.waiting().values_list("upload", "download", "noticed_at"))
    if amounts:
        yield Condition(
            code="set-aside",
            level=Level.WARNING,
            figures={"waiting_bytes": sum(up + down for up, down, _ in amounts)},
            since=min(noticed for _, _, noticed in amounts),
        )


def servers(now: datetime) -> Iterator[Condition]:
    for silent in overview.silent_servers(now, _MANY):
        yield Condition(
            code="server-silent", subject=str(silent.who), since=silent.since, target=silent.who
        )


def limits(now: datetime) -> Iterator[Condition]:
    """Subscribers who used at least four fifths of their limit. ``period_start``: the start of the current period."""
    for subscriber in overview.near_limit(now, conf.time_zone):
        level = quotas.level(subscriber, subscriber.period_used)
        yield Condition(
            code="limit-reached" if level is FillLevel.OVER else "limit-near",
            subject=str(subscriber),
            figures={
                "used_bytes": subscriber.period_used,
                "limit_bytes": subscriber.data_limit,
                "period_start": subscriber.period_began,
            },
            target=subscriber,
        )


def server_limits(now: datetime) -> Iterator[Condition]:
    """Limits on servers of which at least four fifths are used, by a subscriber or by all together."""
    for one in limits_on_servers.reached(now, FillLevel.HIGH):
        person, filled = one.subscriber, one.filled
        name = str(filled.limit)
        yield Condition(
            code="server-limit-reached" if filled.is_over else "server-limit-near",
            subject=f"{person}, {name}" if person else name,
            figures={
                "limit_id": filled.limit.pk,
                "limit": name,
                "used_bytes": filled.used,
                "limit_bytes": filled.limit.data_limit,
                "period_start": one.period_start,
            },
            target=person or filled.limit,
        )


def resellers(now: datetime) -> Iterator[Condition]:
    """Quotas of resellers of which at least four fifths are given out."""
    rows = list(Reseller.objects.exclude(people_limit=None, data_limit=None).order_by("pk"))
    found = quotas_of_resellers.sums(rows, now) if rows else {}
    for row in rows:
        own = found[row.pk]
        yield from _filled(row, own.people, row.people_limit, is_traffic=False)
        yield from _filled(row, own.given_out, row.data_limit, is_traffic=True)


def _filled(
    row: Reseller, used: int, limit: int | None, *, is_traffic: bool
) -> Iterator[Condition]:
    level = None if limit is None else fill_level(used, limit)
    if level not in (FillLevel.HIGH, FillLevel.OVER):
        return
    is_over = level is FillLevel.OVER
    code = "reseller-people-reached" if is_over else "reseller-people-near"
    if is_traffic:
        code = "reseller-bytes-reached" if is_over else "reseller-bytes-near"
    figures = {"quota": "bytes" if is_traffic else "people", "used": used, "limit": limit}
    yield Condition(code=code, subject=str(row), figures=figures, target=row)


def lapsed_people(now: datetime) -> Iterator[Condition]:
    """Whom the next cleanup would switch off or delete."""
    found = lapsed.count(now)
    if found.switched_off or found.deleted:
        yield Condition(
            code="people-lapsed",
            figures={"switched_off": found.switched_off, "deleted": found.deleted},
        )


def expiries(now: datetime) -> Iterator[Condition]:
    for subscriber in overview.expiring(now, now + EXPIRES_SOON):
        yield Condition(
            code="expiring",
            subject=str(subscriber),
            figures={"expires_at": subscriber.expires_at},
            target=subscriber,
        )


def expired(now: datetime) -> Iterator[Condition]:
    """Those of the last week only."""
    for subscriber in overview.expired(now - _NEWS, now):
        yield Condition(
            code="expired",
            subject=str(subscriber),
            figures={"expires_at": subscriber.expires_at},
            target=subscriber,
        )


def implausible(now: datetime) -> Iterator[Condition]:
    """Amounts that were not counted in the last month: one condition per subscriber and day, with the first amount."""
    entries = SetAside.objects.filter(
        decision__in=(SetAside.Decision.OPEN, SetAside.Decision.REFUSED),
        noticed_at__gte=now - overview.GONE,
    )
    first: dict[tuple[int, date], SetAside] = {}
    for entry in entries.select_related("subscriber").order_by("pk")[:_MANY]:
        first.setdefault((entry.subscriber_id, entry.noticed_at.date()), entry)
    for entry in first.values():
        yield Condition(
            code="implausible",
            level=Level.WARNING,
            subject=str(entry.subscriber),
            since=entry.noticed_at,
            figures={"bytes": entry.upload + entry.download, "noticed_at": entry.noticed_at},
            target=entry.subscriber,
        )


WATCHES = (
    Watch(retention),
    Watch(reports),
    Watch(periods, is_quick=False),
    Watch(reporters),
    Watch(problems),
    Watch(unknown_people),
    Watch(set_aside),
    Watch(lapsed_people, is_quick=False),
)
