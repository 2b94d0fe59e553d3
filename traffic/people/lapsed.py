"""People whose subscription is over: switched off after some days, deleted by hiding after more."""

from datetime import datetime

import msgspec
from django.db.models import Q

from operations.audit import By
from operations.databases.transactions import write_transaction
from operations.quota_levels import Level
from traffic.conf import conf
from traffic.models import Subscriber
from traffic.periods import DAY
from traffic.querysets import SubscriberQuerySet

from . import changes, quotas

_AUTHOR = "cleanup"


class Lapsed(msgspec.Struct, frozen=True):
    """How many were or would be switched off and deleted."""

    switched_off: int
    deleted: int


def count(now: datetime) -> Lapsed:
    """What ``tidy`` would do. Used-up subscribers are known from the first cleanup that finds them."""
    gone = _to_delete(now)
    return Lapsed(_to_switch_off(now).exclude(pk__in=gone.values("pk")).count(), gone.count())


def tidy(now: datetime) -> Lapsed:
    """Safe to run twice at once: each change locks its rows and leaves out those that have it already."""
    _note_used_up(now)
    by = By(_AUTHOR, now)
    deleted = changes.hide(Subscriber, _ids(_to_delete(now)), by)
    return Lapsed(changes.switch(_ids(_to_switch_off(now)), on=False, by=by), deleted)


def _to_switch_off(now: datetime) -> SubscriberQuerySet:
    return _lapsed(now, conf.switch_off_after_days).filter(is_active=True)


def _to_delete(now: datetime) -> SubscriberQuerySet:
    return _lapsed(now, conf.delete_after_days)


def _lapsed(now: datetime, days: int) -> SubscriberQuerySet:
    """Subscribers who have been expired or used up for this number of days; nobody for 0."""
    rows = Subscriber.objects.visible()
    if not days:
        return rows.none()
    edge = now - days * DAY
    over = Q(expires_at__lte=edge) | Q(used_up_since__lte=edge)
    return rows.filter(over, has_next=False)


def _ids(rows: SubscriberQuerySet) -> list[int]:
    return list(rows.order_by("pk").values_list("pk", flat=True))


@write_transaction
def _note_used_up(now: datetime) -> None:
    """Note since when the data limit of each is used up."""
    rows = quotas.with_usage(Subscriber.objects.visible(), now, conf.time_zone)
    used_up = rows.filter(quotas.has_level(Level.OVER)).values("pk")
    noted = Subscriber.objects.filter(used_up_since__isnull=False)
    noted.exclude(pk__in=used_up).update(used_up_since=None)
    Subscriber.objects.filter(pk__in=used_up, used_up_since=None).update(used_up_since=now)
