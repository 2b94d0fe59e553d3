"""Buying plans ahead, cancelling them, and beginning those that are due."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from operations.quota_levels import Level
from traffic.conf import conf
from traffic.ledger import next_plans as ledger
from traffic.models import NextPlan, Plan, Subscriber

from . import quotas, resellers


def add(
    subscribers: Iterable[int],
    plan: Plan,
    by: By,
    begins: str = NextPlan.Begins.EITHER,
    renews: bool = False,
) -> int:
    """Put a plan behind those that are bought already; one that is due begins at once. Return how many have it."""
    return sum(
        _add(pk, NextPlan(plan=plan, begins=begins, renews=renews), by) for pk in subscribers
    )


@write_transaction
def _add(pk: int, following: NextPlan, by: By) -> int:
    subscriber = Subscriber.objects.visible().select_for_update().filter(pk=pk).first()
    if subscriber is None:
        return 0
    with resellers.kept([subscriber], by.now):
        NextPlan.objects.create(
            subscriber=subscriber,
            plan=following.plan,
            begins=following.begins,
            renews=following.renews,
            added_at=by.now,
        )
    Subscriber.objects.filter(pk=pk).update(has_next=True)
    audit.note(Action.CHANGED, subscriber, by, {"next_plan": (None, following.plan)})
    ledger.begin([pk], by.now)
    return 1


@write_transaction
def cancel(following: NextPlan, by: By) -> bool:
    """Take a plan away that has not begun; False if it has."""
    subscriber = Subscriber.objects.select_for_update().get(pk=following.subscriber_id)
    if not NextPlan.objects.filter(pk=following.pk).delete()[0]:
        return False
    left = NextPlan.objects.filter(subscriber=subscriber).exists()
    Subscriber.objects.filter(pk=subscriber.pk).update(has_next=left)
    audit.note(Action.CHANGED, subscriber, by, {"next_plan": (following.plan, None)})
    return True


def begin_of(subscriber: Subscriber, now: datetime) -> None:
    """Begin the next plan of one subscriber if it is due; the fields of the row are then those of the plan."""
    if subscriber.has_next and _begin([subscriber.pk], now):
        subscriber.refresh_from_db()  # without fields, so that the cached balance goes too


def begin_due(now: datetime) -> int:
    """Begin all next plans that are due; return how many began."""
    rows = Subscriber.objects.visible().filter(has_next=True)
    counted = quotas.with_usage(rows, now, conf.time_zone)
    due = counted.filter(Q(expires_at__lte=now) | quotas.has_level(Level.OVER))
    found = list(due.values_list("pk", flat=True))
    return _begin(found, now) if found else 0


@write_transaction
def _begin(subscribers: list[int], now: datetime) -> int:
    return ledger.begin(subscribers, now)
