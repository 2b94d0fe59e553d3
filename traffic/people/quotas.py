"""State and level of subscribers, each in Python and as a database query.

Both forms give the same result for every subscriber at every time; a test proves it on random rows. Functions
that return a ``Q`` or an expression with ``period_used`` are for rows of ``with_usage``.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Case, ExpressionWrapper, F, Q, Value, When
from django.db.models.functions import Cast, Coalesce, Greatest

from operations import quota_levels
from operations.quota_levels import Level
from traffic.fields import SecondField
from traffic.models import Subscriber
from traffic.periods import EPOCH, period_start
from traffic.querysets import SubscriberQuerySet

# How long before expiry a subscriber counts as expiring.
EXPIRES_SOON = timedelta(days=3)
_Suspension = Subscriber.Suspension


class State(StrEnum):
    """The first that applies, in this order: disabled, expired, limited, on hold; otherwise active.

    A linked panel that suspends the subscriber counts like the subscriber's own switch, term and limit.
    """

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    LIMITED = "limited"
    ON_HOLD = "on_hold"

    @property
    def may_use(self) -> bool:
        """Whether the subscriber gets the servers: the first use ends being on hold."""
        return self in {State.ACTIVE, State.ON_HOLD}


# In Python. ``used``: bytes of upload and download in the current period.


def state(subscriber: Subscriber, used: int, now: datetime) -> State:
    """At the moment of expiry the state is expired, and at exactly the limit it is limited."""
    suspension = subscriber.suspension
    if not subscriber.is_active or suspension == _Suspension.DISABLED:
        return State.DISABLED
    if suspension == _Suspension.EXPIRED or (
        subscriber.expires_at and subscriber.expires_at <= now
    ):
        return State.EXPIRED
    is_over = suspension == _Suspension.LIMITED or level(subscriber, used) is Level.OVER
    if is_over:
        return State.LIMITED
    return State.ACTIVE if subscriber.hold_days is None else State.ON_HOLD


def level(subscriber: Subscriber, used: int) -> Level | None:
    """The level; None without a limit."""
    limit = subscriber.data_limit
    return None if limit is None else quota_levels.level(used, limit)


# The same as database queries.


def with_usage(rows: SubscriberQuerySet, now: datetime, zone: ZoneInfo) -> SubscriberQuerySet:
    """Adds ``period_began``, ``period_used``, ``life_used`` (bytes) and ``last_used_at``, which can be sorted by."""
    used = F("balance__period_upload") + F("balance__period_download")
    return rows.annotate(period_began=began(now, zone)).annotate(
        # A bigint, because PostgreSQL would find nothing above a plain integer.
        period_used=Case(
            When(Q(balance__period_start__gte=F("period_began")), then=used),
            default=Value(0),
            output_field=models.BigIntegerField(),
        ),
        life_used=Coalesce(F("balance__life_upload") + F("balance__life_download"), Value(0)),
        last_used_at=F("balance__last_used_at"),
    )


def began(now: datetime, zone: ZoneInfo) -> Greatest:
    """When the current period of rows of ``Metered`` began: by their rule, or by a manual restart if that was later."""
    # The database checks them in this order, so the condition that matches most rows comes first.
    reset = Subscriber.Reset
    starts = [_when(now, zone, kind) for kind in (reset.NEVER, reset.DAILY, reset.WEEKLY)]
    starts += [_when(now, zone, reset.MONTHLY, day) for day in range(1, 32)]
    starts += [
        _when(now, zone, reset.YEARLY),
        When(limit_reset=reset.INTERVAL, then=_interval(now)),
    ]
    never = Value(EPOCH, SecondField())
    by_hand = Case(When(reset_at=None, then=never), default=F("reset_at"))
    return Greatest(Case(*starts, default=never), by_hand)


def _interval(now: datetime) -> models.Expression:
    """``periods.interval_start``, counted from the start or from a manual restart if that was later."""
    whole = models.BigIntegerField()
    restart = Coalesce(Cast("reset_at", whole), Value(0, whole))
    start = Greatest(Cast("started_at", whole), restart)
    step = ExpressionWrapper(Cast("reset_days", whole) * Value(86_400, whole), whole)
    since = Greatest(
        ExpressionWrapper(Value(int(now.timestamp()), whole) - start, whole), Value(0, whole)
    )
    return ExpressionWrapper(start + since / step * step, SecondField())


def _when(now: datetime, zone: ZoneInfo, reset: str, day: int | None = None) -> When:
    start = Value(period_start(reset, now, zone, day or 1), SecondField())
    chosen = Q(limit_reset=reset) if day is None else Q(limit_reset=reset, reset_day=day)
    return When(chosen, then=start)


def has_state(wanted: State, now: datetime) -> Q:
    match wanted:
        case State.DISABLED:
            return _is_disabled()
        case State.EXPIRED:
            return ~_is_disabled() & _is_expired(now)
        case State.LIMITED:
            return is_valid(now) & (Q(suspension=_Suspension.LIMITED) | has_level(Level.OVER))
        case State.ON_HOLD:
            return may_use(now) & Q(hold_days__isnull=False)
        case State.ACTIVE:
            return may_use(now) & Q(hold_days=None)


def may_use(now: datetime) -> Q:
    """Subscribers whose state ``may_use``."""
    has_room = Q(data_limit=None) | Q(period_used__lt=F("data_limit"))
    return is_valid(now) & Q(suspension="") & has_room


def is_valid(now: datetime) -> Q:
    """Subscribers who are neither switched off nor expired."""
    is_on = Q(is_active=True, suspension__in=("", _Suspension.LIMITED))
    return is_on & (Q(expires_at=None) | Q(expires_at__gt=now))


def _is_disabled() -> Q:
    return Q(is_active=False) | Q(suspension=_Suspension.DISABLED)


def _is_expired(now: datetime) -> Q:
    return Q(suspension=_Suspension.EXPIRED) | Q(expires_at__isnull=False, expires_at__lte=now)


def has_level(wanted: Level) -> Q:
    high = F("data_limit") - F("data_limit") / 5
    match wanted:
        case Level.OVER:
            return Q(period_used__gte=F("data_limit"))
        case Level.HIGH:
            return Q(period_used__gte=high, period_used__lt=F("data_limit"))
        case Level.LOW:
            return Q(period_used__lt=high)


def may_have_reached(wanted: Level) -> Q:
    """Matches everyone at this level (HIGH or OVER) or above, whoever a linked panel limits, and a few more.

    It checks only the counters, not when the period began. Few counters are that high, so the exact check
    after it is cheap.
    """
    counted = F("balance__period_upload") + F("balance__period_download")
    margin = Value(0) if wanted is Level.OVER else F("data_limit") / 5
    # A subscriber without reports has no balance, but has still reached a limit of 0.
    has_reached = Q(data_limit__lte=counted + margin) | Q(data_limit__lte=0)
    return has_reached | Q(suspension=_Suspension.LIMITED)


def expires_between(now: datetime, until: datetime) -> Q:
    """Subscribers who are valid now and expire by ``until``."""
    return Q(is_active=True, expires_at__gt=now, expires_at__lte=until)
