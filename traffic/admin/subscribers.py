"""The list and form of subscribers."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.admin.base import PanelAdmin
from operations.admin.export import Asked, Exports, ids_in_order
from operations.databases.exact_sum import ExactSum
from operations.formatting import day_before, left_to_right, moment, size, size_of_limit
from operations.masks import masked
from operations.refusals import Refused
from operations.tables import Table
from operations.units import exact_size
from traffic.admin.states import limit_text, state_badge, term
from traffic.conf import conf
from traffic.figures import statistics
from traffic.ledger import recording, retired_tokens
from traffic.models import Server, Subscriber
from traffic.people import changes, plans, quotas, resellers, subscribers
from traffic.people.csv_import import COLUMNS
from traffic.periods import Window, window
from traffic.querysets import SubscriberQuerySet

from . import bills, hiding, subscriber_pages
from .filters import (
    DeletedFilter,
    LastUseFilter,
    PlanFilter,
    ResellerFilter,
    ResetFilter,
    ServerFilter,
    StateFilter,
    TrafficFilter,
)
from .forms import SubscriberForm
from .importing import import_view
from .sections import TRAFFIC
from .subscriber_actions import ACTIONS, FOR_OWNERS, is_offered

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Columns(TypedDict):
        period_used: int
        life_used: int
        last_used_at: datetime | None

    Listed = WithAnnotations[Subscriber, _Columns]
else:
    Listed = Subscriber

# The columns of a download: those that an import reads, and some more.
LIST_COLUMNS = (
    *COLUMNS, "last_day", "state", "period_used", "life_used", "last_used_at", "created_at",
)  # fmt: skip
DAY_COLUMNS = (
    "date", "subscriber_id", "name", "server", "port", "protocol", "upload_bytes", "download_bytes", "connections",
)  # fmt: skip
# The others name servers and groups, or what other apps know.
_FILTERS_OF_RESELLERS = (
    StateFilter,
    TrafficFilter,
    LastUseFilter,
    ResetFilter,
    PlanFilter,
    DeletedFilter,
)
# What a quota does not allow, kept at the request while the form is shown again.
_REFUSAL = "_xpert_refusal"
# Rows per read while a file is sent.
_CHUNK = 1000


def _table(asked: Asked) -> Table:
    may_see, rows = asked.may_change, cast(SubscriberQuerySet, asked.rows)
    if asked.name == "import":
        found = (_portable(row, may_see=may_see) for row in rows.iterator(_CHUNK))
        return Table("subscribers-to-import", COLUMNS, found)
    if asked.name == "list":
        return Table("subscribers", (*LIST_COLUMNS, *asked.columns), _listed(rows, asked))
    days = int(asked.name.removeprefix("days-"))
    listed = _days(ids_in_order(rows), window(days, asked.now))
    return Table(f"usage-by-day-{days}-days", DAY_COLUMNS, listed)


_EXPORTS = Exports(
    {
        "list": gettext_lazy("Subscribers"),
        "import": gettext_lazy("To import elsewhere"),
        "days-30": gettext_lazy("Usage by day, 30 days"),
        "days-365": gettext_lazy("Usage by day, a year"),
    },
    _table,
)


@admin.register(Subscriber)
class SubscriberAdmin(PanelAdmin[Subscriber]):
    section = TRAFFIC
    styles = ("traffic/lists.css",)
    home = "usage"
    deletion = hiding.Hiding()
    actions = (*subscriber_pages.LIST_ACTIONS, *hiding.ACTIONS)
    pages = {**hiding.PAGES, **subscriber_pages.PAGES}
    list_pages = {"import": import_view, "bill": bills.subscribers_view}
    chip_filters = (StateFilter,)
    has_choice_of_columns = True
    row_actions = {name: ACTIONS[name] for name in ("renew", "extend")}
    icon = "group"
    exports = _EXPORTS
    place = 10
    form = SubscriberForm
    list_display = ("title", "masked_token", "state", "used", "life", "last_used", "expires")
    list_filter: ClassVar[tuple[type[admin.SimpleListFilter], ...]] = (
        StateFilter,
        TrafficFilter,
        LastUseFilter,
        ServerFilter,
        ResetFilter,
        PlanFilter,
        ResellerFilter,
        DeletedFilter,
    )
    search_fields = ("token", "name", "note")
    search_help_text = gettext_lazy(
        "Search by the beginning of a token, or by part of a name or note."
    )
    readonly_fields = ("masked_token", "limit")
    fieldsets = (
        (None, {"fields": ("name", "token", "external_id", "reseller", "note", "is_active")}),
        (
            gettext_lazy("Limit"),
            {
                "fields": (
                    "plan",
                    "data_limit",
                    ("limit_reset", "reset_day", "reset_days"),
                    ("expires_at", "hold_days"),
                    "device_limit",
                )
            },
        ),
    )
    empty_text = gettext_lazy(
        "No subscribers yet. Add one, and give them their subscription address."
    )

    def get_queryset(self, request: HttpRequest) -> SubscriberQuerySet:
        found = cast(SubscriberQuerySet, super().get_queryset(request))
        return quotas.with_usage(found, timezone.now(), conf.time_zone).select_related("plan")

    def sums(self, rows: models.QuerySet[Subscriber]) -> list[tuple[str, Any]]:
        found = rows.aggregate(
            people=Count("pk"), period=ExactSum("period_used"), life=ExactSum("life_used")
        )
        return [
            (_("subscribers"), number_format(found["people"], force_grouping=True)),
            (_("this period"), size(int(found["period"] or 0))),
            (_("in all"), size(int(found["life"] or 0))),
        ]

    def offers(self, name: str, obj: Subscriber) -> bool:
        return is_offered(name, obj)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Subscriber], search_term: str
    ) -> tuple[models.QuerySet[Subscriber], bool]:
        may_see = self.has_change_permission(request)
        found = cast(SubscriberQuerySet, queryset)
        return subscribers.search(found, search_term, may_see_tokens=may_see), False

    def get_readonly_fields(self, request: HttpRequest, obj: Subscriber | None = None) -> Any:
        """Plan and reseller of an existing subscriber change with the buttons that apply the plan and move."""
        found = super().get_readonly_fields(request, obj)
        return found if obj is None else (*found, "plan", "reseller")

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, *args, **kwargs)
        form.refusal = getattr(request, _REFUSAL, "")
        return form

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """What a quota does not allow is said in the form, with everything that was entered."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except Refused as refused:
            setattr(request, _REFUSAL, str(refused))
            return super().changeform_view(request, *args, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Subscriber | None = None) -> Any:
        """Users who may only view see neither the token, which opens the subscription, nor the limit in bytes."""
        fieldsets = super().get_fieldsets(request, obj)
        if resellers.of(request.user) is not None:
            # A token of their choice could be somebody else's name, or be what somebody else had before.
            return _without(fieldsets, "token", "external_id", "reseller")
        if not request.user.has_perm("traffic.view_reseller"):
            fieldsets = _without(fieldsets, "reseller")
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        shown = {"token": "masked_token", "data_limit": "limit"}
        return [
            (
                title,
                {**options, "fields": [shown.get(str(name), name) for name in options["fields"]]},
            )
            for title, options in fieldsets
        ]

    def search_help(self, request: HttpRequest) -> str:
        whole = _("Search by a whole token, or by part of a name or note.")
        return super().search_help(request) if self.has_change_permission(request) else whole

    class Media:
        js = ("operations/terms.js",)

    # Resellers: what is not opened here is closed to them.

    def seen_by(
        self, request: HttpRequest, rows: models.QuerySet[Subscriber]
    ) -> models.QuerySet[Subscriber]:
        return resellers.seen_by(request.user, cast(SubscriberQuerySet, rows))

    def opens(self, request: HttpRequest, name: str) -> bool:
        if resellers.of(request.user) is None:
            return name != "set_reseller" or request.user.has_perm("traffic.change_reseller")
        return name in FOR_OWNERS or any(name in added.for_owners for added in self.additions)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "view") or super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Subscriber | None = None) -> bool:
        return self._may(request, "view", obj) or super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "add") or super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Subscriber | None = None) -> bool:
        return self._may(request, "change", obj) or super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Subscriber | None = None) -> bool:
        return self._may(request, "delete", obj) or super().has_delete_permission(request, obj)

    def _may(self, request: HttpRequest, what: str, obj: Subscriber | None = None) -> bool:
        is_reseller = resellers.of(request.user) is not None
        return is_reseller and resellers.may(request.user, f"traffic.{what}_subscriber", obj)

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Filters by servers, groups and resellers are for those who may see these."""
        found = super().get_list_filter(request)
        if resellers.of(request.user) is None:
            return found
        return [one for one in found if one in _FILTERS_OF_RESELLERS]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.opens(request, "history"):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)

    # Columns

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def title(self, obj: Listed) -> str:
        return str(obj)

    @admin.display(description=gettext_lazy("token"))
    def masked_token(self, obj: Listed) -> str:
        return left_to_right(masked(obj.token))

    @admin.display(description=gettext_lazy("state"))
    def state(self, obj: Listed) -> SafeString:
        return state_badge(obj, obj.period_used, timezone.now())

    @admin.display(description=gettext_lazy("this period"), ordering="period_used")
    def used(self, obj: Listed) -> SafeString:
        cell = size_of_limit(obj.period_used, obj.data_limit)
        return format_html('<a href="{}">{}</a>', self.url("usage", obj), cell)

    @admin.display(description=gettext_lazy("in all"), ordering="life_used")
    def life(self, obj: Listed) -> str:
        return size(obj.life_used)

    @admin.display(
        description=gettext_lazy("last used"), ordering=F("last_used_at").asc(nulls_first=True)
    )
    def last_used(self, obj: Listed) -> str:
        return moment(obj.last_used_at)

    @admin.display(
        description=gettext_lazy("last day"), ordering=F("expires_at").asc(nulls_last=True)
    )
    def expires(self, obj: Listed) -> str:
        return term(obj)

    @admin.display(description=gettext_lazy("data limit"))
    def limit(self, obj: Listed) -> str:
        return limit_text(obj.data_limit)

    # Writing

    def save_model(self, request: HttpRequest, obj: Subscriber, form: Any, change: bool) -> None:
        """Save only the edited fields of an existing subscriber, so that concurrent changes are not overwritten."""
        if own := resellers.of(request.user):
            obj.reseller = own
        with resellers.kept([obj], timezone.now()):
            self._save(request, obj, form, change=change)

    def _save(self, request: HttpRequest, obj: Subscriber, form: Any, *, change: bool) -> None:
        if not change:
            super().save_model(request, obj, form, change)
            if obj.plan:
                plans.further(obj.plan)([obj])
            return
        names = {field.name for field in self.opts.concrete_fields}
        obj.save(update_fields=names.intersection(form.changed_data))
        if "token" in form.changed_data:
            retired_tokens.replaced({obj.pk: form.initial["token"]})
        if changes.moves_period(obj, form.changed_data):
            recording.recount_period(obj, timezone.now())

    def response_add(
        self, request: HttpRequest, obj: Subscriber, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Redirect to the subscriber's page, which shows the address to hand out."""
        if "_addanother" not in request.POST and self.has_view_permission(request, obj):
            answers = request.POST.copy()
            answers["_continue"] = "1"
            request.POST = answers  # type: ignore[assignment]  # as UserAdmin does
            post_url_continue = self.url(self.home, obj)
        return super().response_add(request, obj, post_url_continue)

    # Pages

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        obj = context["original"]
        own = subscriber_pages.summary(obj) if obj else {}
        return super().render_change_form(request, context | own, *args, **kwargs)


def _without(fieldsets: Any, *names: str) -> list[Any]:
    return [
        (title, {**options, "fields": [name for name in options["fields"] if name not in names]})
        for title, options in fieldsets
    ]


def _listed(rows: SubscriberQuerySet, asked: Asked) -> Iterator[Sequence[Any]]:
    """Shows whole tokens, which open subscriptions, only to users who may change them."""
    for row in cast("Iterator[Listed]", rows.iterator(_CHUNK)):
        yield (
            *_settings(row, may_see=asked.may_change),
            None if row.expires_at is None else day_before(row.expires_at),
            "deleted" if row.hidden_at else quotas.state(row, row.period_used, asked.now).value,
            row.period_used,
            row.life_used,
            row.last_used_at,
            row.created_at,
            *(value(row) for value in asked.columns.values()),
        )


def _portable(row: Subscriber, *, may_see: bool) -> Sequence[Any]:
    """In the form that an import reads: a limit has its unit."""
    limit = None if row.data_limit is None else exact_size(row.data_limit)
    values = dict(zip(COLUMNS, _settings(row, may_see=may_see), strict=True))
    return tuple((values | {"data_limit": limit}).values())


def _settings(row: Subscriber, *, may_see: bool) -> Sequence[Any]:
    """The values in the order of an import's columns."""
    token = row.token if may_see else masked(row.token)
    return (
        row.name,
        token,
        row.note,
        row.data_limit,
        row.expires_at,
        row.limit_reset,
        row.reset_day,
        row.reset_days,
        row.is_active,
        row.hold_days,
        row.device_limit,
    )


def _days(ids: Sequence[int], span: Window) -> Iterator[Sequence[Any]]:
    servers = {found.pk: found for found in Server.objects.all()}
    names = dict(Subscriber.objects.values_list("pk", "name"))
    for day in statistics.days_of_subscribers(ids, span):
        server = servers[day.server_id]
        yield (
            day.date, day.subscriber_id, names[day.subscriber_id], server.host, server.port, server.protocol,
            day.upload, day.download, day.reports,
        )  # fmt: skip
