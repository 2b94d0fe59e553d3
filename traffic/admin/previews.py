"""What an action would change about a subscriber of ``quotas.with_usage``, as *now → then*."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from operations.admin.questions import Change
from operations.formatting import last_day, size
from traffic.admin.states import limit_text
from traffic.models import Subscriber
from traffic.people import changes, plans

_Told = Mapping[str, Any]


def extending(subscriber: Subscriber, told: _Told, now: datetime) -> list[Change]:
    days = told.get("days")
    return (
        [] if days is None else _expiry(subscriber, changes.later(subscriber.expires_at, days, now))
    )


def renewing(subscriber: Subscriber, told: _Told, now: datetime) -> list[Change]:
    plan = subscriber.plan
    if plan is None:
        return []
    end = subscriber.expires_at
    then = end if plan.days is None else changes.later(end, plan.days, now)
    return [*_expiry(subscriber, then), *restarting(subscriber, told, now)]


def applying(subscriber: Subscriber, told: _Told, now: datetime) -> list[Change]:
    plan = told.get("plan")
    if plan is None:
        return []
    given = plans.values(plan, now)
    return [
        Change(_("plan"), str(subscriber.plan or "—"), plan.name),
        *limiting(subscriber, given, now),
        *_devices(subscriber, given["device_limit"]),
        *_expiry(subscriber, given["expires_at"]),
    ]


def restarting(subscriber: Subscriber, told: _Told, now: datetime) -> list[Change]:
    used = getattr(subscriber, "period_used", 0)
    return [Change(_("used in this period"), size(used), size(0))] if used else []


def limiting(subscriber: Subscriber, told: _Told, now: datetime) -> list[Change]:
    if "data_limit" not in told or subscriber.data_limit == told["data_limit"]:
        return []
    return [
        Change(_("data limit"), limit_text(subscriber.data_limit), limit_text(told["data_limit"]))
    ]


def _devices(subscriber: Subscriber, then: int | None) -> list[Change]:
    now = subscriber.device_limit
    return [] if now == then else [Change(_("devices"), str(now or "—"), str(then or "—"))]


def _expiry(subscriber: Subscriber, then: datetime | None) -> list[Change]:
    now = subscriber.expires_at
    return [] if now == then else [Change(_("last day"), last_day(now), last_day(then))]
