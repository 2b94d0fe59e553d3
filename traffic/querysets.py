"""Questions that the models answer; every figure over many rows comes from here."""

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.db.models.sql.compiler import SQLCompiler

from .fields import SecondField
from .periods import EPOCH, period_start

if TYPE_CHECKING:
    from .models import Balance, Server, ServerUsage, Subscriber, Usage  # noqa: F401


class ExactSum(models.Aggregate):
    """A sum in whole bytes that cannot overflow.

    PostgreSQL adds bigints into a numeric. SQLite adds into 64 bits and fails beyond
    2**63, so there the upper and the lower 30 bits are added apart.
    """

    function = "SUM"
    output_field = models.TextField()
    allow_distinct = False

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, tuple[Any, ...]]:
        argument, params = compiler.compile(self.source_expressions[0])
        sql = f"SUM(({argument}) >> 30) || ':' || SUM(({argument}) & 1073741823)"
        return sql, (*params, *params)

    def convert_value(self, value: Any, *_: Any) -> int:
        if isinstance(value, str) and ":" in value:
            high, low = value.split(":")
            return (int(high) << 30) + int(low)
        return int(value or 0)


class SubscriberQuerySet(models.QuerySet["Subscriber"]):
    def visible(self) -> "SubscriberQuerySet":
        return self.filter(hidden_at=None)

    def with_usage(self, now: datetime, zone: ZoneInfo) -> "SubscriberQuerySet":
        """Adds ``period_used``, ``life_used`` (bytes) and ``last_used_at`` as columns that can be sorted by."""
        # The database asks them in this order, so the one condition that answers for most stands first.
        starts = [
            When(limit_reset=reset, then=Value(period_start(reset, now, zone), SecondField()))
            for reset in ("never", "daily", "weekly")
        ] + [
            When(
                limit_reset="monthly", reset_day=day, then=Value(period_start("monthly", now, zone, day), SecondField())
            )
            for day in range(1, 32)
        ]
        begun = Greatest(
            Case(*starts, default=Value(EPOCH, SecondField())),
            Case(When(reset_at=None, then=Value(EPOCH, SecondField())), default=F("reset_at")),
        )
        used = F("balance__period_upload") + F("balance__period_download")
        return self.annotate(period_began=begun).annotate(
            # Said to be large: PostgreSQL would find nothing above what a plain integer holds.
            period_used=Case(
                When(Q(balance__period_start__gte=F("period_began")), then=used),
                default=Value(0),
                output_field=models.BigIntegerField(),
            ),
            life_used=Coalesce(F("balance__life_upload") + F("balance__life_download"), Value(0)),
            last_used_at=F("balance__last_used_at"),
        )

    def in_state(self, state: str, now: datetime) -> "SubscriberQuerySet":
        """Of those ``with_usage``: for whom ``subscribers.state`` answers ``state``."""
        valid = self.filter(Q(expires_at=None) | Q(expires_at__gt=now), is_active=True)
        match state:
            case "disabled":
                return self.filter(is_active=False)
            case "expired":
                return self.filter(is_active=True, expires_at__lte=now)
            case "limited":
                return valid.filter(period_used__gte=F("data_limit"))  # type: ignore[misc]  # an annotation
            case _:
                return valid.filter(Q(data_limit=None) | Q(period_used__lt=F("data_limit")))

    def expiring(self, now: datetime, until: datetime) -> "SubscriberQuerySet":
        """Still valid, and no longer after ``until``."""
        return self.filter(is_active=True, expires_at__gt=now, expires_at__lte=until)

    def silent_since(self, moment: datetime) -> "SubscriberQuerySet":
        """Of those ``with_usage``: known at ``moment``, and not heard of since then."""
        return self.filter(Q(last_used_at__lt=moment) | Q(last_used_at=None), created_at__lte=moment)


class ServerQuerySet(models.QuerySet["Server"]):
    def visible(self) -> "ServerQuerySet":
        return self.filter(hidden_at=None)


class SumsQuerySet(models.QuerySet[Any]):
    """Of ``Usage`` and ``ServerUsage``, which carry the same three counters."""

    def since(self, start: datetime) -> "SumsQuerySet":
        return self.filter(hour__gte=start)

    def sums(self, *group_by: str) -> models.QuerySet[Any, dict[str, Any]]:
        """One row for each value of ``group_by`` with exact sums: sum_upload, sum_download (bytes), sum_connections."""
        grouped: models.QuerySet[Any, dict[str, Any]] = (
            self.order_by()
            .values(*group_by)
            .annotate(
                sum_upload=ExactSum("upload"),
                sum_download=ExactSum("download"),
                sum_connections=models.Sum("connections"),
            )
        )
        return grouped
