"""Operators' changes to subscribers and servers. Each change and its audit entry are in one transaction.

Rows are locked, changed and noted in steps, so that reports are recorded between the steps of a large change.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

from django.db import models

from operations import audit
from operations.audit import Action, By, Changes
from operations.conf import MAX_DAYS
from operations.databases.transactions import write_transaction
from traffic.ledger import retired_tokens, terms
from traffic.ledger.recording import recount_period, restart_period
from traffic.models import Reset, Server, Subscriber, new_token

from . import resellers

# Rows per transaction; the write lock is released between transactions.
STEP = 200
# Fields that the audit trail tells by the name of the row to which they point.
_TOLD_BY_NAME = frozenset({"plan", "reseller"})

Hideable = TypeVar("Hideable", bound=Subscriber | Server)
Change = Callable[[Subscriber], Changes | None]
"""A function that changes one locked subscriber and returns the changes; None if there is nothing to change."""
Further = Callable[[Sequence[Subscriber]], Mapping[int, Changes]]
"""A function that changes what another app keeps of these locked subscribers and returns the changes by id."""


def _nothing_further(_: Sequence[Subscriber]) -> Mapping[int, Changes]:
    return {}


@write_transaction
def add(subscriber: Subscriber, by: By, further: Further = _nothing_further) -> None:
    """Store a new subscriber. Raises IntegrityError when another has the token or the external id."""
    with resellers.kept([subscriber], by.now):
        subscriber.save(force_insert=True)
        further([subscriber])
    audit.note(Action.ADDED, subscriber, by)


def edit(
    subscribers: Iterable[int],
    values: Mapping[str, Any],
    by: By,
    further: Further = _nothing_further,
) -> int:
    """Give fields these values; return how many subscribers changed. What a period holds is counted again
    where its beginning moves. Raises IntegrityError when another has the token or the external id.

    This and every other function that gives subscribers something raises Refused where a reseller's quota does not
    allow it.
    """
    return sum(_edit_step(step, values, by, further) for step in _steps(subscribers))


def extend(subscribers: Iterable[int], days: int, by: By) -> int:
    """Move the expiry by ``days``, counted from now if it has passed; return how many were extended.

    A term that begins with the first use becomes longer. Subscribers without a term are not changed.
    """
    return each(Action.EXTENDED, subscribers, lambda row: lengthen(row, days, by.now), by)


def lengthen(subscriber: Subscriber, days: int, now: datetime) -> Changes | None:
    """Make the term of a locked subscriber longer; None if there is none."""
    if subscriber.hold_days is not None:
        old = subscriber.hold_days
        subscriber.hold_days = min(old + days, MAX_DAYS)
        return {"hold_days": (old, subscriber.hold_days)}
    expires_at = subscriber.expires_at
    if expires_at is None:
        return None
    subscriber.expires_at = later(expires_at, days, now)
    return {"expires_at": (expires_at, subscriber.expires_at)}


def later(expires_at: datetime | None, days: int, now: datetime) -> datetime | None:
    """The expiry moved by ``days``, counted from now if it has passed; None stays None."""
    return None if expires_at is None else terms.after(max(expires_at, now), days)


def extend_until(subscribers: Iterable[int], until: datetime, by: By) -> int:
    """Set the expiry to ``until``, also of those on hold; return how many did not have it already."""

    def change(subscriber: Subscriber) -> Changes | None:
        old = subscriber.expires_at, subscriber.hold_days
        if old == (until, None):
            return None
        subscriber.expires_at, subscriber.hold_days = until, None
        return {"expires_at": (old[0], until), "hold_days": (old[1], None)}

    return each(Action.EXTENDED, subscribers, change, by)


def switch(subscribers: Iterable[int], *, on: bool, by: By) -> int:
    """Switch on or off; return how many were changed."""

    def change(subscriber: Subscriber) -> Changes | None:
        if subscriber.is_active == on:
            return None
        subscriber.is_active = on
        return {"is_active": (not on, on)}

    return each(Action.SWITCHED_ON if on else Action.SWITCHED_OFF, subscribers, change, by)


def restart(subscribers: Iterable[int], by: By) -> int:
    """Set the counters of each current period to zero. The counters of the whole life stay."""

    def change(subscriber: Subscriber) -> Changes:
        old = subscriber.reset_at
        restart_period(subscriber, by.now)
        return {"reset_at": (old, subscriber.reset_at)}

    return each(Action.RESTARTED, subscribers, change, by)


def renew_tokens(subscribers: Iterable[int], by: By) -> int:
    """Give each a new token; return how many got one. Old tokens stop working at once, for subscriptions and reports."""

    def change(subscriber: Subscriber) -> Changes:
        old, subscriber.token = subscriber.token, new_token()
        return {"token": (old, subscriber.token)}

    return each(Action.NEW_TOKEN, subscribers, change, by)


def add_note(subscribers: Iterable[int], line: str, by: By) -> int:
    """Add a line to the end of each note; return how many were changed."""

    def change(subscriber: Subscriber) -> Changes:
        old = subscriber.note
        subscriber.note = f"{old.rstrip()}\n{line}".lstrip()
        return {"note": (old, subscriber.note)}

    return each(Action.CHANGED, subscribers, change, by)


def hide(model: type[Hideable], ids: Iterable[int], by: By) -> int:
    """Delete in the sense of the admin: hide rows from lists and keep their sums; return how many were hidden."""
    return sum(_hide_step(model, step, by) for step in _steps(ids))


def bring_back(model: type[Hideable], ids: Iterable[int], by: By) -> int:
    """Undo ``hide``; return how many rows were brought back."""
    return sum(_bring_back_step(model, step, by) for step in _steps(ids))


@write_transaction
def _hide_step(model: type[Hideable], step: list[int], by: By) -> int:
    return _set_hidden(_locked(model, step).filter(hidden_at=None), by.now, Action.DELETED, by)


@write_transaction
def _bring_back_step(model: type[Hideable], step: list[int], by: By) -> int:
    return _set_hidden(_locked(model, step).exclude(hidden_at=None), None, Action.BROUGHT_BACK, by)


def _set_hidden(
    locked: models.QuerySet[Hideable], moment: datetime | None, action: Action, by: By
) -> int:
    found = list(locked)
    with resellers.kept([row for row in found if isinstance(row, Subscriber)], by.now):
        for row in found:
            row.hidden_at = moment
        locked.bulk_update(found, ["hidden_at"])
    audit.note_many(action, [(row, {}) for row in found], by)
    return len(found)


@write_transaction
def _edit_step(step: list[int], values: Mapping[str, Any], by: By, further: Further) -> int:
    rows = list(_locked(Subscriber, step))
    if named := _TOLD_BY_NAME & set(values):
        models.prefetch_related_objects(rows, *sorted(named))
    with resellers.kept(rows, by.now, values.get("reseller")):
        made = _edited(rows, values, by, further(rows))
    _retire_tokens(made)
    audit.note_many(Action.CHANGED, made, by)
    return len(made)


def _edited(
    rows: Sequence[Subscriber], values: Mapping[str, Any], by: By, others: Mapping[int, Changes]
) -> list[tuple[Subscriber, Changes]]:
    """Store the values; return the rows that changed."""
    sellers = {row.pk: row.reseller_id for row in rows}
    edited = [(row, _set(row, values)) for row in rows]
    every: list[tuple[Subscriber, Changes]] = [
        (row, {**own, **others.get(row.pk, {})}) for row, own in edited
    ]
    made = [(row, changes) for row, changes in every if changes]
    if values:
        Subscriber.objects.bulk_update([row for row, _ in made], list(values))
    for row, changes in made:
        if moves_period(row, changes):
            recount_period(row, by.now)
    resellers.carry(
        {row.pk: (sellers[row.pk], row.reseller_id) for row, own in made if "reseller" in own}
    )
    return made


def _set(subscriber: Subscriber, values: Mapping[str, Any]) -> Changes:
    before = audit.values(subscriber, values)
    for name, value in values.items():
        setattr(subscriber, name, value)
    return audit.differences(subscriber, before)


def moves_period(subscriber: Subscriber, changed: Container[str]) -> bool:
    """Whether the beginning of the period moves with these fields."""
    used = {Reset.MONTHLY: "reset_day", Reset.INTERVAL: "reset_days"}.get(
        Reset(subscriber.limit_reset)
    )
    return "limit_reset" in changed or used in changed


def each(action: Action, subscribers: Iterable[int], change: Change, by: By) -> int:
    """Change and note subscribers one by one, in steps; return how many were changed."""
    return sum(_change_step(action, step, change, by) for step in _steps(subscribers))


@write_transaction
def _change_step(action: Action, step: list[int], change: Change, by: By) -> int:
    rows = list(_locked(Subscriber, step))
    with resellers.kept(rows, by.now):
        made = [(row, changes) for row in rows if (changes := change(row)) is not None]
        if made:
            fields = {name for _, changes in made for name in changes}
            Subscriber.objects.bulk_update([row for row, _ in made], sorted(fields))
    _retire_tokens(made)
    audit.note_many(action, made, by)
    return len(made)


def _retire_tokens(made: Iterable[tuple[Subscriber, Changes]]) -> None:
    retired_tokens.replaced(
        {row.pk: changes["token"][0] for row, changes in made if "token" in changes}
    )


def _locked(model: type[Hideable], ids: list[int]) -> models.QuerySet[Hideable]:
    rows = cast("models.QuerySet[Hideable]", model.objects.filter(pk__in=ids))
    return rows.order_by("pk").select_for_update()


def _steps(ids: Iterable[int]) -> Iterator[list[int]]:
    rows = sorted(ids)
    for start in range(0, len(rows), STEP):
        yield rows[start : start + STEP]
