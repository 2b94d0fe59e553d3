"""Plans: what a subscriber gets when one is applied, and renewing."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from operations.audit import Action, By, Changes
from traffic.ledger import terms
from traffic.ledger.next_plans import allowance, applied
from traffic.ledger.recording import restart_period
from traffic.models import Plan, Subscriber

from . import changes


def values(plan: Plan, now: datetime) -> dict[str, Any]:
    """The fields of a subscriber who gets this plan now."""
    return {**allowance(plan), **_term(plan, now)}


def _term(plan: Plan, now: datetime) -> dict[str, Any]:
    if plan.from_first_use or plan.days is None:
        return {"expires_at": None, "hold_days": plan.days}
    return {"expires_at": terms.after(now, plan.days), "hold_days": None}


def apply(subscribers: Iterable[int], plan: Plan, by: By) -> int:
    """Set limit, reset and term as the plan says, the term counted from now; return how many subscribers changed."""
    return changes.edit(subscribers, values(plan, by.now), by, further(plan))


def further(plan: Plan) -> changes.Further:
    """What other apps change of subscribers who get this plan, such as their groups."""
    return lambda rows: applied(rows, plan)


class Renewal(NamedTuple):
    """How many subscribers were renewed, and the ids of those who have no plan."""

    renewed: int
    without_plan: Collection[int]


def renew(subscribers: Iterable[int], by: By, days: int | None = None) -> Renewal:
    """Extend the term by the days of the plan, or by ``days``, and start a period.

    Subscribers without a plan are renewed only if ``days`` are given. A subscriber without an expiry stays without one.
    """
    known = Plan.objects.in_bulk()
    without_plan: set[int] = set()

    def change(subscriber: Subscriber) -> Changes | None:
        plan = known.get(subscriber.plan_id or 0)
        if plan is None and days is None:
            without_plan.add(subscriber.pk)
            return None
        more = days if plan is None or days is not None else plan.days
        period = subscriber.reset_at
        longer = None if more is None else changes.lengthen(subscriber, more, by.now)
        restart_period(subscriber, by.now)
        return {**(longer or {}), "reset_at": (period, subscriber.reset_at)}

    return Renewal(changes.each(Action.RENEWED, subscribers, change, by), without_plan)
