"""Terms that begin with the first use: with the report, in its transaction, or with the first fetch of the list."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from traffic.models import Balance, Reset, Subscriber
from traffic.periods import EPOCH

# The latest expiry, close to the largest date.
_LAST = datetime(9999, 1, 1, tzinfo=EPOCH.tzinfo)


def after(start: datetime, days: int) -> datetime:
    """When a term of ``days`` that begins at ``start`` ends."""
    term = timedelta(days=days)
    return min(start, _LAST - term) + term


def begin(first_uses: Mapping[int, int], now: datetime) -> None:
    """Begin the terms of these subscribers that are on hold. ``first_uses``: when each was used, in Unix seconds.

    Of two that come at once the first begins the term, because the row is locked. Call it inside a transaction.
    """
    rows = Subscriber.objects.filter(pk__in=first_uses, hold_days__isnull=False)
    for subscriber in rows.order_by("pk").select_for_update():
        _begin(subscriber, EPOCH + timedelta(seconds=first_uses[subscriber.pk]), now)


def _begin(subscriber: Subscriber, used_at: datetime, now: datetime) -> None:
    """Days count from now. An interval counts from the use, so that this use belongs to it."""
    changed = {"expires_at": after(now, subscriber.hold_days or 0), "hold_days": None}
    if subscriber.limit_reset == Reset.INTERVAL:
        changed["started_at"] = min(used_at, now)
        Balance.objects.of(subscriber).update(period_start=changed["started_at"])
    Subscriber.objects.filter(pk=subscriber.pk).update(**changed)
