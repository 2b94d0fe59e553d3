"""Requests that count once, however often they are sent: what ``Idempotency-Key`` promises."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
from django.db import models

from .databases.transactions import write_transaction
from .models import IdempotentRequest

KEPT = timedelta(days=7)
# Ids per transaction of ``in_steps``.
STEP = 100
# Rows per transaction of cleanup.
_DROP_STEP = 1000


class Asked(msgspec.Struct, frozen=True):
    """``caller``: whose key it is; two callers may use the same. ``digest``: of what was asked."""

    caller: str
    key: str
    digest: str


class Reused(Exception):  # noqa: N818  what happened, not what went wrong here
    """The key was used before, with another body."""


class Done(msgspec.Struct, frozen=True):
    """``outcome`` is what ``work`` returned, now or the first time."""

    outcome: Any
    is_repeat: bool


@write_transaction
def once(asked: Asked | None, work: Callable[[], Any], now: datetime) -> Done:
    """Do ``work`` in one transaction, unless the same was asked before; without a key it is always done.

    ``work`` returns what JSON can hold. If it raises, nothing is changed and the key stays unused. Of two equal
    requests at once the second waits for the first. Raises Reused.
    """
    if asked is None:
        return Done(work(), is_repeat=False)
    row = _claimed(asked, now)
    if row.outcome is not None:
        return Done(row.outcome, is_repeat=True)
    _store(row, work())
    return Done(row.outcome, is_repeat=False)


def in_steps(
    asked: Asked | None,
    choose: Callable[[], list[int]],
    step: Callable[[list[int]], list[Any]],
    now: datetime,
) -> Done:
    """Like ``once`` for many ids, ``STEP`` per transaction, so that other writers have their turn.

    ``choose`` says which, ``step`` answers one outcome for each it is given. A repeat of what was interrupted goes on
    where it stopped; of two at once each does a part.
    """
    if asked is None:
        return Done(_without_key(choose(), step), is_repeat=False)
    is_repeat = _begin(asked, choose, now)
    while (progress := _go_on(asked, step))["left"]:
        pass
    return Done(progress["done"], is_repeat)


def _without_key(ids: list[int], step: Callable[[list[int]], list[Any]]) -> list[Any]:
    parts = (ids[start : start + STEP] for start in range(0, len(ids), STEP))
    return [outcome for part in parts for outcome in write_transaction(step)(part)]


@write_transaction
def _begin(asked: Asked, choose: Callable[[], list[int]], now: datetime) -> bool:
    """Write down what is to be done; True when that was done before."""
    row = _claimed(asked, now)
    if row.outcome is not None:
        return True
    _store(row, {"left": choose(), "done": []})
    return False


@write_transaction
def _go_on(asked: Asked, step: Callable[[list[int]], list[Any]]) -> dict[str, list[Any]]:
    row = _rows(asked).select_for_update().get()
    progress = cast("dict[str, list[Any]]", row.outcome)
    if progress["left"]:
        part, left = progress["left"][:STEP], progress["left"][STEP:]
        progress = {"left": left, "done": progress["done"] + step(part)}
        _store(row, progress)
    return progress


def _claimed(asked: Asked, now: datetime) -> IdempotentRequest:
    """The row of this key: without an outcome if this transaction has made it. Raises Reused."""
    row = IdempotentRequest(caller=asked.caller, key=asked.key, digest=asked.digest, at=now)
    # Waits for another transaction that has just made the same.
    IdempotentRequest.objects.bulk_create([row], ignore_conflicts=True)
    found = _rows(asked).get()
    if found.digest != asked.digest:
        raise Reused
    return found


def _rows(asked: Asked) -> models.QuerySet[IdempotentRequest]:
    return IdempotentRequest.objects.filter(caller=asked.caller, key=asked.key)


def _store(row: IdempotentRequest, outcome: Any) -> None:
    row.outcome = outcome
    row.save(update_fields=["outcome"])


def drop_old(now: datetime) -> int:
    """Forget keys that were used more than 7 days ago; return how many."""
    total = 0
    while dropped := _drop_step(now - KEPT):
        total += dropped
    return total


@write_transaction
def _drop_step(before: datetime) -> int:
    old = IdempotentRequest.objects.filter(at__lt=before).order_by("at")
    ids = list(old.values_list("pk", flat=True)[:_DROP_STEP])
    return IdempotentRequest.objects.filter(pk__in=ids).delete()[0]
