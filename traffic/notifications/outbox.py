"""What was noticed is written down with a delivery for each receiver that wants it, and sent until it is confirmed.

Any number of processes may do this at once: the key of a notification is unique, and who sends a delivery has claimed
it first. One that dies between sending and writing that down leaves a claim that ends: the receiver then gets the same
notification, with the same id, once more.
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
from django.db import transaction
from django.db.models import F, Q
from django.utils import translation
from django.utils.translation import gettext as _

from traffic.models import Delivery, Notification, Receiver
from traffic.periods import DAY
from traffic.recording import retried
from traffic.turns import writers_turn

from .channels import CHANNELS, send
from .events import Event, kinds
from .posting import PostError

logger = logging.getLogger(__name__)

# Who has not confirmed for so long is given up.
GIVE_UP = 3 * DAY
# Since it was last the case: then it may go, and would be told again.
KEPT = 90 * DAY
# The first of the growing waits after a failure, and the last.
_FIRST_WAIT, _LAST_WAIT = timedelta(minutes=1), timedelta(hours=1)
# A run ends after so many seconds, so that a claim of its beginning holds to its end.
_RUN = 120.0
_CLAIM = timedelta(minutes=10)
_CHUNK = 200
# So many failures in a row are no accident any more.
_MANY_ATTEMPTS = 3


class Sent(msgspec.Struct):
    """Of one run: deliveries confirmed, failed for now, and given up for good."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0


def notice(now: datetime) -> int:
    """Write down what is new of the kinds that somebody wants to hear of; return how many."""
    receivers = list(Receiver.objects.filter(is_active=True))
    count = 0
    with translation.override(settings.LANGUAGE_CODE):
        for name, kind in kinds().items():
            wanting = [receiver for receiver in receivers if name in receiver.events]
            events = list(kind.find(now)) if wanting else []
            for start in range(0, len(events), _CHUNK):
                keyed = {f"{name}:{event.key}"[:200]: event for event in events[start : start + _CHUNK]}
                count += _note(name, keyed, wanting, now)
    return count


@retried
def _note(name: str, found: dict[str, Event], receivers: Sequence[Receiver], now: datetime) -> int:
    known = dict(Notification.objects.filter(key__in=found).values_list("key", "seen_at"))
    if stale := [key for key, seen_at in known.items() if seen_at < now - DAY]:
        with writers_turn(), transaction.atomic():
            Notification.objects.filter(key__in=stale).update(seen_at=now)
    # Finders have an order, so two runs that find the same wait for each other in that order.
    new = [key for key in found if key not in known]
    if not new:
        return 0
    with writers_turn(), transaction.atomic():
        Notification.objects.bulk_create(
            [_notification(name, key, found[key], now) for key in new], ignore_conflicts=True
        )
        made = Notification.objects.filter(key__in=new).order_by("pk")
        deliveries = [
            Delivery(notification=notification, receiver=receiver, since=now, next_try=now)
            for notification in made
            for receiver in receivers
        ]
        Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)
    return len(new)


def _notification(name: str, key: str, event: Event, now: datetime) -> Notification:
    text = " ".join(event.text.split())[:500]
    return Notification(
        key=key, event=name, text=text, data=event.data, subscriber_id=event.subscriber, at=now, seen_at=now
    )


def deliver(now: datetime) -> Sent:
    """Send what is due. After a failure the rest for that receiver waits for the next run."""
    sent = Sent(given_up=_give_up(now))
    begun = time.monotonic()
    for receiver in Receiver.objects.filter(is_active=True):
        while time.monotonic() - begun < _RUN and (claimed := _claim(receiver, now)):
            error = _attempt(receiver, claimed, now)
            if error:
                sent.failed += len(claimed)
                logger.warning("Nothing reached the receiver %s: %s", receiver.pk, error)
                break
            sent.delivered += len(claimed)
    return sent


def _attempt(receiver: Receiver, claimed: Sequence[Delivery], now: datetime) -> str:
    """The code of what went wrong, or nothing."""
    try:
        send(receiver, [delivery.notification for delivery in claimed], now)
    except PostError as error:
        wait = min(_FIRST_WAIT * 2 ** min(max(delivery.attempts for delivery in claimed) - 1, 10), _LAST_WAIT)
        _write(claimed, last_error=error.code, next_try=now + wait)
        return error.code
    _write(claimed, state=Delivery.State.DELIVERED, delivered_at=now, last_error="")
    return ""


@retried
def _claim(receiver: Receiver, now: datetime) -> list[Delivery]:
    """The next that are due, which nobody else gets for a while."""
    due = Delivery.objects.filter(receiver=receiver, state=Delivery.State.PENDING, next_try__lte=now)
    if not due.exists():  # most of the time: no write, no turn
        return []
    with writers_turn(), transaction.atomic():
        # SQLite has one writer at a time; PostgreSQL passes over what another run is claiming.
        free = due.order_by("next_try", "pk").select_for_update(skip_locked=True)
        ids = [delivery.pk for delivery in free[: CHANNELS[receiver.kind].at_once]]
        Delivery.objects.filter(pk__in=ids).update(next_try=now + _CLAIM, attempts=F("attempts") + 1)
    return list(Delivery.objects.filter(pk__in=ids).select_related("notification").order_by("pk"))


@retried
def _write(deliveries: Sequence[Delivery], **values: Any) -> None:
    with writers_turn(), transaction.atomic():
        Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries]).update(**values)


def expected() -> dict[str, timedelta]:
    """For ``runs``: the command that a timer should start, when there is anybody to tell."""
    return {"send_notifications": timedelta(hours=1)} if Receiver.objects.filter(is_active=True).exists() else {}


@retried
def _give_up(now: datetime) -> int:
    old = Delivery.objects.filter(state=Delivery.State.PENDING, since__lte=now - GIVE_UP, next_try__lte=now)
    if not old.exists():
        return 0
    with writers_turn(), transaction.atomic():
        count = old.update(state=Delivery.State.FAILED)
    logger.warning("%s notifications were given up: nobody confirmed them for %s days.", count, GIVE_UP.days)
    return count


@retried
def send_again(ids: Sequence[int], now: datetime) -> int:
    """Of deliveries that were given up: the next run tries them anew."""
    with writers_turn(), transaction.atomic():
        found = Delivery.objects.filter(pk__in=ids, state=Delivery.State.FAILED)
        return found.update(state=Delivery.State.PENDING, attempts=0, since=now, next_try=now)


def send_test(receiver: Receiver, now: datetime) -> str:
    """One notification at once; the code of what went wrong, or nothing. It is not tried again."""
    with translation.override(settings.LANGUAGE_CODE):
        text = _("This is a test of Xpert Panel.")
    with writers_turn():
        notification = Notification.objects.create(
            key=f"test:{secrets.token_hex(8)}", event="test", text=text, at=now, seen_at=now
        )
    delivery = Delivery(notification=notification, receiver=receiver, attempts=1, since=now, next_try=now)
    try:
        send(receiver, [notification], now)
        delivery.state, delivery.delivered_at = Delivery.State.DELIVERED, now
    except PostError as error:
        delivery.state, delivery.last_error = Delivery.State.FAILED, error.code
    with writers_turn():
        delivery.save()
    return delivery.last_error


def undelivered(now: datetime) -> Counter[str]:
    """By receiver's name: how many were given up in a week, or are still on their way after several attempts."""
    stuck = Q(state=Delivery.State.FAILED, since__gt=now - 7 * DAY - GIVE_UP)
    stuck |= Q(state=Delivery.State.PENDING, attempts__gte=_MANY_ATTEMPTS)
    found = Delivery.objects.filter(stuck, receiver__is_active=True).exclude(notification__event="test")
    return Counter(found.values_list("receiver__name", flat=True))


def drop_old(now: datetime) -> int:
    """Drop what has not been the case for 90 days, with its deliveries; return how many notifications."""
    old = Notification.objects.filter(seen_at__lt=now - KEPT)
    # The test's own kind counts here too; what is on its way stays until it has arrived or was given up.
    gone = list(old.exclude(deliveries__state=Delivery.State.PENDING).values_list("pk", flat=True)[:10_000])
    for start in range(0, len(gone), _CHUNK):
        with writers_turn(), transaction.atomic():
            Notification.objects.filter(pk__in=gone[start : start + _CHUNK]).delete()
    return len(gone)


def erase(subscriber: int) -> int:
    """Drop what tells of one subscriber; return how many notifications."""
    found = Notification.objects.filter(subscriber=subscriber)
    count = found.count()
    found.delete()
    return count
