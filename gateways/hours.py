"""What gateways have carried by the hour. Their agents send totals, so a message that arrives twice counts once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from django.db.models import F
from django.db.models.functions import Least

from operations.databases.transactions import write_transaction
from traffic.figures.statistics import BucketSize, Series, series_of
from traffic.models import MAX_COUNTER
from traffic.periods import DAY, Window, floor_hour

from .models import Gateway, GatewayHour

# How long they are kept.
KEPT = 400 * DAY

_Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNTER)]


class Totals(msgspec.Struct, frozen=True):
    """Bytes of a core since ``run`` began. ``unexplained``: carried for nobody who can be named."""

    run: Annotated[str, msgspec.Meta(max_length=64)]
    upload: _Bytes = 0
    download: _Bytes = 0
    unexplained: _Bytes = 0

    def after(self, stored: Mapping[str, Any]) -> "Totals":
        """Never less than what is stored of the same run: an older message may come late."""
        if stored.get("run") != self.run:
            return self
        figures = {name: max(stored[name], getattr(self, name)) for name in _FIGURES}
        return Totals(self.run, **figures)

    def growth(self, stored: Mapping[str, Any]) -> dict[str, int]:
        before = stored if stored.get("run") == self.run else {}
        return {name: getattr(self, name) - before.get(name, 0) for name in _FIGURES}


_FIGURES = ("upload", "download", "unexplained")


@write_transaction
def book(pk: int, told: Totals, now: datetime) -> None:
    """Adds what has grown since the message before to the hour of ``now``."""
    stored = Gateway.objects.select_for_update().get(pk=pk).carried
    totals = told.after(stored)
    grown = totals.growth(stored)
    hour = floor_hour(now)
    GatewayHour.objects.get_or_create(gateway_id=pk, hour=hour)
    GatewayHour.objects.filter(gateway_id=pk, hour=hour).update(
        upload=_raised("upload", grown["upload"]),
        download=_raised("download", grown["download"]),
        reports=F("reports") + 1,
    )
    Gateway.objects.filter(pk=pk).update_quietly(
        carried=msgspec.to_builtins(totals),
        unexplained=_raised("unexplained", grown["unexplained"]),
    )


def _raised(name: str, growth: int) -> Least:
    return Least(F(name) + growth, MAX_COUNTER)


def series(gateway: Gateway, span: Window, bucket: BucketSize, zone: ZoneInfo) -> Series:
    rows: Any = gateway.hours.filter(hour__gte=span.start).values(
        "hour", sum_upload=F("upload"), sum_download=F("download"), sum_reports=F("reports")
    )
    return series_of(rows, span, bucket, zone)


@write_transaction
def drop_old(now: datetime) -> int:
    """Returns how many hours were deleted."""
    return GatewayHour.objects.filter(hour__lt=floor_hour(now - KEPT)).delete()[0]
