"""The part of every cleanup that does not depend on the retention."""

from datetime import datetime

import msgspec
from django.db.models import Q

from operations.audit import By
from operations.databases.transactions import write_transaction
from operations.extension import extensions
from operations.notifications import outbox
from operations.watch import command_runs
from traffic.conf import conf
from traffic.ledger import retention
from traffic.ledger.recording import recount_period
from traffic.ledger.retention import Progress
from traffic.models import ServerUsage, Subscriber
from traffic.periods import DAY
from traffic.reports import MAX_AHEAD

from . import erasure, lapsed, next_plans
from .lapsed import Lapsed

# A cleanup runs daily. If neither a run nor traffic is known of 30 days, the clock has jumped.
_JUMP = 30 * DAY
# Traffic of these last days may itself have been recorded by the clock in doubt.
_IN_DOUBT = 7 * DAY


class Tidied(msgspec.Struct, frozen=True):
    """The result of ``tidy``. ``periods``: how many began in the future and were counted again.

    ``others``: rows deleted by functions that apps registered.
    """

    folded: int
    events: int
    periods: int
    others: dict[str, int]
    lapsed: Lapsed


def has_jumped(now: datetime) -> bool:
    """Whether the clock seems to be far ahead, so that records and event ids would be deleted that are not old.

    Nothing is known against the clock of a panel that was never cleaned up.
    """
    run = command_runs.last_run("cleanup_traffic")
    if run is None or run.succeeded_at is None or run.succeeded_at > now - _JUMP:
        return False
    known = ServerUsage.objects.filter(hour__gte=now - _JUMP, hour__lt=now - _IN_DOUBT)
    return not known.exists()


def tidy(now: datetime, progress: Progress = int) -> Tidied:
    """Fold old hours, finish erasures, delete old event ids, run the cleanup functions of all apps, and tidy people."""
    next_plans.begin_due(now)
    folded = retention.fold(now, progress)
    erasure.sweep(By("cleanup", now))
    events = retention.drop_events(now, progress)
    retention.drop_told(conf.retention_days, now, progress)
    periods = _end_future_periods(now)
    return Tidied(folded, events, periods, _others(now), lapsed.tidy(now))


def in_future_periods(now: datetime) -> Q:
    """Subscribers whose period was begun by a clock that ran ahead: until then it would not count anything."""
    late = now + MAX_AHEAD
    return Q(balance__period_start__gt=late) | Q(reset_at__gt=late)


def _end_future_periods(now: datetime) -> int:
    wrong = list(Subscriber.objects.filter(in_future_periods(now)))
    for subscriber in wrong:
        _count_again(subscriber, now)
    return len(wrong)


@write_transaction
def _count_again(subscriber: Subscriber, now: datetime) -> None:
    if subscriber.reset_at and subscriber.reset_at > now:
        subscriber.reset_at = now.replace(microsecond=0)
        subscriber.save(update_fields=["reset_at"])
    recount_period(subscriber, now)


def _others(now: datetime) -> dict[str, int]:
    """Run the cleanup functions of the panel and its apps; return the number of rows by name."""
    tasks = {"notifications": outbox.drop_old}
    for extension in extensions():
        tasks |= extension.cleanup
    return {name: task(now) for name, task in tasks.items()}
