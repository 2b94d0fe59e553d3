"""An operator's change of what a subscriber has used: an entry with a reason, which can be undone.

A correction moves the counters that limit, header and bill are read from: those of the life, and of the current
period if it is to. Records and the sums of servers stay what the reports said. Like a report it is added in the
database, so it loses nothing of what is recorded beside it.
"""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from . import audit
from .audit import Action, By
from .models import MAX_COUNTER, Balance, Correction, Subscriber
from .periods import EPOCH
from .recording import retried
from .subscribers import current_period
from .turns import writers_turn


class CorrectionError(ValueError):
    """Why a correction cannot be made or undone, as a sentence for the operator."""


def make(correction: Correction, by: By) -> None:
    """Save a new correction, and add its bytes to what was used, or take them away when negative.

    ``in_period``: the current period is corrected too; one without a beginning is the life itself, and always is.
    Raises CorrectionError when nothing would change, or a counter would fall below zero or pass its bound.
    """
    if not (correction.upload or correction.download):
        raise CorrectionError(_("Nothing would change: give at least one size."))
    if max(abs(correction.upload), abs(correction.download)) > MAX_COUNTER:
        raise _impossible()
    try:
        _make(correction, by)
    except IntegrityError as error:
        raise _impossible() from error


def undo(correction: Correction, by: By) -> bool:
    """Take a correction back; False when that has been done before. Raises CorrectionError like ``make``."""
    try:
        return _undo(correction, by)
    except IntegrityError as error:
        raise _impossible() from error


@retried
def _make(correction: Correction, by: By) -> None:
    with writers_turn(), transaction.atomic():
        correction.made_at, correction.author = by.now, by.author
        _add(correction, 1, by.now)
        correction.save(force_insert=True)
        audit.note(Action.CORRECTED, correction.subscriber, by, _changes(correction, 1))


@retried
def _undo(correction: Correction, by: By) -> bool:
    with writers_turn(), transaction.atomic():
        standing = Correction.objects.filter(pk=correction.pk, undone_at=None)
        if not standing.update(undone_at=by.now, undone_by=by.author):
            return False
        _add(correction, -1, by.now)
        audit.note(Action.CORRECTION_UNDONE, correction.subscriber, by, _changes(correction, -1))
    return True


def _add(correction: Correction, sign: int, now: datetime) -> None:
    """The check constraints of the balance refuse what would pass a bound, whoever writes at the same time."""
    # Locked, so that no period is restarted between the two updates.
    subscriber = Subscriber.objects.select_for_update().get(pk=correction.subscriber_id)
    up, down = sign * correction.upload, sign * correction.download
    Balance.objects.bulk_create([Balance(subscriber=subscriber, period_start=EPOCH)], ignore_conflicts=True)
    balance = Balance.objects.filter(subscriber=subscriber)
    balance.update(
        life_upload=F("life_upload") + up,
        life_download=F("life_download") + down,
        corrected_upload=F("corrected_upload") + up,
        corrected_download=F("corrected_download") + down,
    )
    start = current_period(subscriber, now)
    if not _counts_since(correction, start):
        return
    # Of a period that has ended nothing is left: the new one begins with this.
    balance.filter(period_start__lt=start).update(period_start=start, period_upload=0, period_download=0)
    balance.update(period_upload=F("period_upload") + up, period_download=F("period_download") + down)


def _counts_since(correction: Correction, start: datetime) -> bool:
    return start == EPOCH or (correction.in_period and correction.made_at >= start)


def _changes(correction: Correction, sign: int) -> audit.Changes:
    found = {"upload": sign * correction.upload, "download": sign * correction.download, "reason": correction.reason}
    return {name: (None, value) for name, value in found.items() if value}


def _impossible() -> CorrectionError:
    return CorrectionError(_("What was used would fall below zero, or pass 1024 PB. Nothing was changed."))
