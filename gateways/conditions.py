"""Conditions of gateways for ``doctor``, notifications, gauges and the card of the first screen."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from operations.findings import Condition, Level, Watch

from .models import Gateway

# An agent asks every 15 seconds, and is noted once a minute.
SILENT = timedelta(minutes=5)
ENDS_SOON = timedelta(days=14)


def gateways(now: datetime) -> Iterator[Condition]:
    """For each gateway by name: the condition ``gateway``, then what is wrong with it."""
    for gateway in Gateway.objects.all():
        yield Condition(
            code="gateway",
            subject=gateway.name,
            figures={"online": gateway.online or 0},
            since=gateway.seen_at,
            target=gateway,
        )
        yield from wrong(gateway, now)


def wrong(gateway: Gateway, now: datetime) -> Iterator[Condition]:
    if gateway.seen_at is None:
        yield _found(gateway, "gateway-new", Level.WARNING, since=gateway.created_at)
        return
    if now - gateway.seen_at > SILENT:
        yield _found(gateway, "gateway-silent", Level.ERROR, since=gateway.seen_at)
    if gateway.complaint:
        yield _found(gateway, "gateway-refuses", Level.ERROR, complaint=gateway.complaint)
    if gateway.left_out:
        yield _found(gateway, "gateway-leaves-out", Level.WARNING, count=len(gateway.left_out))
    ends_at = gateway.certificate_ends_at
    if ends_at and ends_at - now < ENDS_SOON:
        level = Level.ERROR if ends_at <= now else Level.WARNING
        code = "gateway-certificate-ended" if ends_at <= now else "gateway-certificate-ends"
        yield _found(gateway, code, level, ends_at=ends_at)


def _found(
    gateway: Gateway, code: str, level: Level, since: datetime | None = None, **figures: object
) -> Condition:
    return Condition(
        code=code,
        level=level,
        subject=gateway.name,
        figures=figures,
        since=since,
        target=gateway,
    )


WATCHES = (Watch(gateways),)
