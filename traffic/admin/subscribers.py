"""Subscribers: who may use how much, and what they have used."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, cast

from django.contrib import admin
from django.db import models
from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from traffic import recording, statistics, subscribers
from traffic.cells import left_to_right, moment, size, size_of_limit, state_badge
from traffic.conf import conf
from traffic.logs import masked
from traffic.models import Server, Subscriber
from traffic.periods import Window, window
from traffic.querysets import SubscriberQuerySet
from traffic.subscriber_import import COLUMNS

from .base import Section
from .exporting import ids_in_order
from .exports import Table
from .filters import DeletedFilter, LastUseFilter, ResetFilter, ServerFilter, StateFilter, TrafficFilter
from .forms import SubscriberForm
from .importing import ImportingAdmin
from .subscriber_pages import SubscriberPages

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Columns(TypedDict):
        period_used: int
        life_used: int
        last_used_at: datetime | None

    Listed = WithAnnotations[Subscriber, _Columns]
else:
    Listed = Subscriber

# The columns of a download: what an import reads, and what it would not.
LIST_COLUMNS = (*COLUMNS, "state", "period_used", "life_used", "last_used_at", "created_at")
DAY_COLUMNS = (
    "date", "subscriber_id", "name", "server", "port", "protocol", "upload_bytes", "download_bytes", "connections",
)  # fmt: skip
# Rows that are read at a time while a file is sent.
_CHUNK = 1000


@admin.register(Subscriber)
class SubscriberAdmin(SubscriberPages, ImportingAdmin):
    section = Section.TRAFFIC
    icon = "group"
    place = 10
    form = SubscriberForm
    list_display = ("title", "masked_token", "state", "used", "life", "last_used", "expires")
    list_filter: ClassVar[tuple[type[admin.SimpleListFilter], ...]] = (
        StateFilter,
        TrafficFilter,
        LastUseFilter,
        ServerFilter,
        ResetFilter,
        DeletedFilter,
    )
    exports = {
        "list": gettext_lazy("Subscribers"),
        "import": gettext_lazy("To import elsewhere"),
        "days-30": gettext_lazy("Usage by day, 30 days"),
        "days-365": gettext_lazy("Usage by day, a year"),
    }
    search_fields = ("token", "name", "note")
    search_help_text = gettext_lazy("The beginning of a token, or a part of a name or note.")
    readonly_fields = ("masked_token", "limit")
    fieldsets = (
        (None, {"fields": ("name", "token", "note", "is_active")}),
        (gettext_lazy("Limit"), {"fields": ("data_limit", ("limit_reset", "reset_day"), "expires_at")}),
    )
    empty_text = gettext_lazy("No subscribers yet. Add one, and give them their subscription address.")

    def get_queryset(self, request: HttpRequest) -> SubscriberQuerySet:
        found = cast(SubscriberQuerySet, super().get_queryset(request))
        return found.with_usage(timezone.now(), conf.time_zone)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Subscriber], search_term: str
    ) -> tuple[models.QuerySet[Subscriber], bool]:
        """Every word must be found; who may not see a token finds it only whole. SQLite's LIKE knows the case of ASCII only; expressions know it of Иван too."""
        token = "token__startswith" if self.has_change_permission(request) else "token"
        for word in search_term.split():
            part = re.escape(word)
            queryset = queryset.filter(Q((token, word)) | Q(name__iregex=part) | Q(note__iregex=part))
        return queryset, False

    def get_fieldsets(self, request: HttpRequest, obj: Subscriber | None = None) -> Any:
        """Who may only look sees neither the token, which opens the subscription, nor a limit in bytes."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        shown = {"token": "masked_token", "data_limit": "limit"}
        return [
            (title, {**options, "fields": [shown.get(str(name), name) for name in options["fields"]]})
            for title, options in fieldsets
        ]

    def search_help(self, request: HttpRequest) -> str:
        whole = _("A whole token, or a part of a name or note.")
        return super().search_help(request) if self.has_change_permission(request) else whole

    # Columns

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def title(self, obj: Listed) -> str:
        return str(obj)

    @admin.display(description=gettext_lazy("token"))
    def masked_token(self, obj: Listed) -> str:
        return left_to_right(masked(obj.token))

    @admin.display(description=gettext_lazy("state"))
    def state(self, obj: Listed) -> SafeString:
        return state_badge(subscribers.state(obj, obj.period_used, timezone.now()))

    @admin.display(description=gettext_lazy("this period"), ordering="period_used")
    def used(self, obj: Listed) -> SafeString:
        cell = size_of_limit(obj.period_used, obj.data_limit)
        return format_html('<a href="{}">{}</a>', self.url("usage", obj), cell)

    @admin.display(description=gettext_lazy("in all"), ordering="life_used")
    def life(self, obj: Listed) -> str:
        return size(obj.life_used)

    @admin.display(description=gettext_lazy("last used"), ordering=F("last_used_at").asc(nulls_first=True))
    def last_used(self, obj: Listed) -> str:
        return moment(obj.last_used_at)

    @admin.display(description=gettext_lazy("expires"), ordering=F("expires_at").asc(nulls_last=True))
    def expires(self, obj: Listed) -> str:
        return moment(obj.expires_at)

    @admin.display(description=gettext_lazy("data limit"))
    def limit(self, obj: Listed) -> str:
        return _("unlimited") if obj.data_limit is None else size(obj.data_limit)

    # Writing

    def save_model(self, request: HttpRequest, obj: Subscriber, form: Any, change: bool) -> None:
        """Of a known subscriber only what was edited: counters and moments of others' doing stay as they are."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        self.note_saved(request, obj, form, change=True)
        names = {field.name for field in self.opts.concrete_fields}
        obj.save(update_fields=names.intersection(form.changed_data))
        if "limit_reset" in form.changed_data or (
            "reset_day" in form.changed_data and obj.limit_reset == Subscriber.Reset.MONTHLY
        ):
            recording.recount_period(obj, timezone.now())

    def response_add(self, request: HttpRequest, obj: Subscriber, post_url_continue: str | None = None) -> HttpResponse:
        """To the subscriber's own page, where the address to hand out stands."""
        if "_addanother" not in request.POST and self.has_view_permission(request, obj):
            answers = request.POST.copy()
            answers["_continue"] = "1"
            request.POST = answers  # type: ignore[assignment]  # as UserAdmin does
            post_url_continue = self.url(self.home, obj)
        return super().response_add(request, obj, post_url_continue)

    # Pages

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = context["original"]
        return super().render_change_form(request, context | (self.summary(obj) if obj else {}), *args, **kwargs)

    # Downloads

    def table(self, name: str, rows: models.QuerySet[Subscriber], request: HttpRequest, now: datetime) -> Table:
        may_see = self.has_change_permission(request)
        if name == "import":
            found = (_settings(row, may_see=may_see) for row in rows.iterator(_CHUNK))
            return Table("subscribers-to-import", COLUMNS, found)
        if name == "list":
            return Table("subscribers", LIST_COLUMNS, _listed(cast(SubscriberQuerySet, rows), now, may_see=may_see))
        days = int(name.removeprefix("days-"))
        return Table(f"usage-by-day-{days}-days", DAY_COLUMNS, _days(ids_in_order(rows), window(days, now)))


def _listed(rows: SubscriberQuerySet, now: datetime, *, may_see: bool) -> Iterator[Sequence[Any]]:
    """The token opens the subscription: whole only for who may change it."""
    for row in cast("Iterator[Listed]", rows.iterator(_CHUNK)):
        yield (
            *_settings(row, may_see=may_see),
            subscribers.state(row, row.period_used, now).value,
            row.period_used,
            row.life_used,
            row.last_used_at,
            row.created_at,
        )


def _settings(row: Subscriber, *, may_see: bool) -> Sequence[Any]:
    """In the order of an import's columns."""
    token = row.token if may_see else masked(row.token)
    return row.name, token, row.note, row.data_limit, row.expires_at, row.limit_reset, row.reset_day, row.is_active


def _days(ids: Sequence[int], span: Window) -> Iterator[Sequence[Any]]:
    servers = {found.pk: found for found in Server.objects.all()}
    names = dict(Subscriber.objects.values_list("pk", "name"))
    for day in statistics.days_of_subscribers(ids, span):
        server = servers[day.server_id]
        yield (
            day.date, day.subscriber_id, names[day.subscriber_id], server.host, server.port, server.protocol,
            day.upload, day.download, day.connections,
        )  # fmt: skip
