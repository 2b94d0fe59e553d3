"""Corrections of a subscriber's usage by an operator. Each has a reason and can be undone.

A correction changes the counters for limit, header and bill: those of the life, and optionally those of the
current period. Records and sums of servers stay as reported. Like a report it is added in the database, so
concurrent reports are not lost.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import IntegrityError
from django.db.models import F
from django.utils.translation import gettext as _

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from traffic.ledger.lookup import current_period
from traffic.models import MAX_COUNTER, Balance, Correction, Subscriber
from traffic.periods import EPOCH


class CorrectionError(ValueError):
    """A correction cannot be made or undone. The message is for the operator."""


def make(correction: Correction, by: By) -> None:
    """Save a new correction and add its bytes, which may be negative, to the usage.

    ``in_period``: also correct the current period. A period without a beginning equals the life and is always corrected.
    Raises CorrectionError if nothing would change, or if a counter would leave its bounds.
    """
    if not (correction.upload or correction.download):
        raise CorrectionError(_("Nothing would change. Enter at least one size."))
    if max(abs(correction.upload), abs(correction.download)) > MAX_COUNTER:
        raise _impossible()
    try:
        _make(correction, by)
    except IntegrityError as error:
        raise _impossible() from error


def carry_over(corrections: Sequence[Correction], by: By) -> None:
    """Save what new subscribers have used elsewhere in their current periods, each as a correction.

    Call it inside the transaction that makes the subscribers, before anything is counted for them.
    """
    Balance.objects.bulk_create([_first_balance(row, by.now) for row in corrections])
    for row in corrections:
        row.made_at, row.author = by.now, by.author
    Correction.objects.bulk_create(corrections)
    noted = [(row.subscriber, _changes(row, 1)) for row in corrections]
    audit.note_many(Action.CORRECTED, noted, by)


def _first_balance(correction: Correction, now: datetime) -> Balance:
    up, down = correction.upload, correction.download
    return Balance(
        subscriber=correction.subscriber,
        period_start=current_period(correction.subscriber, now),
        period_upload=up,
        period_download=down,
        life_upload=up,
        life_download=down,
        corrected_upload=up,
        corrected_download=down,
    )


def undo(correction: Correction, by: By) -> bool:
    """Undo a correction; False if it was already undone. Raises CorrectionError like ``make``."""
    try:
        return _undo(correction, by)
    except IntegrityError as error:
        raise _impossible() from error


@write_transaction
def _make(correction: Correction, by: By) -> None:
    correction.made_at, correction.author = by.now, by.author
    _add(correction, 1, by.now)
    correction.save(force_insert=True)
    audit.note(Action.CORRECTED, correction.subscriber, by, _changes(correction, 1))


@write_transaction
def _undo(correction: Correction, by: By) -> bool:
    standing = Correction.objects.filter(pk=correction.pk, undone_at=None)
    if not standing.update(undone_at=by.now, undone_by=by.author):
        return False
    _add(correction, -1, by.now)
    audit.note(Action.CORRECTION_UNDONE, correction.subscriber, by, _changes(correction, -1))
    return True


def _add(correction: Correction, sign: int, now: datetime) -> None:
    """The check constraints of the balance enforce the bounds, even with concurrent writers."""
    # The lock keeps the period from being restarted between the two updates.
    subscriber = Subscriber.objects.select_for_update().get(pk=correction.subscriber_id)
    up, down = sign * correction.upload, sign * correction.download
    balance = Balance.objects.of(subscriber)
    balance.update(
        life_upload=F("life_upload") + up,
        life_download=F("life_download") + down,
        corrected_upload=F("corrected_upload") + up,
        corrected_download=F("corrected_download") + down,
    )
    start = current_period(subscriber, now)
    if not _counts_since(correction, start):
        return
    # If the stored period has ended, the new one begins with this correction.
    balance.filter(period_start__lt=start).update(
        period_start=start, period_upload=0, period_download=0
    )
    balance.update(
        period_upload=F("period_upload") + up, period_download=F("period_download") + down
    )


def _counts_since(correction: Correction, start: datetime) -> bool:
    return start == EPOCH or (correction.in_period and correction.made_at >= start)


def _changes(correction: Correction, sign: int) -> audit.Changes:
    found = {
        "upload": sign * correction.upload,
        "download": sign * correction.download,
        "reason": correction.reason,
    }
    return {name: (None, value) for name, value in found.items() if value}


def _impossible() -> CorrectionError:
    return CorrectionError(
        _("The usage would be below zero or above 1024 PB. Nothing was changed.")
    )
