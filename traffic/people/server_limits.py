"""Limits on servers: which are used up for whom, and the operators' changes to them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.db.models.lookups import GreaterThanOrEqual

from operations import audit, quota_levels
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from operations.quota_levels import Level
from traffic.conf import conf
from traffic.ledger import limits, rollups
from traffic.ledger.lookup import Endpoint, current_period, endpoint_of, next_period
from traffic.models import NOBODY, LimitBalance, LimitedServer, ServerLimit, Subscriber

from . import quotas

# Fields on which the counters of a period depend.
_RESET = ("limit_reset", "reset_day", "reset_days")


class Filled(msgspec.Struct, frozen=True):
    """How far a limit is used, by one subscriber or by all together. ``resets_at``: when it starts again from zero."""

    limit: ServerLimit
    upload: int
    download: int
    resets_at: datetime | None

    @property
    def used(self) -> int:
        return self.upload + self.download

    @property
    def is_together(self) -> bool:
        return self.limit.is_together

    @property
    def level(self) -> Level:
        return quota_levels.level(self.used, self.limit.data_limit)

    @property
    def is_over(self) -> bool:
        return self.level is Level.OVER

    @property
    def percent(self) -> int:
        return quota_levels.percent(self.used, self.limit.data_limit)


class _Current(msgspec.Struct, frozen=True):
    """A limit with its current period. Subscribers share it, because finding a period takes longer than reading a row."""

    limit: ServerLimit
    start: datetime
    end: datetime | None

    def filled(self, balance: LimitBalance | None) -> Filled:
        if balance is None or balance.period_start < self.start:
            return Filled(self.limit, 0, 0, self.end)
        return Filled(self.limit, balance.period_upload, balance.period_download, self.end)


def _current(rows: Iterable[ServerLimit], now: datetime) -> dict[int, _Current]:
    return {
        limit.pk: _Current(limit, current_period(limit, now), next_period(limit, now))
        for limit in rows
    }


def of_subscribers(
    subscribers: Collection[Subscriber], now: datetime
) -> Mapping[int, Sequence[Filled]]:
    """The limits on servers of each, by id: three queries however many they are, one if there are no limits."""
    ids = [row.pk for row in subscribers]
    known = _current(ServerLimit.objects.filter(Q(subscriber=None) | Q(subscriber__in=ids)), now)
    if not known:
        return {}
    rows = LimitBalance.objects.filter(limit__in=known, subscriber__in=[NOBODY, *ids])
    balances = {(row.subscriber_id, row.limit_id): row for row in rows}
    return {
        row.pk: [
            one.filled(balances.get((_counts_for(one.limit, row.pk), pk)))
            for pk, one in known.items()
            if one.limit.is_for(row)
        ]
        for row in subscribers
    }


def of_subscriber(subscriber: Subscriber, now: datetime) -> Sequence[Filled]:
    return of_subscribers([subscriber], now).get(subscriber.pk, ())


def _counts_for(limit: ServerLimit, subscriber: int) -> int:
    return NOBODY if limit.is_together else subscriber


class Reached(msgspec.Struct, frozen=True):
    """A limit that somebody has reached or nearly reached. ``subscriber``: None = all together."""

    subscriber: Subscriber | None
    filled: Filled
    period_start: datetime


def reached(now: datetime, level: Level = Level.OVER, margin: int = 0) -> Iterator[Reached]:
    """All limits that somebody has filled to this level or above, or to within ``margin`` bytes."""
    used = F("period_upload") + F("period_download")
    least = F("limit__data_limit") - margin
    if level is Level.HIGH:
        least -= F("limit__data_limit") / 5
    rows = LimitBalance.objects.annotate(used=used).filter(used__gte=least)
    found = list(rows.select_related("limit").order_by("limit_id", "subscriber_id"))
    known = _current({row.limit_id: row.limit for row in found}.values(), now)
    balances = [row for row in found if row.period_start >= known[row.limit_id].start]
    people = Subscriber.objects.visible().in_bulk({row.subscriber_id for row in balances})
    for row in balances:
        one, person = known[row.limit_id], people.get(row.subscriber_id)
        if row.subscriber_id == NOBODY or (person is not None and one.limit.is_for(person)):
            yield Reached(person, one.filled(row), row.period_start)


def with_usage(rows: QuerySet[ServerLimit], now: datetime) -> QuerySet[ServerLimit]:
    """Adds ``used``, in bytes of all together or of the subscriber who has used most, and ``used_up_by``: how many.

    It joins the balances, which Citus spreads: there it refuses a subquery for each limit.
    """
    used: Any = F("balances__period_upload") + F("balances__period_download")
    counts = Q(balances__period_start__gte=F("period_began")) & (
        Q(plan=None) | Q(balances__subscriber__plan=F("plan"))
    )
    return rows.annotate(
        period_began=quotas.began(now, conf.time_zone),
        used=Coalesce(Max(used, filter=counts), 0),
        used_up_by=Count(
            "balances__subscriber_id",
            filter=counts & Q(GreaterThanOrEqual(used, F("data_limit"))),
        ),
    )


def of_period(limit: Any, start: Any) -> QuerySet[LimitBalance]:
    """The balances of a limit in the period that began at ``start``, of those to whom it applies, with ``used``."""
    has_plan = Subscriber.objects.filter(pk=OuterRef("subscriber_id"), plan=OuterRef("limit__plan"))
    return (
        LimitBalance.objects.filter(limit=limit, period_start__gte=start)
        .filter(Q(limit__plan=None) | Exists(has_plan))
        .annotate(used=F("period_upload") + F("period_download"))
        .filter(used__gt=0)
    )


class UsedUp(msgspec.Struct, frozen=True):
    """The servers that people may not use now. ``of``: by id of a person.

    ``left``: bytes that are left of limits that are nearly used up, by id of a person, or ``NOBODY`` for all together.
    """

    everybody: frozenset[Endpoint] = frozenset()
    of: Mapping[int, frozenset[Endpoint]] = {}
    left: Mapping[int, int] = {}

    def closed_to(self, subscriber: int) -> frozenset[Endpoint]:
        return self.everybody | self.of.get(subscriber, frozenset())

    def least_left(self, subscriber: int, own: int | None) -> int | None:
        """Bytes left of the first limit that this person will reach; ``own``: of their own data limit."""
        found = (own, self.left.get(subscriber), self.left.get(NOBODY))
        return min((left for left in found if left is not None), default=None)


def used_up(now: datetime, margin: int) -> UsedUp:
    """``margin``: a limit with at most this many bytes left is nearly used up."""
    found = list(reached(now, margin=margin))
    over = [one for one in found if one.filled.is_over]
    servers = servers_of({one.filled.limit.pk for one in over})
    everybody: set[Endpoint] = set()
    people: dict[int, set[Endpoint]] = defaultdict(set)
    for one in over:
        closed = people[one.subscriber.pk] if one.subscriber else everybody
        closed |= servers[one.filled.limit.pk]
    closed_to = {pk: frozenset(closed) for pk, closed in people.items()}
    return UsedUp(
        frozenset(everybody), closed_to, _left(one for one in found if not one.filled.is_over)
    )


def _left(near: Iterable[Reached]) -> Mapping[int, int]:
    left: dict[int, int] = {}
    for one in near:
        whose = one.subscriber.pk if one.subscriber else NOBODY
        rest = quota_levels.left(one.filled.used, one.filled.limit.data_limit)
        left[whose] = min(rest, left.get(whose, rest))
    return left


def servers_of(ids: Collection[int]) -> Mapping[int, set[Endpoint]]:
    """The servers of these limits, by the limit's id."""
    found: dict[int, set[Endpoint]] = defaultdict(set)
    for row in LimitedServer.objects.filter(limit__in=ids) if ids else ():
        found[row.limit_id].add(endpoint_of(row))
    return found


# Operators' changes


@write_transaction
def add(limit: ServerLimit, servers: Iterable[Endpoint], by: By) -> None:
    """Store a new limit on these servers. Raises IntegrityError when its fields contradict each other."""
    rollups.hold_off_reports()
    limits.begin(limit, servers, by.now)
    audit.note(Action.ADDED, limit, by)


@write_transaction
def change(limit: ServerLimit, values: Mapping[str, Any], by: By) -> bool:
    """Give fields these values; return whether any was different. Another reset counts the period again."""
    rollups.hold_off_reports()
    found = ServerLimit.objects.select_for_update().get(pk=limit.pk)
    before = audit.values(found, values)
    for name, value in values.items():
        setattr(found, name, value)
    changes = audit.differences(found, before)
    if not changes:
        return False
    found.save(update_fields=list(values))
    if any(name in changes for name in _RESET):
        limits.count_again(found, by.now)
    audit.note(Action.CHANGED, found, by, changes)
    return True


@write_transaction
def remove(limit: ServerLimit, by: By) -> None:
    rollups.hold_off_reports()  # else one that is under way may leave a balance of it behind
    audit.note(Action.DELETED, limit, by)
    limit.delete()


@write_transaction
def restart(limit: ServerLimit, by: By, subscriber: Subscriber | None = None) -> None:
    """Start the period of a limit again from zero: the period of all, or of one subscriber."""
    rollups.hold_off_reports()
    balances = LimitBalance.objects.filter(limit=limit)
    if subscriber is None:
        old, limit.reset_at = limit.reset_at, by.now.replace(microsecond=0)
        limit.save(update_fields=["reset_at"])
        limits.restart(balances, by.now)
        audit.note(Action.RESTARTED, limit, by, {"reset_at": (old, limit.reset_at)})
        return
    limits.restart(balances.filter(subscriber=subscriber), by.now)
    audit.note(Action.RESTARTED, limit, by, {"subscriber": (None, str(subscriber))})


@write_transaction
def extend(limit: ServerLimit, servers: Iterable[Endpoint], now: datetime) -> int:
    """Add servers to a limit; return how many were new."""
    rollups.hold_off_reports()
    return limits.extend(limit, servers, now)
