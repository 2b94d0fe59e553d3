"""Limits on servers: how far each is used, by whom, and restarting them."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.admin import questions
from operations.admin.base import Deleted, Deletion, PanelAdmin, by, named_only
from operations.admin.ids import find_or_404
from operations.admin.questions import Confirmation
from operations.formatting import moment, size_of_limit
from subscriptions.sources import limited_places
from traffic.ledger.lookup import current_period, next_period
from traffic.models import LimitBalance, LimitedServer, ServerLimit, Subscriber
from traffic.people import server_limits

from .limit_forms import ServerLimitForm
from .sections import SUBSCRIPTIONS

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Used(TypedDict):
        used: int

    class _Columns(_Used):
        used_up_by: int
        server_count: int

    Counted = WithAnnotations[LimitBalance, _Used]
    Listed = WithAnnotations[ServerLimit, _Columns]
else:
    Counted, Listed = LimitBalance, ServerLimit

# Subscribers on the page of a limit: those who used most.
_SHOWN = 100


class _Removal(Deletion[ServerLimit]):
    def told(self, options: Any, objs: Iterable[ServerLimit]) -> Deleted | None:
        return named_only(options, objs)

    def delete(self, request: HttpRequest, rows: QuerySet[ServerLimit]) -> None:
        for limit in rows:
            server_limits.remove(limit, by(request))


@questions.asking
def restart_view(
    owner: PanelAdmin[ServerLimit], request: HttpRequest, object_id: str
) -> HttpResponse:
    """Restart the period of all, or of ``?subscriber=``."""
    limit = owner.permitted(request, object_id, "change")
    number = request.GET.get("subscriber", "")
    person = find_or_404(Subscriber.objects.visible(), number) if number else None
    asked = Confirmation(
        title=f"{_('Restart the period')}: {person or limit}",
        text=_("What counts towards this limit restarts from zero. Usage and other limits stay."),
        button=_("Restart the period"),
    )
    restart = partial(_restart, owner, request, limit, person)
    return questions.agree(owner, request, asked, limit, restart)


def _restart(
    owner: PanelAdmin[ServerLimit],
    request: HttpRequest,
    limit: ServerLimit,
    person: Subscriber | None,
) -> None:
    server_limits.restart(limit, by(request), person)
    text = _("The period of “%(name)s” starts again from now.") % {"name": limit}
    owner.message_user(request, text, messages.SUCCESS)


@admin.register(ServerLimit)
class ServerLimitAdmin(PanelAdmin[ServerLimit]):
    section = SUBSCRIPTIONS
    icon = "speed"
    place = 35
    form = ServerLimitForm
    deletion = _Removal()
    pages: Mapping[str, Any] = {"restart": restart_view}  # type: ignore[misc]
    list_display = ("title", "scope", "whose", "used", "reset", "over")
    list_filter = ("scope", "limit_reset")
    linked_by = ("subscriber", "plan")
    list_select_related = ("subscriber", "plan")
    search_fields = ("name",)
    autocomplete_fields = ("subscriber", "plan")
    readonly_fields = ("where", "used", "people")
    empty_text = gettext_lazy(
        "No limits on servers yet. At such a limit only these servers leave the lists; the others stay."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServerLimit]:
        servers = LimitedServer.objects.filter(limit=OuterRef("pk")).order_by().values("limit")
        counted = Coalesce(Subquery(servers.annotate(count=Count("*")).values("count")), 0)
        rows = super().get_queryset(request).annotate(server_count=counted)
        return server_limits.with_usage(rows, timezone.now())

    def get_fieldsets(self, request: HttpRequest, obj: ServerLimit | None = None) -> Any:
        fields = ("name", "data_limit", ("limit_reset", "reset_day", "reset_days"))
        whose = ("scope", "subscriber", "plan")
        if obj is None:
            return [(None, {"fields": ("place", *fields, *whose)})]
        return [
            (_("State"), {"fields": ("where", "used", "people")}),
            (_("Settings"), {"fields": (*fields, *whose)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: ServerLimit | None = None) -> Any:
        """An existing limit keeps its owner, who decides which usage counts."""
        return (*self.readonly_fields, "scope", "subscriber", "plan") if obj else ()

    # Columns

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def title(self, limit: ServerLimit) -> str:
        return str(limit)

    @admin.display(description=gettext_lazy("whose"))
    def whose(self, limit: ServerLimit) -> str:
        if limit.subscriber:
            return str(limit.subscriber)
        if limit.plan:
            return _("plan %(name)s") % {"name": limit.plan}
        return _("everybody")

    @admin.display(description=gettext_lazy("used"), ordering="used")
    def used(self, limit: Listed) -> SafeString:
        """The usage of all together, or of the subscriber who has used most."""
        return size_of_limit(limit.used, limit.data_limit)

    @admin.display(description=gettext_lazy("limit reset"), ordering="limit_reset")
    def reset(self, limit: ServerLimit) -> str:
        ends = next_period(limit, timezone.now())
        text = limit.reset_text()
        return format_html("{} ({})", text, moment(ends)) if ends else text

    @admin.display(description=gettext_lazy("used up by"), ordering="used_up_by")
    def over(self, limit: Listed) -> int:
        return limit.used_up_by

    @admin.display(description=gettext_lazy("on"))
    def where(self, limit: Listed) -> SafeString | str:
        source = limited_places.source_of(limit)
        if source is None:
            return ", ".join(str(server) for server in limit.servers.all()[:_SHOWN]) or "—"
        href = reverse("admin:subscriptions_source_change", args=[source.pk])
        servers = _("servers: %(count)d") % {"count": limit.server_count}
        return format_html('<a href="{}">{}</a>, {}', href, source, servers)

    @admin.display(description=gettext_lazy("subscribers"))
    def people(self, limit: ServerLimit) -> str:
        began = current_period(limit, timezone.now())
        found: Any = server_limits.of_period(limit, began)
        rows: list[Counted] = list(found.order_by("-used", "subscriber_id")[:_SHOWN])
        people = Subscriber.objects.in_bulk([row.subscriber_id for row in rows])
        context = {
            "rows": [
                (people.get(row.subscriber_id), size_of_limit(row.used, limit.data_limit))
                for row in rows
            ],
            "restart": self.url("restart", limit),
            "together": limit.is_together,
        }
        return render_to_string("admin/subscriptions/limit_people.html", context)

    # Writing: ``server_limits`` writes the audit entries, with the change.

    def save_model(self, request: HttpRequest, obj: ServerLimit, form: Any, change: bool) -> None:
        if not change:
            obj.origin = limited_places.origin_in(form.cleaned_data["place"])
            obj.name = form.cleaned_data["name"]
            servers = limited_places.endpoints_of(form.cleaned_data["place"])
            server_limits.add(obj, servers, by(request))
            return
        values = {name: form.cleaned_data[name] for name in form.changed_data}
        server_limits.change(obj, values, by(request))

    def log_addition(self, request: HttpRequest, obj: ServerLimit, message: Any) -> Any:
        """Nothing more to write."""

    def log_change(self, request: HttpRequest, obj: ServerLimit, message: Any) -> Any:
        """Nothing more to write."""
