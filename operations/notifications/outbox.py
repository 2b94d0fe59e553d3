"""Stores each event with a delivery per receiver, and sends each delivery until it is confirmed.

Any number of processes may do this at once: the key of a notification is unique, and a process claims a delivery
before it sends it. If a process dies after sending, its claim expires, and the receiver gets the same notification,
with the same id, again.
"""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import translation
from django.utils.translation import gettext as _

from operations import audit
from operations.databases.transactions import write_transaction
from operations.events import Event
from operations.models import Delivery, Notification, Receiver
from operations.outbound.errors import OutboundError
from operations.outbound.pacing import backoff

from .channels import channel_of, send
from .kinds import kinds

logger = logging.getLogger(__name__)

DAY = timedelta(days=1)
# A delivery that is not confirmed within this time is given up.
GIVE_UP = 3 * DAY
# A notification is deleted this long after its condition last held. Later the condition is reported again.
KEPT = 90 * DAY
# The wait after a failure doubles from the first value to the last.
_FIRST_WAIT, _LAST_WAIT = timedelta(minutes=1), timedelta(hours=1)
# Seconds after which a run stops, so that no claim expires during the run.
_RUN = 120.0
_CLAIM = timedelta(minutes=10)
_CHUNK = 200
# With these codes a receiver asks for a pause.
_ASKED_TO_WAIT = ("http_429", "http_503")
# The code of a person who wants no more messages. That is nothing for the operator to settle.
RECIPIENT_GONE = "recipient_gone"
# Deliveries with at least this many failed attempts are reported as undelivered.
_MANY_ATTEMPTS = 3


class Sent(msgspec.Struct):
    """The result of one run: deliveries confirmed, failed and to be retried, and given up."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0


def notice(now: datetime) -> int:
    """Store new events of the kinds that a receiver wants; return their number."""
    receivers = list(Receiver.objects.filter(is_active=True))
    count = 0
    with translation.override(settings.LANGUAGE_CODE):
        for name, kind in kinds().items():
            wanting = [receiver for receiver in receivers if name in receiver.events]
            events = list(kind.events(now)) if wanting else []
            for start in range(0, len(events), _CHUNK):
                keyed = {
                    f"{name}:{event.key}"[:200]: event for event in events[start : start + _CHUNK]
                }
                count += _note(name, keyed, wanting, now)
    return count


def _note(name: str, found: dict[str, Event], receivers: Sequence[Receiver], now: datetime) -> int:
    known = dict(Notification.objects.filter(key__in=found).values_list("key", "seen_at"))
    if stale := [key for key, seen_at in known.items() if seen_at < now - DAY]:
        _see_again(stale, now)
    # The stable order of finders keeps two runs that store the same events from deadlocking.
    if new := [_notification(name, key, found[key], now) for key in found if key not in known]:
        _add(new, receivers, now)
    return len(new)


@write_transaction
def _see_again(keys: Sequence[str], now: datetime) -> None:
    Notification.objects.filter(key__in=keys).update(seen_at=now)


@write_transaction
def _add(new: Sequence[Notification], receivers: Sequence[Receiver], now: datetime) -> None:
    Notification.objects.bulk_create(new, ignore_conflicts=True)
    made = Notification.objects.filter(key__in=[row.key for row in new]).order_by("pk")
    deliveries = [
        Delivery(notification=notification, receiver=receiver, since=now, next_try=now)
        for receiver in receivers
        for notification in _reached(receiver, list(made))
    ]
    Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)


def _reached(receiver: Receiver, made: Sequence[Notification]) -> Sequence[Notification]:
    reaches = channel_of(receiver).reaches
    return made if reaches is None else reaches(made)


def _notification(name: str, key: str, event: Event, now: datetime) -> Notification:
    text = " ".join(event.text.split())[:500]
    return Notification(
        key=key,
        event=name,
        text=text,
        data=event.data,
        target_kind=audit.kind_of(event.target) if event.target else "",
        target_id=event.target.pk if event.target else None,
        at=now,
        seen_at=now,
    )


def deliver(now: datetime) -> Sent:
    """Send due deliveries. After a failure the receiver's other deliveries wait for the next run."""
    sent = Sent(given_up=_give_up(now))
    begun = time.monotonic()
    for receiver in Receiver.objects.filter(is_active=True):
        while time.monotonic() - begun < _RUN and (claimed := _claimed(receiver, now)):
            error = _attempt(receiver, claimed, now)
            if error and error.is_final:
                sent.given_up += len(claimed)
            elif error:
                sent.failed += len(claimed)
                logger.warning("Nothing reached the receiver %s: %s", receiver.pk, error)
                break
            else:
                sent.delivered += len(claimed)
    return sent


def _attempt(
    receiver: Receiver, claimed: Sequence[Delivery], now: datetime
) -> OutboundError | None:
    try:
        send(receiver, [delivery.notification for delivery in claimed], now)
    except OutboundError as error:
        if error.is_final:
            _write(claimed, state=Delivery.State.FAILED, last_error=error.code)
            return error
        attempts = max(delivery.attempts for delivery in claimed)
        wait = backoff(attempts, error.retry_after, _FIRST_WAIT, _LAST_WAIT)
        _write(claimed, last_error=error.code, next_try=now + wait)
        return error
    _write(claimed, state=Delivery.State.DELIVERED, delivered_at=now, last_error="")
    return None


def _claimed(receiver: Receiver, now: datetime) -> list[Delivery]:
    """Claim the next due deliveries, so that no other process sends them for a while."""
    due = Delivery.objects.filter(
        receiver=receiver, state=Delivery.State.PENDING, next_try__lte=now
    )
    # The usual case needs no write and no turn.
    if not due.exists() or _asked_to_wait(receiver, now):
        return []
    ids = _claim(due, channel_of(receiver).at_once, now)
    return list(Delivery.objects.filter(pk__in=ids).select_related("notification").order_by("pk"))


def _asked_to_wait(receiver: Receiver, now: datetime) -> bool:
    """Whether the receiver asked for a pause that is not over. Newer deliveries wait too."""
    return Delivery.objects.filter(
        receiver=receiver,
        state=Delivery.State.PENDING,
        last_error__in=_ASKED_TO_WAIT,
        next_try__gt=now,
    ).exists()


@write_transaction
def _claim(due: models.QuerySet[Delivery], limit: int, now: datetime) -> list[int]:
    # SQLite has one writer at a time; PostgreSQL skips rows that another run is claiming.
    free = due.order_by("next_try", "pk").select_for_update(skip_locked=True)
    ids = [delivery.pk for delivery in free[:limit]]
    Delivery.objects.filter(pk__in=ids).update(next_try=now + _CLAIM, attempts=F("attempts") + 1)
    return ids


@write_transaction
def _write(deliveries: Sequence[Delivery], **values: Any) -> None:
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries]).update(**values)


def expected() -> dict[str, timedelta]:
    """The command that a timer should start, if there is any receiver."""
    return (
        {"send_notifications": timedelta(hours=1)}
        if Receiver.objects.filter(is_active=True).exists()
        else {}
    )


def _give_up(now: datetime) -> int:
    old = Delivery.objects.filter(
        state=Delivery.State.PENDING, since__lte=now - GIVE_UP, next_try__lte=now
    )
    if not old.exists():
        return 0
    with write_transaction():
        count = old.update(state=Delivery.State.FAILED)
    logger.warning(
        "%s notifications were given up: nobody confirmed them for %s days.", count, GIVE_UP.days
    )
    return count


@write_transaction
def send_again(ids: Sequence[int], now: datetime) -> int:
    """Retry deliveries that were given up in the next run; return their number."""
    found = Delivery.objects.filter(pk__in=ids, state=Delivery.State.FAILED)
    return found.update(state=Delivery.State.PENDING, attempts=0, since=now, next_try=now)


def send_test(receiver: Receiver, now: datetime) -> str:
    """Send one notification at once, without a retry; return the error code, or empty on success."""
    with translation.override(settings.LANGUAGE_CODE):
        text = _("This is a test from Xpert Panel.")
    with write_transaction():
        notification = Notification.objects.create(
            key=f"test:{secrets.token_hex(8)}", event="test", text=text, at=now, seen_at=now
        )
    delivery = Delivery(
        notification=notification, receiver=receiver, attempts=1, since=now, next_try=now
    )
    try:
        send(receiver, [notification], now)
        delivery.state, delivery.delivered_at = Delivery.State.DELIVERED, now
    except OutboundError as error:
        delivery.state, delivery.last_error = Delivery.State.FAILED, error.code
    with write_transaction():
        delivery.save()
    return delivery.last_error


def undelivered(now: datetime) -> Counter[str]:
    """The number of deliveries by receiver that were given up within a week, or still fail after several attempts."""
    stuck = Q(state=Delivery.State.FAILED, since__gt=now - 7 * DAY - GIVE_UP)
    stuck |= Q(state=Delivery.State.PENDING, attempts__gte=_MANY_ATTEMPTS)
    found = Delivery.objects.filter(stuck, receiver__is_active=True).exclude(
        Q(notification__event="test") | Q(last_error=RECIPIENT_GONE)
    )
    return Counter(found.values_list("receiver__name", flat=True))


def drop_old(now: datetime) -> int:
    """Delete notifications whose condition ended 90 days ago, with their deliveries; return their number."""
    old = Notification.objects.filter(seen_at__lt=now - KEPT)
    # Includes test notifications. Pending deliveries keep their notification until they arrive or are given up.
    gone = list(
        old.exclude(deliveries__state=Delivery.State.PENDING).values_list("pk", flat=True)[:10_000]
    )
    for start in range(0, len(gone), _CHUNK):
        with write_transaction():
            Notification.objects.filter(pk__in=gone[start : start + _CHUNK]).delete()
    return len(gone)


def erase(target: models.Model) -> int:
    """Delete the notifications about one row; return their number."""
    found = Notification.objects.filter(target_kind=audit.kind_of(target), target_id=target.pk)
    count = found.count()
    with write_transaction():
        found.delete()
    return count
