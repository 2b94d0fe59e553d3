from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from operations.admin.base import PanelAdmin, by
from operations.formatting import moment
from operations.masks import masked
from subscriptions import direct_configs
from subscriptions.models import DirectConfig
from subscriptions.serving import catalogue
from subscriptions.sources import source_lists

from . import endpoints
from .forms import DirectConfigForm, ManyLinksForm
from .sections import SUBSCRIPTIONS


@admin.register(DirectConfig)
class DirectConfigAdmin(PanelAdmin[DirectConfig]):
    section = SUBSCRIPTIONS
    icon = "link"
    form = DirectConfigForm
    list_display = (
        "name", "protocol", endpoints.endpoint, endpoints.state, endpoints.delay, "is_active", "position", "order", "added",
    )  # fmt: skip
    list_editable = ("is_active", "position")
    list_filter = ("is_active",)
    search_fields = ("remarks", "server")
    filter_horizontal = ("groups",)
    actions = ("switch_on", "switch_off")
    list_per_page = 100
    empty_text = gettext_lazy("No links yet. Add one, or paste a whole list with “Add many”.")

    def get_fields(self, request: HttpRequest, obj: DirectConfig | None = None) -> Any:
        """A link holds a password, so only users who may change it see it whole."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ["link", "remarks", "is_active", "position", "groups"]
        return super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: DirectConfig | None = None) -> Any:
        return ("link",) if obj is not None and not self.has_change_permission(request, obj) else ()

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[DirectConfig]:
        return endpoints.with_checks(super().get_queryset(request))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        checks = endpoints.checks_of(context["original"])
        return super().render_change_form(request, context | checks, *args, **kwargs)

    @admin.display(description=gettext_lazy("name"), ordering="remarks")
    def name(self, config: DirectConfig) -> str:
        return str(config)

    @admin.display(description=gettext_lazy("link"))
    def link(self, config: DirectConfig) -> str:
        return masked(config.raw)

    @admin.display(description=gettext_lazy("added"), ordering="added_at")
    def added(self, config: DirectConfig) -> str:
        return moment(config.added_at)

    @admin.display(description=gettext_lazy("order"))
    def order(self, config: DirectConfig) -> SafeString:
        """Buttons inside the list's own form, which has the CSRF token."""
        return format_html(
            '<button type="submit" class="button" formaction="{}" formnovalidate title="{}" aria-label="{}">↑</button> '
            '<button type="submit" class="button" formaction="{}" formnovalidate title="{}" aria-label="{}">↓</button>',
            self.url("up", config),
            _("Move up"),
            _("Move up"),
            self.url("down", config),
            _("Move down"),
            _("Move down"),
        )

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def switch_on(self, request: HttpRequest, queryset: models.QuerySet[DirectConfig]) -> None:
        self._switch(request, queryset, is_active=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, queryset: models.QuerySet[DirectConfig]) -> None:
        self._switch(request, queryset, is_active=False)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"left_out": _left_out()} | (extra_context or {}))

    def _move(self, request: HttpRequest, object_id: str, *, down: bool) -> HttpResponse:
        config = self.permitted(request, object_id, "change")
        direct_configs.move(config, by(request), down=down)
        return HttpResponseRedirect(self._back(request))

    @method_decorator(require_POST)
    def up_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._move(request, object_id, down=False)

    @method_decorator(require_POST)
    def down_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._move(request, object_id, down=True)

    def add_many_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ManyLinksForm(request.POST or None)
        errors: list[tuple[int, str, str]] = []
        if form.is_valid():
            lines = source_lists.numbered_lines(form.cleaned_data["links"])
            errors = self._add(request, lines)
            if not errors:
                return HttpResponseRedirect(self.list_url())
            form = ManyLinksForm(initial={"links": "\n".join(link for _, link, _ in errors)})
        shown = [(number, masked(link), reason) for number, link, reason in errors]
        context = {"title": _("Add many links"), "form": form, "errors": shown}
        return self.render_list_page(
            request, "admin/subscriptions/directconfig/add_many.html", context
        )

    def _add(
        self, request: HttpRequest, lines: list[tuple[int, str]]
    ) -> list[tuple[int, str, str]]:
        """Number, text and reason of each refused line."""
        added = direct_configs.add_many((link for _, link in lines), by(request))
        count = len(added.configs)
        text = ngettext("%(count)d link was added.", "%(count)d links were added.", count) % {
            "count": count
        }
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        return [(*lines[index], reason) for index, reason in added.errors.items()]

    def _switch(
        self, request: HttpRequest, queryset: models.QuerySet[DirectConfig], *, is_active: bool
    ) -> None:
        count = self.set_all(request, queryset, "is_active", on=is_active)
        text = ngettext("%(count)d link was changed.", "%(count)d links were changed.", count) % {
            "count": count
        }
        self.message_user(request, text, messages.SUCCESS)

    def _back(self, request: HttpRequest) -> str:
        """Return to the list with its filters."""
        own, came_from = self.list_url(), request.headers.get("Referer", "")
        is_ours = url_has_allowed_host_and_scheme(
            came_from, {request.get_host()}, request.is_secure()
        )
        return came_from if is_ours and own in came_from else own

    pages = {"up": up_view, "down": down_view}
    list_pages = {"add_many": add_many_view}


def _left_out() -> list[str]:
    """A sentence for each format that cannot express some of the active servers."""
    found = catalogue.coverage()
    sentence = _("%(format)s: %(count)d of %(total)d servers can't be expressed and are left out.")
    return [
        sentence % {"format": name, "count": count, "total": found.total}
        for name, count in found.left_out.items()
    ]
