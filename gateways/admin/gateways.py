"""Gateways: the list, the form, and a new key."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from gateways import creation
from gateways.models import Gateway
from operations import audit
from operations.admin import questions
from operations.admin.base import PanelAdmin, PanelList, by
from operations.admin.questions import ObjectAction
from operations.admin.secrets import shown_once
from operations.api.authentication import replace_secret
from operations.audit import Action
from operations.databases.transactions import write_transaction
from operations.formatting import moment, size
from subscriptions.admin.sections import SUBSCRIPTIONS

from . import gateway_page
from .forms import NewGatewayForm

_MORE = (
    "engine",
    "beside",
    "direct",
    "all_sources",
    "sources",
    "certificate",
    "private_key",
    "reality_server_name",
)
_KEY = gettext_lazy("Copy the key of the gateway now. It is shown only once.")
_REPLACE = ObjectAction(
    button=gettext_lazy("Replace the key"),
    icon="autorenew",
    text=gettext_lazy(
        "The gateway gets a new key, and the old one is refused from now on: its agent goes on with what it has,"
        " and tells nothing, until the new key lies on its machine. Nothing is counted twice."
    ),
    is_loss=True,
)


class GatewayList(PanelList):
    """Adds what each gateway of this page has counted today, in two queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: list[Any] = list(self.result_list)
        found = gateway_page.used_today(self.result_list)
        for gateway in self.result_list:
            gateway.today = found.get(gateway.key_id)


@admin.register(Gateway)
class GatewayAdmin(PanelAdmin[Gateway]):
    section = SUBSCRIPTIONS
    home = "overview"
    icon = "router"
    place = 40
    form = NewGatewayForm
    change_form_template = "admin/gateways/gateway/change_form.html"
    list_display = ("name", "host", "state", "online", "used_today", "seen", "versions", "ways")
    search_fields = ("name", "host")
    filter_horizontal = ("sources",)
    empty_text = gettext_lazy(
        "No gateways yet. A gateway is a machine of your own in front of the external servers: it counts every device."
    )

    class Media:
        js = ("operations/copy.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Gateway]:
        return super().get_queryset(request).prefetch_related("inbounds").select_related("key")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[GatewayList]:
        return GatewayList

    def get_fieldsets(self, request: HttpRequest, obj: Gateway | None = None) -> Any:
        if obj is not None:
            return [(None, {"fields": ("name", "host", *_MORE)})]
        more = (_("More"), {"fields": _MORE, "classes": ("collapse",)})
        return [(None, {"fields": ("name", "host", "protocols")}), more]

    def get_readonly_fields(self, request: HttpRequest, obj: Gateway | None = None) -> Any:
        """Its name is its meter's, so it stays; its engine has the ports that lists show."""
        return ("name", "engine") if obj else ()

    def get_form(
        self, request: HttpRequest, obj: Gateway | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The class for the page of a gateway needs no protocols."""
        if obj is not None:
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Gateway, form: Any, change: bool) -> None:
        """Show the key of a new gateway once, in a message on the next page."""
        if change:
            super().save_model(request, obj, form, change)
            return
        made, secret = creation.create(form.plan(), by(request))
        obj.__dict__.update(made.__dict__)
        self.message_user(request, shown_once(_KEY, secret), messages.WARNING)

    def log_addition(self, request: HttpRequest, obj: Gateway, message: Any) -> Any:
        """``creation`` has noted it."""

    def response_post_save_add(self, request: HttpRequest, obj: Gateway) -> HttpResponseRedirect:
        """Next is its page, with the line to start its agent."""
        return self.back_to(obj) if obj.pk else super().response_post_save_add(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: Gateway) -> HttpResponseRedirect:
        return self.back_to(obj)

    # --- Columns ---

    @admin.display(description=gettext_lazy("state"))
    def state(self, gateway: Gateway) -> SafeString:
        found = gateway_page.wrong(gateway)
        said = format_html_join(mark_safe("<br>"), "{}", ((one.message,) for one in found))
        return format_html("{} {}", gateway_page.state_badge(found), said)

    @admin.display(description=gettext_lazy("today (UTC)"))
    def used_today(self, gateway: Any) -> SafeString | str:
        return "—" if gateway.today is None else size(gateway.today)

    @admin.display(
        description=gettext_lazy("last seen"), ordering=F("seen_at").asc(nulls_first=True)
    )
    def seen(self, gateway: Gateway) -> str:
        return moment(gateway.seen_at)

    @admin.display(description=gettext_lazy("version"))
    def versions(self, gateway: Gateway) -> SafeString | str:
        return gateway_page.versions(gateway)

    @admin.display(description=gettext_lazy("protocols"))
    def ways(self, gateway: Gateway) -> str:
        return gateway_page.ways(gateway)

    # --- Pages ---

    @method_decorator(require_safe)
    def overview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "view")
        own = {
            "history": self.history(obj),
            "may_change": self.has_change_permission(request, obj),
            "replace": _REPLACE,
        }
        template = "admin/gateways/gateway/overview.html"
        return self.render(request, template, obj, gateway_page.context(request, obj) | own)

    @questions.asking
    def replace_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "change")
        return questions.act(self, request, _REPLACE, obj, lambda _: self._replace(request, obj))

    def _replace(self, request: HttpRequest, obj: Gateway) -> HttpResponse:
        with write_transaction():
            secret = replace_secret(obj.key)
            audit.note(Action.REPLACED, obj, by(request))
        self.message_user(request, shown_once(_KEY, secret), messages.WARNING)
        return self.back_to(obj)

    pages = {"overview": overview_view, "replace": replace_view}
