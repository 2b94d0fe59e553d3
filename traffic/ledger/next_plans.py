"""Plans that were bought ahead begin here, each once: the subscriber's row is locked.

They begin in the transaction of a report: before the report is counted if the term has ended, after it if the report
uses up the data limit. They also begin when somebody asks. So usage after the end counts in the new period, and usage
before it in the old one.
"""

from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import F

from operations import audit
from operations.audit import Action, By, Changes
from operations.extension import extensions
from traffic.models import Balance, NextPlan, Plan, Subscriber

from . import terms
from .lookup import current_period

_AUTHOR = "next plan"
_Begins = NextPlan.Begins
_FIELDS = (
    "plan", "data_limit", "limit_reset", "reset_day", "reset_days", "device_limit", "expires_at", "hold_days", "reset_at",
)  # fmt: skip


def begin(subscribers: Collection[int], now: datetime) -> int:
    """Begin the next plans of these subscribers that are due; return how many began. Call it inside a transaction."""
    rows = Subscriber.objects.filter(pk__in=subscribers, has_next=True)
    return sum(_begin(row, now) for row in rows.order_by("pk").select_for_update())


def applied(rows: Sequence[Subscriber], plan: Plan) -> Mapping[int, Changes]:
    """What other apps change of locked subscribers who get this plan, such as their groups; the changes by id."""
    asked = [extension.plan_applied for extension in extensions() if extension.plan_applied]
    made = [apply_to(rows, plan) for apply_to in asked]
    return {row.pk: dict(ChainMap(*(part.get(row.pk, {}) for part in made))) for row in rows}


def allowance(plan: Plan) -> dict[str, Any]:
    """The fields of a subscriber who gets this plan, without those of the term."""
    return {
        "plan": plan,
        "data_limit": plan.data_limit,
        "limit_reset": plan.limit_reset,
        "reset_day": plan.reset_day,
        "reset_days": plan.reset_days,
        "device_limit": plan.device_limit,
    }


def _begin(subscriber: Subscriber, now: datetime) -> int:
    """A plan whose whole term has passed already is followed by the one after it."""
    count = 0
    while (due := _due(subscriber, now)) is not None:
        _start(subscriber, *due, now)
        count += 1
    return count


def _due(subscriber: Subscriber, now: datetime) -> tuple[NextPlan, datetime] | None:
    """The next plan and when it begins: where the term ended, so that no day is lost, but not before it was bought."""
    following = subscriber.next_plans.select_related("plan").first()
    if following is None:
        return None
    ended = subscriber.expires_at
    if ended is not None and ended <= now:
        begins = max(ended, following.added_at)
        return None if following.begins == _Begins.QUOTA else (following, begins)
    is_due = following.begins != _Begins.TERM and _is_used_up(subscriber, now)
    return (following, now) if is_due else None


def _is_used_up(subscriber: Subscriber, now: datetime) -> bool:
    if subscriber.data_limit is None:
        return False
    used = F("period_upload") + F("period_download")
    rows = Balance.objects.filter(subscriber=subscriber).annotate(used=used)
    start = current_period(subscriber, now)
    return rows.filter(used__gte=subscriber.data_limit, period_start__gte=start).exists()


def _start(subscriber: Subscriber, following: NextPlan, at: datetime, now: datetime) -> None:
    before = audit.values(subscriber, _FIELDS)
    for name, value in {**allowance(following.plan), **_term(following.plan, at)}.items():
        setattr(subscriber, name, value)
    start = at.replace(microsecond=0)
    subscriber.reset_at = subscriber.started_at = start
    if not following.renews:
        following.delete()
    subscriber.has_next = subscriber.next_plans.exists()
    subscriber.save(update_fields=[*_FIELDS, "started_at", "has_next"])
    Balance.objects.of(subscriber).update(period_start=start, period_upload=0, period_download=0)
    made = {
        **audit.differences(subscriber, before),
        **applied([subscriber], following.plan)[subscriber.pk],
    }
    audit.note(Action.RENEWED, subscriber, By(_AUTHOR, now), made)


def _term(plan: Plan, at: datetime) -> dict[str, Any]:
    expires_at = None if plan.days is None else terms.after(at, plan.days)
    return {"expires_at": expires_at, "hold_days": None}
