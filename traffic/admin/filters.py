from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from traffic import statistics
from traffic.cells import STATES, round_size
from traffic.models import Server, Subscriber
from traffic.periods import window
from traffic.querysets import SubscriberQuerySet
from traffic.units import GB

from .base import ModelAdmin
from .ids import is_id

WEEK = timedelta(days=7)
_LEAST_GB = (1, 10, 100, 1024)
# More than these nobody finds in a list; any other may be written into its address.
_SERVERS = 500
_SPANS = {
    "day": (_("in the last 24 hours"), timedelta(days=1)),
    "week": (_("in the last 7 days"), WEEK),
    "month": (_("in the last 30 days"), timedelta(days=30)),
}

_Narrow = Callable[[SubscriberQuerySet, datetime], SubscriberQuerySet]
_MORE: dict[str, tuple[str | Promise, _Narrow]] = {
    "expiring": (_("expiring in 7 days"), lambda found, now: found.expiring(now, now + WEEK)),
    "silent": (_("silent for 7 days"), lambda found, now: found.silent_since(now - WEEK)),
}


class StateFilter(admin.SimpleListFilter):
    """The states of ``subscribers.state``, and those who need a look."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [*((state.value, label) for state, label in STATES.items()), *((k, v[0]) for k, v in _MORE.items())]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        chosen, now = self.value(), timezone.now()
        if not isinstance(queryset, SubscriberQuerySet) or chosen is None:
            return queryset
        if chosen in _MORE:
            return _MORE[chosen][1](queryset, now)
        return queryset.in_state(chosen, now) if chosen in STATES else queryset


class DeletedFilter(admin.SimpleListFilter):
    """What is deleted is listed by itself, and only when asked for: ``HidingAdmin`` chooses the rows."""

    title = _("deleted")
    parameter_name = "shown"
    template = "admin/traffic/folded_filter.html"

    @classmethod
    def is_chosen(cls, request: HttpRequest) -> bool:
        return request.GET.get(cls.parameter_name) == "deleted"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("deleted", _("deleted only"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset


class TrafficFilter(admin.SimpleListFilter):
    """By what was used in the current period."""

    title = _("this period")
    parameter_name = "used"
    template = "admin/traffic/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        least = [(str(number), _("%(size)s or more") % {"size": round_size(number * GB)}) for number in _LEAST_GB]
        return [("0", _("nothing")), *least]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        chosen = self.value() or ""
        if chosen == "0":
            return queryset.filter(period_used=0)
        if chosen in map(str, _LEAST_GB):
            return queryset.filter(period_used__gte=int(chosen) * GB)
        return queryset


class LastUseFilter(admin.SimpleListFilter):
    title = _("last used")
    parameter_name = "last"
    column: ClassVar[str] = "last_used_at"
    template = "admin/traffic/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [*((name, label) for name, (label, _) in _SPANS.items()), ("never", _("never"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        chosen = self.value()
        if chosen == "never":
            return queryset.filter(**{self.column: None})
        span = _SPANS.get(chosen or "")
        return queryset.filter(**{f"{self.column}__gte": timezone.now() - span[1]}) if span else queryset


class ServerFilter(admin.SimpleListFilter):
    """Who used a server in the last 7 days: by the index of the server, so nobody else's records are read."""

    title = _("server, 7 days")
    parameter_name = "server"
    template = "admin/traffic/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(str(found.pk), str(found)) for found in Server.objects.visible()[:_SERVERS]]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Never with counts: hundreds of servers would read most of the records."""
        counts, changelist.add_facets = changelist.add_facets, False
        yield from super().choices(changelist)
        changelist.add_facets = counts

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        chosen = self.value() or ""
        if not is_id(chosen):
            return queryset
        return queryset.filter(pk__in=statistics.users_of(int(chosen), window(7, timezone.now())))


class ResetFilter(admin.SimpleListFilter):
    title = _("limit reset")
    parameter_name = "limit_reset__exact"
    template = "admin/traffic/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return list(Subscriber.Reset.choices)

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(limit_reset=chosen) if chosen in Subscriber.Reset.values else queryset


class LastHourFilter(LastUseFilter):
    """Of servers, whose last use is told by the hour."""

    column = "last_hour"
