"""Looking up subscribers by token, and what state they are in."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from . import rollups
from .conf import conf
from .models import Subscriber
from .periods import period_end, period_start
from .reports import is_token


class State(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    LIMITED = "limited"


class Known(msgspec.Struct, frozen=True):
    """What recording needs of a subscriber. ``period_start``: Unix seconds."""

    id: int
    period_start: int


def find(token: str) -> Subscriber | None:
    return Subscriber.objects.visible().filter(token=token).first() if is_token(token) else None


def find_or_create(token: str) -> Subscriber | None:
    """The subscriber of a valid token, made when there is none; None for an invalid token or a deleted subscriber."""
    if not is_token(token):
        return None
    subscriber, _ = Subscriber.objects.get_or_create(token=token)
    return None if subscriber.hidden_at else subscriber


def create(tokens: Iterable[str], now: datetime) -> dict[str, Known]:
    """Make subscribers of valid tokens; those that are there already, deleted ones too, stay as they are."""
    new = [Subscriber(token=token) for token in sorted(tokens)]
    Subscriber.objects.bulk_create(new, ignore_conflicts=True)
    return resolve([subscriber.token for subscriber in new], now)


def resolve(tokens: Iterable[str], now: datetime) -> dict[str, Known]:
    """The subscribers of these tokens, without the unknown and the deleted."""
    found = rollups.find_subscribers(tokens)
    zone = conf.time_zone
    starts = {key: int(period_start(key[0], now, zone, key[1]).timestamp()) for key in {row[2:4] for row in found}}
    return {token: Known(pk, max(starts[reset, day], reset_at or 0)) for token, pk, reset, day, reset_at in found}


def current_period(subscriber: Subscriber, now: datetime) -> datetime:
    """When the period began in which ``now`` falls: by the calendar, or by hand if that was later."""
    start = period_start(subscriber.limit_reset, now, conf.time_zone, subscriber.reset_day)
    return max(start, subscriber.reset_at) if subscriber.reset_at else start


def next_period(subscriber: Subscriber, now: datetime) -> datetime | None:
    """When the counters of the period start again from nothing by themselves; None when they never do."""
    return period_end(subscriber.limit_reset, now, conf.time_zone, subscriber.reset_day)


def state(subscriber: Subscriber, period_used: int, now: datetime) -> State:
    """``period_used``: bytes up and down of the current period. At the limit counts as over it."""
    if not subscriber.is_active:
        return State.DISABLED
    if subscriber.expires_at and subscriber.expires_at <= now:
        return State.EXPIRED
    if subscriber.data_limit is not None and period_used >= subscriber.data_limit:
        return State.LIMITED
    return State.ACTIVE
