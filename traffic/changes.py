"""What operators do to subscribers and servers: every change is one audit entry with its author, in one transaction.

For one or for ten thousand: rows are locked, changed and noted in steps, so that reports keep flowing in between.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

from django.db import models, transaction

from . import audit
from .audit import Action, By, Changes
from .models import Server, Subscriber, new_token
from .recording import restart_period, retried
from .turns import writers_turn

# Rows a transaction: the write lock is let go in between.
STEP = 200
# No expiry is moved past this: a date cannot hold much more.
_LAST = datetime(9999, 1, 1, tzinfo=UTC)

Hideable = TypeVar("Hideable", bound=Subscriber | Server)
_Change = Callable[[Subscriber], Changes | None]
"""Changes one locked subscriber and says what; None: there was nothing to change."""


def extend(subscribers: Iterable[int], days: int, by: By) -> int:
    """Move the expiry by ``days`` from where it stands, or from now if it has passed; return how many were extended.

    Who never expires stays so.
    """

    def change(subscriber: Subscriber) -> Changes | None:
        old = subscriber.expires_at
        if old is None:
            return None
        more = timedelta(days=days)
        subscriber.expires_at = min(max(old, by.now), _LAST - more) + more
        return {"expires_at": (old, subscriber.expires_at)}

    return _each(Action.EXTENDED, subscribers, change, by)


def switch(subscribers: Iterable[int], *, on: bool, by: By) -> int:
    """Switch on or off; return how many were not so already."""

    def change(subscriber: Subscriber) -> Changes | None:
        if subscriber.is_active == on:
            return None
        subscriber.is_active = on
        return {"is_active": (not on, on)}

    return _each(Action.SWITCHED_ON if on else Action.SWITCHED_OFF, subscribers, change, by)


def restart(subscribers: Iterable[int], by: By) -> int:
    """Set the current period of each back to nothing; the life goes on."""

    def change(subscriber: Subscriber) -> Changes:
        old = subscriber.reset_at
        restart_period(subscriber, by.now)
        return {"reset_at": (old, subscriber.reset_at)}

    return _each(Action.RESTARTED, subscribers, change, by)


def renew_tokens(subscribers: Iterable[int], by: By) -> int:
    """Give each a new token; the old one stops at once, for subscription and reports. Return how many got one."""

    def change(subscriber: Subscriber) -> Changes:
        old, subscriber.token = subscriber.token, new_token()
        return {"token": (old, subscriber.token)}

    return _each(Action.NEW_TOKEN, subscribers, change, by)


def hide(model: type[Hideable], ids: Iterable[int], by: By) -> int:
    """Delete, as everybody calls it: the rows leave the lists, their sums stay. Return how many went."""
    return sum(_hide_step(model, step, by) for step in _steps(ids))


def bring_back(model: type[Hideable], ids: Iterable[int], by: By) -> int:
    """Undo ``hide``; return how many came back."""
    return sum(_bring_back_step(model, step, by) for step in _steps(ids))


@retried
def _hide_step(model: type[Hideable], step: list[int], by: By) -> int:
    with writers_turn(), transaction.atomic():
        return _set_hidden(_locked(model, step).filter(hidden_at=None), by.now, Action.DELETED, by)


@retried
def _bring_back_step(model: type[Hideable], step: list[int], by: By) -> int:
    with writers_turn(), transaction.atomic():
        return _set_hidden(_locked(model, step).exclude(hidden_at=None), None, Action.BROUGHT_BACK, by)


def _set_hidden(locked: models.QuerySet[Hideable], moment: datetime | None, action: Action, by: By) -> int:
    found = list(locked)
    for row in found:
        row.hidden_at = moment
    locked.bulk_update(found, ["hidden_at"])
    audit.note_many(action, [(row, {}) for row in found], by)
    return len(found)


def _each(action: Action, subscribers: Iterable[int], change: _Change, by: By) -> int:
    return sum(_change_step(action, step, change, by) for step in _steps(subscribers))


@retried
def _change_step(action: Action, step: list[int], change: _Change, by: By) -> int:
    with writers_turn(), transaction.atomic():
        made = [(row, changes) for row in _locked(Subscriber, step) if (changes := change(row)) is not None]
        if made:
            Subscriber.objects.bulk_update([row for row, _ in made], list(made[0][1]))
        audit.note_many(action, made, by)
    return len(made)


def _locked(model: type[Hideable], ids: list[int]) -> models.QuerySet[Hideable]:
    rows = cast("models.QuerySet[Hideable]", model.objects.filter(pk__in=ids))
    return rows.order_by("pk").select_for_update()


def _steps(ids: Iterable[int]) -> Iterator[list[int]]:
    rows = sorted(ids)
    for start in range(0, len(rows), STEP):
        yield rows[start : start + STEP]
