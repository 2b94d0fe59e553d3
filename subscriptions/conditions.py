"""Conditions of sources for ``doctor``, notifications, gauges and the card of the first screen."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet

from operations.findings import Condition, Level, Watch
from operations.quota_levels import percent

from .models import Endpoint, Source, Template

# A source without a successful fetch for this long is an error, not a warning.
BROKEN = timedelta(days=1)
# The percentage of used traffic that is reported, and the time before its end when a subscription is reported.
RUNNING_OUT = 90
ENDS_SOON = timedelta(days=3)
# How long a server that came back is news, and the number above which servers share one notification.
TOLD_UP = timedelta(days=1)
MANY = 10


def expected() -> dict[str, timedelta]:
    """Commands that a timer should start, if there is something for them to do."""
    found: dict[str, timedelta] = {}
    if Source.objects.filter(enabled=True).exists():
        found["refresh_sources"] = timedelta(hours=2)
    if Endpoint.objects.exists():
        found["check_nodes"] = timedelta(hours=1)
    return found


def sources(now: datetime) -> Iterator[Condition]:
    """For each enabled source by priority: the condition ``source``, then its problems."""
    enabled = list(Source.objects.filter(enabled=True))
    wrong = {source.pk: list(_wrong(source, now)) for source in enabled}
    for source in enabled:
        yield from (_source(source), *wrong[source.pk])
    if enabled and not any(wrong.values()):
        yield Condition(code="sources-ok", figures={"count": len(enabled)})


def _source(source: Source) -> Condition:
    """``since``: the last success."""
    used, total = provider_used(source), source.provider_total
    figures = {"failures": source.failures, "used_bytes": used, "total_bytes": total}
    return Condition(
        code="source",
        subject=source.name,
        figures=figures | {"ends_at": provider_end(source)},
        since=source.last_success,
        target=source,
    )


def _wrong(source: Source, now: datetime) -> Iterator[Condition]:
    if source.last_error:
        yield _failing(source, now)
    if (
        source.provider_total
        and percent(provider_used(source), source.provider_total) >= RUNNING_OUT
    ):
        yield _running_out(source)
    if ends := source.provider_expire:
        yield from _ending(source, ends, now)


def _failing(source: Source, now: datetime) -> Condition:
    """``since``: the last success, or when the source was added."""
    is_broken = source.last_success is None or now - source.last_success > BROKEN
    return Condition(
        code="source-failing",
        level=Level.ERROR if is_broken else Level.WARNING,
        subject=source.name,
        figures={"error": source.last_error, "failures": source.failures},
        since=source.last_success or source.added_at,
        target=source,
    )


def _running_out(source: Source) -> Condition:
    used, total = provider_used(source), source.provider_total or 0
    return Condition(
        code="provider-used-up" if used >= total else "provider-running-out",
        level=Level.WARNING,
        subject=source.name,
        figures={
            "percent": percent(used, total),
            "used_bytes": used,
            "total_bytes": total,
        },
        target=source,
    )


def _ending(source: Source, ends: int, now: datetime) -> Iterator[Condition]:
    """``ends``: Unix seconds from the provider, so it may be any number."""
    if ends > (now + ENDS_SOON).timestamp():
        return
    yield Condition(
        code="provider-ends" if ends > now.timestamp() else "provider-ended",
        level=Level.WARNING,
        subject=source.name,
        figures={"expires_at": provider_end(source)},
        target=source,
    )


def provider_used(source: Source) -> int:
    """Added in Python, because a provider's numbers may be too large for a sum in the database."""
    return (source.provider_upload or 0) + (source.provider_download or 0)


def provider_end(source: Source) -> datetime | None:
    """The end of a provider's subscription; None if the number is beyond the calendar."""
    seconds = source.provider_expire
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def servers(now: datetime) -> Iterator[Condition]:
    """How many of the servers that are checked answer."""
    up, down = Q(state=Endpoint.State.UP), Q(settled=Endpoint.State.DOWN)
    counts = Endpoint.objects.aggregate(
        total=Count("pk"), up=Count("pk", filter=up), down=Count("pk", filter=down)
    )
    if not counts["total"]:
        return
    is_down = counts["down"] > 0
    code = "servers-down" if is_down else "servers-ok"
    level = Level.WARNING if is_down else Level.OK
    yield Condition(code=code, level=level, figures={"up": counts["up"], "total": counts["total"]})


def server_changes(now: datetime) -> Iterator[Condition]:
    """Servers that are down, and those that came back within a day; one condition for all if they are many."""
    down = Endpoint.objects.filter(settled=Endpoint.State.DOWN)
    back = Endpoint.objects.filter(settled=Endpoint.State.UP, settled_at__gte=now - TOLD_UP)
    yield from _each_or_together(down, "server-down", "many-servers-down")
    yield from _each_or_together(back, "server-up", "many-servers-up")


def _each_or_together(
    rows: QuerySet[Endpoint], code: str, code_of_many: str
) -> Iterator[Condition]:
    endpoints = list(rows.order_by("pk"))
    if len(endpoints) > MANY:
        yield Condition(code=code_of_many, **_of_many(endpoints))
    else:
        yield from (Condition(code=code, **_of_one(endpoint)) for endpoint in endpoints)


def _of_one(endpoint: Endpoint) -> dict[str, Any]:
    """``since``: when its state settled; in the figures: since when it has not answered."""
    return {
        "level": Level.WARNING,
        "subject": str(endpoint),
        "since": endpoint.settled_at,
        "figures": {"since": endpoint.down_since or endpoint.settled_at},
        "target": endpoint,
    }


def _of_many(endpoints: list[Endpoint]) -> dict[str, Any]:
    names = [str(endpoint) for endpoint in endpoints]
    return {
        "level": Level.WARNING,
        "figures": {"count": len(names), "names": names},
        "since": max(endpoint.settled_at for endpoint in endpoints if endpoint.settled_at),
    }


def templates(now: datetime) -> Iterator[Condition]:
    """Templates instead of which people get the built-in list."""
    for template in Template.objects.filter(in_use=True, failed_at__isnull=False):
        yield Condition(
            code="template-failing",
            level=Level.ERROR,
            subject=template.name,
            figures={"error": template.failure},
            since=template.failed_at,
            target=template,
        )


WATCHES = (Watch(sources), Watch(servers), Watch(templates))
