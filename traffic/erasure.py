"""Erasing a person: all that tells of one subscriber goes, the sums move to one anonymous subscriber.

So totals stay true, and ``check_traffic`` agrees before and after.
"""

from collections import Counter
from collections.abc import Callable

import msgspec
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, models, transaction
from django.db.models import F, Max, ProtectedError
from django.utils.translation import gettext as _

from . import audit, rollups
from .audit import Action, By
from .fields import HourField
from .models import AuditEntry, Balance, Correction, ImportedUsage, ReceivedEvent, Subscriber, Usage, new_token
from .periods import EPOCH
from .recording import retried
from .rollups import ServerKey, Sums, UsageKey
from .turns import writers_turn

# No report or subscription can name it: a token has no parentheses.
ANONYMOUS_TOKEN = "(erased)"  # noqa: S105

_MOVED = (
    "life_upload", "life_download", "life_connections", "cleaned_upload", "cleaned_download", "cleaned_connections",
    "corrected_upload", "corrected_download",
)  # fmt: skip

_others: dict[str, Callable[[int], int]] = {}


class ErasureError(Exception):
    """Why somebody cannot be erased, as a sentence. Nothing was changed but that the subscriber is hidden."""


class Erased(msgspec.Struct, frozen=True):
    """``records`` were moved; ``dropped``: rows that are gone, by what they are called."""

    records: int
    dropped: dict[str, int]


def also_erase(name: str, task: Callable[[int], int]) -> None:
    """Register what another app keeps of a subscriber. ``task`` takes the id, deletes the rows and returns how many."""
    _others[name] = task


def erase(subscriber: Subscriber, by: By) -> Erased:
    """Erase one person for good. Raises ErasureError."""
    if subscriber.token == ANONYMOUS_TOKEN:
        raise ErasureError(_("This is the anonymous subscriber that holds the sums of the erased."))
    _hide(subscriber, by)
    try:
        erased = _move(subscriber.pk, by)
    except IntegrityError:
        raise ErasureError(_("The sums of the erased subscribers would pass 1024 PB.")) from None
    except ProtectedError as error:
        kinds = ", ".join(sorted({str(row._meta.verbose_name_plural) for row in error.protected_objects}))  # noqa: SLF001
        raise ErasureError(_("There are still %(kinds)s.") % {"kinds": kinds}) from None
    sweep(by)
    return erased


def sweep(by: By) -> None:
    """Move what reports have left that were under way while their subscriber was erased."""
    left = Balance.objects.exclude(subscriber__in=Subscriber.objects.values("pk"))
    for pk in list(left.values_list("pk", flat=True)):
        _move(pk, by)


@retried
def _hide(subscriber: Subscriber, by: By) -> None:
    """From now on no report finds it, so nothing new is counted while it is moved."""
    with writers_turn(), transaction.atomic():
        Subscriber.objects.filter(pk=subscriber.pk).update(hidden_at=by.now, is_active=False, token=new_token())


@retried
def _move(pk: int, by: By) -> Erased:
    with writers_turn(), transaction.atomic():
        rollups.hold_off_writers()
        heir = _anonymous(by)
        records = _move_usage(pk, heir.pk)
        Correction.objects.filter(subscriber=pk).update(subscriber=heir, reason="", author="", undone_by="")
        _move_balance(pk, heir)
        dropped = _drop_traces(pk)
        if Subscriber.objects.filter(pk=pk).delete()[0]:
            audit.note(Action.ERASED, heir, by)
    return Erased(records, dropped)


def _anonymous(by: By) -> Subscriber:
    found, _made = Subscriber.objects.get_or_create(
        token=ANONYMOUS_TOKEN, defaults={"name": _("Erased subscribers"), "is_active": False, "hidden_at": by.now}
    )
    return found


def _move_usage(pk: int, heir: int) -> int:
    """Records that meet in one hour on one server become one."""
    rows = list(Usage.objects.filter(subscriber=pk))
    sums: dict[UsageKey, Sums] = {}
    fewer: Counter[ServerKey] = Counter()
    for row in rows:
        hour = HourField.to_number(row.hour)
        last = int(row.last_used_at.timestamp())
        sums[heir, hour, row.server_id] = Sums(row.upload, row.download, row.connections, last)
        fewer[row.server_id, hour] += 1
    fewer.subtract(rollups.add_usage(sums))
    merged = {key: count for key, count in fewer.items() if count}
    rollups.add_server_usage({key: Sums() for key in merged}, merged, sign="-")
    Usage.objects.filter(subscriber=pk).delete()
    return len(rows)


def _move_balance(pk: int, heir: Subscriber) -> None:
    balance = Balance.objects.filter(pk=pk).first()
    if balance is None:
        return
    Balance.objects.bulk_create([Balance(subscriber=heir, period_start=EPOCH)], ignore_conflicts=True)
    more = {name: F(name) + getattr(balance, name) for name in _MOVED}
    # Its period has no beginning: it is the life.
    more["period_upload"] = F("period_upload") + balance.life_upload
    more["period_download"] = F("period_download") + balance.life_download
    latest = Usage.objects.filter(subscriber=heir).aggregate(latest=Max("last_used_at"))["latest"]
    Balance.objects.filter(pk=heir.pk).update(last_used_at=latest, **more)
    balance.delete()


def _drop_traces(pk: int) -> dict[str, int]:
    ours: dict[str, models.QuerySet[models.Model]] = {
        "events": ReceivedEvent.objects.filter(subscriber=pk),
        "marks of imports": ImportedUsage.objects.filter(subscriber=pk),
        "audit entries": AuditEntry.objects.filter(subscriber=pk),
        "admin log entries": LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(Subscriber), object_id=str(pk)
        ),
    }
    dropped = {name: rows.delete()[0] for name, rows in ours.items()}
    return dropped | {name: task(pk) for name, task in _others.items()}
