"""Erasing a person: all personal data of one subscriber is deleted, and the sums move to an anonymous subscriber.

The steps are small, so that reports are recorded in between. Each step is one transaction that keeps all
sums consistent, so the process may be killed between steps: the next cleanup finishes the erasure.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, models
from django.db.models import F, Max
from django.utils.translation import gettext as _

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from operations.extension import extensions
from operations.notifications import outbox
from traffic.ledger import metered_people, retention, rollups
from traffic.ledger.rollups import BalanceSums, ServerKey, Sums
from traffic.models import (
    Balance,
    Correction,
    KnownAs,
    LimitBalance,
    Meter,
    MeteredPerson,
    ReceivedEvent,
    Reporter,
    SetAside,
    Subscriber,
    Told,
    Usage,
    new_token,
)

from . import resellers

logger = logging.getLogger(__name__)
# No report or subscription can use these tokens, because a token has no parentheses.
ANONYMOUS_TOKEN = "(erased)"  # noqa: S105
_ERASING = "(erasing)"
# Rows per transaction.
STEP = 1000

_MOVED = (
    "life_upload", "life_download", "life_reports", "cleaned_upload", "cleaned_download", "cleaned_reports",
    "corrected_upload", "corrected_download",
)  # fmt: skip
# Models whose rows are moved, or deleted with the person.
_OURS = (
    Balance, Correction, KnownAs, LimitBalance, Meter, MeteredPerson, ReceivedEvent, Reporter, SetAside, Told, Usage,
)  # fmt: skip


class ErasureError(Exception):
    """A subscriber cannot be erased. The message is for the operator."""


class Erased(msgspec.Struct, frozen=True):
    """``records``: the number moved; ``dropped``: the number of deleted rows by their label."""

    records: int
    dropped: dict[str, int]


def erase(subscriber: Subscriber, by: By) -> Erased:
    """Erase one person permanently. Raises ErasureError."""
    if subscriber.token.startswith(ANONYMOUS_TOKEN):
        raise ErasureError(
            _("This is the anonymous subscriber that holds the totals of erased subscribers.")
        )
    _hide(subscriber, by)
    erased = _move(subscriber.pk, by)
    sweep(by)
    return erased


def sweep(by: By) -> None:
    """Finish interrupted erasures, and move what concurrent reports have added since."""
    begun = Subscriber.objects.filter(token__startswith=_ERASING)
    left = Balance.objects.exclude(subscriber__in=Subscriber.objects.values("pk"))
    for pk in [*begun.values_list("pk", flat=True), *left.values_list("pk", flat=True)]:
        try:
            _move(pk, by)
        except ErasureError as error:
            logger.warning("Subscriber %d is still not erased: %s", pk, error)


@write_transaction
def _hide(subscriber: Subscriber, by: By) -> None:
    """Replace the token, so that no report finds the subscriber during the move. The new token marks the erasure."""
    resellers.leave(subscriber.pk)
    Subscriber.objects.filter(pk=subscriber.pk).update(
        hidden_at=by.now,
        is_active=False,
        token=f"{_ERASING} {new_token()}",
        external_id="",
    )


def _move(pk: int, by: By) -> Erased:
    dropped = _drop_traces(pk)
    _refuse_protected(pk)
    records = 0
    while moved := _with_room(lambda heir: _move_step(pk, heir, by)):
        records += moved
    records += _with_room(lambda heir: _finish(pk, heir, by))
    return Erased(records, dropped)


def _refuse_protected(pk: int) -> None:
    """Refuse before anything is moved if rows of another app protect the subscriber."""
    kinds = {
        str(field.related_model._meta.verbose_name_plural)  # noqa: SLF001
        for field in Subscriber._meta.get_fields(include_hidden=True)  # noqa: SLF001
        if isinstance(field, models.ForeignObjectRel)
        and field.on_delete is models.PROTECT
        and field.related_model not in _OURS
        and _keeps(field, pk)
    }
    if kinds:
        raise ErasureError(
            _("The subscriber still has %(kinds)s.") % {"kinds": ", ".join(sorted(kinds))}
        )


def _keeps(relation: models.ForeignObjectRel, pk: int) -> bool:
    rows = relation.related_model._base_manager  # noqa: SLF001  without what a manager leaves out
    return bool(rows.filter(**{relation.field.name: pk}).exists())


def _with_room(move: Callable[[str], int]) -> int:
    """Call ``move`` with the token of the first anonymous subscriber whose counters have room; usually there is only one."""
    number = 1
    while True:
        token = ANONYMOUS_TOKEN if number == 1 else f"{ANONYMOUS_TOKEN} {number}"
        is_new = not Subscriber.objects.filter(token=token).exists()
        try:
            return move(token)
        except IntegrityError:
            if is_new:
                raise ErasureError(
                    _("The totals of this subscriber do not match. Run manage.py check_traffic.")
                ) from None
        number += 1


def _anonymous(token: str, by: By) -> Subscriber:
    found, _made = Subscriber.objects.get_or_create(
        token=token,
        defaults={"name": _("Erased subscribers"), "is_active": False, "hidden_at": by.now},
    )
    return found


@write_transaction
def _move_step(pk: int, heir: str, by: By) -> int:
    return _move_records(pk, _anonymous(heir, by).pk)


@write_transaction
def _finish(pk: int, token: str, by: By) -> int:
    rollups.hold_off_writers()
    heir = _anonymous(token, by)
    records = 0
    while moved := _move_records(pk, heir.pk):  # recorded since the last step
        records += moved
    _drop_meters(pk)  # what was read since they were dropped
    LimitBalance.objects.filter(subscriber=pk).delete()  # the sums of all together stay
    Correction.objects.filter(subscriber=pk).update(
        subscriber=heir, reason="", author="", undone_by=""
    )
    _move_balance(pk, heir)
    if Subscriber.objects.filter(pk=pk).delete()[0]:
        audit.note(Action.ERASED, heir, by)
    return records


def _move_records(pk: int, heir: int) -> int:
    """Move up to ``STEP`` records and their part of the balance. Records of the same hour and server are merged."""
    taken = rollups.take_usage_of(pk, limit=STEP)
    if not taken:
        return 0
    Told.objects.filter(subscriber=pk).delete()  # rows that were written since they were dropped
    fewer: Counter[ServerKey] = Counter((row.server, row.hour) for row in taken)
    fewer.subtract(
        rollups.add_usage(
            {
                (heir, row.hour, row.server): Sums(row.upload, row.download, row.reports, row.last)
                for row in taken
            }
        )
    )
    _move_life(pk, heir, taken)
    merged = {key: -count for key, count in fewer.items() if count}
    rollups.add_server_usage({key: Sums() for key in merged}, merged)
    return len(taken)


def _move_life(pk: int, heir: int, taken: list[rollups.Taken]) -> None:
    sums = BalanceSums()
    for row in taken:
        sums.add(row.upload, row.download, row.reports, row.last)
    # The heir's period has no beginning, so it equals the life.
    sums.period_upload, sums.period_download = sums.upload, sums.download
    rollups.add_balances({heir: sums})
    Balance.objects.filter(pk=pk).update(
        life_upload=F("life_upload") - sums.upload,
        life_download=F("life_download") - sums.download,
        life_reports=F("life_reports") - sums.reports,
    )
    retention.look_for_last_use([pk])


def _move_balance(pk: int, heir: Subscriber) -> None:
    balance = Balance.objects.filter(pk=pk).first()
    if balance is None:
        return
    more = {name: F(name) + getattr(balance, name) for name in _MOVED}
    more["period_upload"] = F("period_upload") + balance.life_upload
    more["period_download"] = F("period_download") + balance.life_download
    latest = Usage.objects.filter(subscriber=heir).aggregate(latest=Max("last_used_at"))["latest"]
    Balance.objects.of(heir).update(last_used_at=latest, **more)
    balance.delete()


def _drop_traces(pk: int) -> dict[str, int]:
    person = Subscriber(pk=pk)
    ours: dict[str, tuple[models.QuerySet[Any], str]] = {
        "events": (ReceivedEvent.objects.filter(subscriber=pk), "event_id"),
        "amounts set aside": (SetAside.objects.filter(subscriber=pk), "pk"),
        "names": (KnownAs.objects.filter(subscriber=pk), "pk"),
        "audit entries": (audit.entries(person), "pk"),
    }
    if apps.is_installed("django.contrib.admin"):
        kind = ContentType.objects.get_for_model(Subscriber)
        log = apps.get_model("admin", "LogEntry").objects
        ours["admin log entries"] = (log.filter(content_type=kind, object_id=str(pk)), "pk")
    # Other apps come first, because they find their rows by the names of the person's meters.
    others = {
        name: task(pk) for extension in extensions() for name, task in extension.erase.items()
    }
    dropped = {name: _drop(rows, key) for name, (rows, key) in ours.items()}
    dropped["meters"] = _drop_meters(pk)
    dropped["notifications"] = outbox.erase(person)
    return dropped | others


def _drop_meters(pk: int) -> int:
    """With what they have told, the names by which they are known, and the person's own reporters."""
    total = 0
    while dropped := _drop_meters_step(pk):
        total += dropped
    _drop(Told.objects.filter(subscriber=pk), "pk")
    _drop(MeteredPerson.objects.filter(subscriber=pk), "pk")
    _drop(Reporter.objects.filter(subscriber=pk, api_key=None), "pk")
    return total


@write_transaction
def _drop_meters_step(pk: int) -> int:
    rows = list(Meter.objects.filter(subscriber=pk).order_by("key").select_for_update()[:STEP])
    metered_people.release(pk, rows)
    return Meter.objects.filter(subscriber=pk, key__in=[row.key for row in rows]).delete()[0]


def _drop(rows: models.QuerySet[Any], key: str) -> int:
    """Delete the rows in steps, by ``key``; return their number."""
    total = 0
    while dropped := _drop_step(rows, key):
        total += dropped
    return total


@write_transaction
def _drop_step(rows: models.QuerySet[Any], key: str) -> int:
    names = list(rows.order_by(key).values_list(key, flat=True)[:STEP])
    return rows.filter(**{f"{key}__in": names}).delete()[0]
