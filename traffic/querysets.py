"""Querysets of the models, with the sums over many rows."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models

from operations.databases.exact_sum import ExactSum

if TYPE_CHECKING:
    from .models import Balance, Server, ServerUsage, Subscriber, Usage  # noqa: F401


class SubscriberQuerySet(models.QuerySet["Subscriber"]):
    def visible(self) -> "SubscriberQuerySet":
        return self.filter(hidden_at=None)


class ServerQuerySet(models.QuerySet["Server"]):
    def visible(self) -> "ServerQuerySet":
        return self.filter(hidden_at=None)


class BalanceQuerySet(models.QuerySet["Balance"]):
    def of(self, subscriber: "Subscriber") -> "BalanceQuerySet":
        """The balance of a subscriber, made if there is none. Call it before a new period is written into it.

        A report that looked the old period up beforehand then finds the new one and counts in it, whereas the row
        that it would have made itself would belong to the old one.
        """
        self.bulk_create([self.model(subscriber=subscriber)], ignore_conflicts=True)
        return self.filter(subscriber=subscriber)


class SumsQuerySet(models.QuerySet[Any]):
    """Sums of ``Usage`` and ``ServerUsage``, which have the same three counters."""

    def since(self, start: datetime) -> "SumsQuerySet":
        return self.filter(hour__gte=start)

    def sums(self, *group_by: str) -> models.QuerySet[Any, dict[str, Any]]:
        """One row per value of ``group_by`` with exact sums: sum_upload, sum_download (bytes), sum_reports."""
        grouped: models.QuerySet[Any, dict[str, Any]] = (
            self.order_by()
            .values(*group_by)
            .annotate(
                sum_upload=ExactSum("upload"),
                sum_download=ExactSum("download"),
                sum_reports=models.Sum("reports"),
            )
        )
        return grouped
