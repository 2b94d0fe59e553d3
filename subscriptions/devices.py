"""Devices of subscribers: the first of them, up to the subscriber's limit, get the list.

An app identifies its device by an id of its own choice, so this keeps honest people honest: whoever changes the id, or
sends none where that is allowed, is not stopped.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from django.conf import settings
from django.utils.crypto import salted_hmac

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from subscriptions.conf import conf
from subscriptions.models import Device
from traffic.models import Subscriber

# A device that is seen more often is not written each time.
_SEEN_AGAIN_AFTER = timedelta(hours=1)
# Rows per transaction.
_STEP = 1000


class Identity(NamedTuple):
    """What an app tells of its device. ``id``: never stored; "" = it tells none. ``app``: a name of ``clients``."""

    id: str
    system: str = ""
    system_version: str = ""
    model: str = ""
    app: str = ""


class Admission(Enum):
    """Whether a device gets the list. ``UNLIMITED``: the subscriber's devices are not limited."""

    UNLIMITED = auto()
    ADMITTED = auto()
    TOO_MANY = auto()
    NOT_IDENTIFIED = auto()

    @property
    def gets_list(self) -> bool:
        return self in {Admission.UNLIMITED, Admission.ADMITTED}


def admit(
    subscriber: Subscriber, told: Identity, now: datetime, *, registers: bool = True
) -> Admission:
    """Decide whether a device gets the list, in one query for a device that is known.

    ``registers``: a new device that still has room is stored.
    """
    limit = subscriber.device_limit
    if limit is None:
        return Admission.UNLIMITED
    if not told.id:
        is_allowed = conf.devices_without_id == "allow"
        return Admission.ADMITTED if is_allowed else Admission.NOT_IDENTIFIED
    first = _first(subscriber.pk, limit)
    if known := _known(first, subscriber.pk, told):
        _note_seen(known, told, now)
        return Admission.ADMITTED
    if len(first) >= limit:
        return Admission.TOO_MANY
    return _register(subscriber.pk, told, now) if registers else Admission.ADMITTED


def forget(subscriber: Subscriber, device: int | None, by: By) -> int:
    """Forget one device by its id, or with None all of them; return how many. Their places are free again."""
    return _forget(subscriber, {} if device is None else {"pk": device}, by)


@write_transaction
def _forget(subscriber: Subscriber, which: dict[str, int], by: By) -> int:
    found = list(Device.objects.filter(subscriber=subscriber, **which))
    Device.objects.filter(pk__in=[device.pk for device in found]).delete()
    audit.note_many(
        Action.DEVICE_FORGOTTEN,
        [(subscriber, {"device": (str(device), None)}) for device in found],
        by,
    )
    return len(found)


def forget_all_of(subscribers: Iterable[int]) -> None:
    """Forget the devices of subscribers (ids) who have got new tokens: only whoever has the new link comes again."""
    Device.objects.filter(subscriber__in=list(subscribers)).delete()


def erase(subscriber_id: int) -> int:
    """Delete the devices of one subscriber, and return how many."""
    with write_transaction():
        return Device.objects.filter(subscriber=subscriber_id).delete()[0]


def drop_old(now: datetime) -> int:
    """Forget devices that were not seen for XPERT_DEVICES_RETENTION_DAYS, in small steps, and return how many."""
    if not conf.devices_retention_days:
        return 0
    edge = now - timedelta(days=conf.devices_retention_days)
    dropped = 0
    while step := _drop_step(edge):
        dropped += step
    return dropped


@write_transaction
def _drop_step(edge: datetime) -> int:
    old = Device.objects.filter(last_seen__lt=edge).order_by("pk")
    step = list(old.values_list("pk", flat=True)[:_STEP])
    return Device.objects.filter(pk__in=step, last_seen__lt=edge).delete()[0]


def _first(subscriber_id: int, limit: int) -> Sequence[Device]:
    """The devices that get the list. Later ones are left from a higher limit."""
    return list(Device.objects.filter(subscriber=subscriber_id)[:limit])


def _known(devices: Sequence[Device], subscriber_id: int, told: Identity) -> Device | None:
    """The device among these, also under a secret of earlier."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    wanted = {_fingerprint(subscriber_id, told.id, key) for key in keys}
    return next((device for device in devices if device.fingerprint in wanted), None)


def _fingerprint(subscriber_id: int, told_id: str, key: str | bytes) -> str:
    """Differs between subscribers, so that their devices cannot be linked."""
    text = f"{subscriber_id}:{told_id}"
    return salted_hmac("subscriptions.devices", text, key, algorithm="sha256").hexdigest()


def _note_seen(device: Device, told: Identity, now: datetime) -> None:
    fields = _fields(device.subscriber_id, told)
    if now < device.last_seen + _SEEN_AGAIN_AFTER and fields["fingerprint"] == device.fingerprint:
        return
    with write_transaction():
        Device.objects.filter(pk=device.pk).update(**fields, last_seen=now)


@write_transaction
def _register(subscriber_id: int, told: Identity, now: datetime) -> Admission:
    """Store a new device if there is still room. The subscriber's row is locked, so two at once never exceed the limit."""
    rows = Subscriber.objects.select_for_update().filter(pk=subscriber_id)
    limit = rows.values_list("device_limit", flat=True).first()
    if limit is None:  # it was lifted, or the subscriber erased, a moment ago
        return Admission.UNLIMITED
    devices = _first(subscriber_id, limit)
    if _known(devices, subscriber_id, told):
        return Admission.ADMITTED
    if len(devices) >= limit:
        return Admission.TOO_MANY
    fields = _fields(subscriber_id, told)
    Device.objects.create(subscriber_id=subscriber_id, first_seen=now, last_seen=now, **fields)
    return Admission.ADMITTED


def _fields(subscriber_id: int, told: Identity) -> dict[str, str]:
    return {
        "fingerprint": _fingerprint(subscriber_id, told.id, settings.SECRET_KEY),
        "system": told.system,
        "system_version": told.system_version,
        "model": told.model,
        "app": told.app,
    }
