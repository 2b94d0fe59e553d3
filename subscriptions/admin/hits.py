import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise, cached_property
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from operations.admin.base import ModelAdmin, PanelAdmin
from subscriptions import formats
from subscriptions.models import SubscriptionHit
from subscriptions.serving.clients import NAMES
from traffic.models import Subscriber

from .sections import SUBSCRIPTIONS

# The most rows that the list counts and shows, because counting all would read millions of rows.
_MOST = 5000
# A filter searches only this many of the newest hits, unless subscribers are selected, because a value may be rare.
_LOOKED_AT = 50_000
_OF_SUBSCRIBERS = frozenset({"subscriber__id__exact", "q"})
# The most subscribers that a search finds.
_FOUND = 200
_SPANS = {
    "hour": (_("last hour"), timedelta(hours=1)),
    "day": (_("last 24 hours"), timedelta(days=1)),
    "week": (_("last 7 days"), timedelta(days=7)),
}

_NOT_NAMES = {
    "browser": _("browser"),
    "other": pgettext_lazy("app", "other"),
    "other-vpn-app": _("another VPN app"),
}

if TYPE_CHECKING:
    _Paginator = Paginator[SubscriptionHit]
else:
    _Paginator = Paginator


class RecentPaginator(_Paginator):
    """Stops counting at the last row that the list can show."""

    @cached_property
    def count(self) -> int:
        newest: models.QuerySet[SubscriptionHit] = self.object_list[:_MOST]  # type: ignore[assignment]
        return newest.count()


def _newest() -> int:
    return SubscriptionHit.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


class SinceFilter(admin.SimpleListFilter):
    title = _("time")
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(name, label) for name, (label, _) in _SPANS.items()]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        span = _SPANS.get(self.value() or "")
        return queryset.filter(at__gte=timezone.now() - span[1]) if span else queryset


class KnownValuesFilter(admin.SimpleListFilter):
    """Filters by a field with known values. Django's own filter would read the whole table to find them."""

    values: ClassVar[Sequence[str]] = ()

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(value, value) for value in self.values]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        value = self.value()
        if value not in self.values:
            return queryset
        found = queryset.filter(**{str(self.parameter_name): value})
        return (
            found
            if request.GET.keys() & _OF_SUBSCRIBERS
            else found.filter(pk__gt=_newest() - _LOOKED_AT)
        )


class ClientFilter(KnownValuesFilter):
    title = _("app")
    parameter_name = "client"
    values = NAMES

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(name, app_name(name)) for name in self.values]


def app_name(client: str) -> str | Promise:
    """The display name of a client; unnamed kinds of clients are translated."""
    return _NOT_NAMES.get(client, client)


class StatusFilter(KnownValuesFilter):
    title = _("status")
    parameter_name = "status"
    values = ("200", "304", "400", "429", "503")


class FormatFilter(KnownValuesFilter):
    title = _("format")
    parameter_name = "format"
    values = formats.NAMES


@admin.register(SubscriptionHit)
class SubscriptionHitAdmin(PanelAdmin[SubscriptionHit]):
    """A read-only log, always newest first, because any other order would sort millions of rows."""

    section = SUBSCRIPTIONS
    rights = frozenset({"view"})
    icon = "download"
    list_display = ("at", "subscriber", "app", "format", "status", "milliseconds", "address")
    fields = ("at", "subscriber", "app", "format", "status", "milliseconds", "address")
    readonly_fields = ("app",)
    list_filter = (SinceFilter, ClientFilter, StatusFilter, FormatFilter)
    list_select_related = ("subscriber",)
    sortable_by = ()
    linked_by = ("subscriber",)
    search_fields = ("subscriber__name", "subscriber__token")
    search_help_text = _("Search by the name of a subscriber or the beginning of a token.")
    paginator = RecentPaginator
    show_facets = admin.ShowFacets.NEVER
    actions = None
    empty_text = _("No subscription has been requested yet.")

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[SubscriptionHit], search_term: str
    ) -> tuple[models.QuerySet[SubscriptionHit], bool]:
        """Find the subscribers first, which are few, then their hits by index. Users who may not see tokens find only whole tokens."""
        term = search_term.strip()
        if not term:
            return queryset, False
        token = "token__startswith" if _may_see_tokens(request) else "token"
        # SQLite's LIKE ignores case only for ASCII.
        named = Subscriber.objects.filter(Q(name__iregex=re.escape(term)) | Q((token, term)))
        return queryset.filter(
            subscriber__in=list(named.values_list("pk", flat=True)[:_FOUND])
        ), False

    def search_help(self, request: HttpRequest) -> str:
        whole = _("Search by the name of a subscriber or a whole token.")
        return super().search_help(request) if _may_see_tokens(request) else str(whole)

    @admin.display(description=_("app"))
    def app(self, hit: SubscriptionHit) -> str | Promise:
        return app_name(hit.client)


def _may_see_tokens(request: HttpRequest) -> bool:
    return request.user.has_perm("traffic.change_subscriber")
