from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from operations.admin.base import ModelAdmin
from operations.admin.filters import CountingFilter
from operations.admin.ids import is_id
from operations.formatting import round_size
from operations.units import GB
from traffic.admin.states import STATES
from traffic.figures import overview, reporters, statistics
from traffic.models import Plan, Reseller, Server, Subscriber
from traffic.people import quotas
from traffic.people.quotas import EXPIRES_SOON, State
from traffic.periods import window
from traffic.querysets import SubscriberQuerySet

WEEK = timedelta(days=7)
_LEAST_GB = (1, 10, 100, 1024)
# A longer list is hard to use; other servers can be given in the URL.
_SERVERS = 500
_SPANS = {
    "day": (_("in the last 24 hours"), timedelta(days=1)),
    "week": (_("in the last 7 days"), WEEK),
    "month": (_("in the last 30 days"), timedelta(days=30)),
}

_Question = Callable[[datetime], models.Q]
_MORE: dict[str, tuple[str | Promise, _Question]] = {
    "soon": (_("expiring in 3 days"), lambda now: quotas.expires_between(now, now + EXPIRES_SOON)),
    "expiring": (_("expiring in 7 days"), lambda now: quotas.expires_between(now, now + WEEK)),
    "silent": (_("silent for 7 days"), overview.is_silent),
}


class NewsFilter(admin.SimpleListFilter):
    """Reporters that need attention."""

    title = _("needs attention")
    parameter_name = "news"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [
            ("silent", _("silent")),
            ("problems", _("problems")),
            ("unknown", _("unknown people")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        now = timezone.now()
        match self.value():
            case "silent":
                found = [one.pk for one in queryset if reporters.silent_since(one, now)]
            case "problems":
                found = [one.pk for one in queryset if reporters.problems(one)]
            case "unknown":
                found = [pk for pk, _count in reporters.with_unknown_people()]
            case _:
                return queryset
        return queryset.filter(pk__in=found)


class StateFilter(CountingFilter):
    """The states of ``quotas.state``, and groups that need attention."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [
            *((state.value, label) for state, label in STATES.items()),
            *((k, v[0]) for k, v in _MORE.items()),
        ]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen, now = self.value(), timezone.now()
        if not isinstance(queryset, SubscriberQuerySet) or chosen is None:
            return queryset
        if chosen in _MORE:
            return queryset.filter(_MORE[chosen][1](now))
        if chosen in STATES:
            return queryset.filter(quotas.has_state(State(chosen), now))
        return queryset


class DeletedFilter(CountingFilter):
    """Shows deleted rows on request, apart from the others; ``Hiding`` selects the rows."""

    title = _("deleted")
    parameter_name = "shown"
    template = "admin/operations/folded_filter.html"

    @classmethod
    def is_chosen(cls, request: HttpRequest) -> bool:
        return request.GET.get(cls.parameter_name) == "deleted"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("deleted", _("deleted only"))]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        return queryset


class TrafficFilter(CountingFilter):
    """Filters by usage in the current period."""

    title = _("this period")
    parameter_name = "used"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        least = [
            (str(number), _("%(size)s or more") % {"size": round_size(number * GB)})
            for number in _LEAST_GB
        ]
        return [("0", _("nothing")), *least]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen = self.value() or ""
        if chosen == "0":
            return queryset.filter(period_used=0)
        if chosen in map(str, _LEAST_GB):
            return queryset.filter(period_used__gte=int(chosen) * GB)
        return queryset


class LastUseFilter(CountingFilter):
    title = _("last used")
    parameter_name = "last"
    column: ClassVar[str] = "last_used_at"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [*((name, label) for name, (label, _) in _SPANS.items()), ("never", _("never"))]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen = self.value()
        if chosen == "never":
            return queryset.filter(**{self.column: None})
        span = _SPANS.get(chosen or "")
        return (
            queryset.filter(**{f"{self.column}__gte": timezone.now() - span[1]})
            if span
            else queryset
        )


class ServerFilter(CountingFilter):
    """Subscribers who used a server in the last 7 days. It uses the index of the server, so no other records are read."""

    title = _("server, 7 days")
    parameter_name = "server"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(str(found.pk), str(found)) for found in Server.objects.visible()[:_SERVERS]]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """No counts: for hundreds of servers they would read most of the records."""
        counts, changelist.add_facets = changelist.add_facets, False
        yield from super().choices(changelist)
        changelist.add_facets = counts

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen = self.value() or ""
        if not is_id(chosen):
            return queryset
        return queryset.filter(pk__in=statistics.users_of(int(chosen), window(7, timezone.now())))


class ResetFilter(CountingFilter):
    title = _("limit reset")
    parameter_name = "limit_reset__exact"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return list(Subscriber.Reset.choices)

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen = self.value()
        return (
            queryset.filter(limit_reset=chosen) if chosen in Subscriber.Reset.values else queryset
        )


class PlanFilter(CountingFilter):
    title = _("plan")
    parameter_name = "plan"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(str(pk), name) for pk, name in Plan.objects.values_list("pk", "name")]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(plan=chosen) if chosen and is_id(chosen) else queryset


class ResellerFilter(admin.SimpleListFilter):
    """Subscribers of one reseller, or of none. Not offered while there are no resellers."""

    title = _("reseller")
    parameter_name = "reseller"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        if not request.user.has_perm("traffic.view_reseller"):
            return []
        found = [(str(pk), name) for pk, name in Reseller.objects.values_list("pk", "name")]
        return [*found, ("none", _("none"))] if found else []

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen = self.value() or ""
        if chosen == "none":
            return queryset.filter(reseller=None)
        return queryset.filter(reseller=chosen) if is_id(chosen) else queryset


class LastHourFilter(LastUseFilter):
    """For servers, whose last use is stored by the hour."""

    column = "last_hour"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [*super().lookups(request, model_admin), ("silent", _("silent for a day"))]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        if self.value() == "silent":
            return queryset.filter(overview.server_is_silent(timezone.now()))
        return super().queryset(request, queryset)
