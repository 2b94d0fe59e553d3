from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from subscriptions import catalogue, direct_configs, links, probing
from subscriptions.models import DirectConfig
from traffic.admin.base import Section
from traffic.cells import moment
from traffic.logs import masked

from .endpoints import ListeningAdmin
from .forms import DirectConfigForm, ManyLinksForm


@admin.register(DirectConfig)
class DirectConfigAdmin(ListeningAdmin[DirectConfig]):
    section = Section.SUBSCRIPTIONS
    icon = "link"
    form = DirectConfigForm
    list_display = (
        "name", "protocol", "endpoint", "state", "delay", "is_active", "position", "order", "added",
    )  # fmt: skip
    list_editable = ("is_active", "position")
    list_filter = ("is_active",)
    search_fields = ("remarks", "server")
    filter_horizontal = ("groups",)
    actions = ("switch_on", "switch_off")
    list_per_page = 100
    empty_text = gettext_lazy("No links yet. Add one, or paste a whole list with “Add many”.")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        move = require_POST(view(self.move_view))
        return [
            path("add-many/", view(self.add_many_view), name="subscriptions_directconfig_add_many"),
            path("<int:pk>/up/", move, {"down": False}, name="subscriptions_directconfig_up"),
            path("<int:pk>/down/", move, {"down": True}, name="subscriptions_directconfig_down"),
            *super().get_urls(),
        ]

    def get_fields(self, request: HttpRequest, obj: DirectConfig | None = None) -> Any:
        """A link holds a password: only those who may change it see it whole."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ["link", "remarks", "is_active", "position", "groups"]
        return super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: DirectConfig | None = None) -> Any:
        return ("link",) if obj is not None and not self.has_change_permission(request, obj) else ()

    def is_udp(self, config: DirectConfig) -> bool:
        try:
            return probing.is_udp(links.parse(config.raw))
        except links.LinkError:  # of an older version, which took it
            return False

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
        """Buttons of the list's own form, which carries the CSRF token."""
        return format_html(
            '<button type="submit" class="button" formaction="{}" formnovalidate title="{}" aria-label="{}">↑</button> '
            '<button type="submit" class="button" formaction="{}" formnovalidate title="{}" aria-label="{}">↓</button>',
            reverse(f"{self.admin_site.name}:subscriptions_directconfig_up", args=[config.pk]),
            _("Move up"),
            _("Move up"),
            reverse(f"{self.admin_site.name}:subscriptions_directconfig_down", args=[config.pk]),
            _("Move down"),
            _("Move down"),
        )

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def switch_on(self, request: HttpRequest, queryset: models.QuerySet[DirectConfig]) -> None:
        self._switch(request, queryset, is_active=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, queryset: models.QuerySet[DirectConfig]) -> None:
        self._switch(request, queryset, is_active=False)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"left_out": _left_out()} | (extra_context or {}))

    def move_view(self, request: HttpRequest, pk: int, *, down: bool) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        config = DirectConfig.objects.filter(pk=pk).first()
        if config is None:
            raise Http404
        direct_configs.move(config, down=down)
        return HttpResponseRedirect(self._list_url(request))

    def add_many_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ManyLinksForm(request.POST or None)
        errors: list[tuple[int, str, str]] = []
        if form.is_valid():
            lines = direct_configs.numbered_lines(form.cleaned_data["links"])
            errors = self._add(request, lines)
            if not errors:
                return HttpResponseRedirect(reverse(f"{self.admin_site.name}:subscriptions_directconfig_changelist"))
            form = ManyLinksForm(initial={"links": "\n".join(lines[number].strip() for number, _, _ in errors)})
        context = {
            **self.admin_site.each_context(request),
            "title": _("Add many links"),
            "opts": self.opts,
            "form": form,
            "errors": errors,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/subscriptions/directconfig/add_many.html", context)

    def _add(self, request: HttpRequest, lines: dict[int, str]) -> list[tuple[int, str, str]]:
        """Number, masked text and reason of each line that was refused."""
        added = direct_configs.add_many(lines.values())
        count = len(added.configs)
        if count:
            made = DirectConfig.objects.filter(pk__in=[config.pk for config in added.configs])
            LogEntry.objects.log_actions(cast(int, request.user.pk), made, ADDITION)
        text = ngettext("%(count)d link was added.", "%(count)d links were added.", count) % {"count": count}
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        numbers = list(lines)
        return [
            (numbers[index], masked(lines[numbers[index]].strip()), reason) for index, reason in added.errors.items()
        ]

    def _switch(self, request: HttpRequest, queryset: models.QuerySet[DirectConfig], *, is_active: bool) -> None:
        count = self.set_all(request, queryset, "is_active", is_active)
        text = ngettext("%(count)d link was changed.", "%(count)d links were changed.", count) % {"count": count}
        self.message_user(request, text, messages.SUCCESS)

    def _list_url(self, request: HttpRequest) -> str:
        """Back to where the button was, with its filters."""
        own = reverse(f"{self.admin_site.name}:subscriptions_directconfig_changelist")
        came_from = request.headers.get("Referer", "")
        is_ours = url_has_allowed_host_and_scheme(came_from, {request.get_host()}, request.is_secure())
        return came_from if is_ours and own in came_from else own


def _left_out() -> list[str]:
    """A sentence for each format that has no words for some of the active servers."""
    found = catalogue.coverage()
    sentence = _("%(format)s: %(count)d of %(total)d servers can't be expressed and are left out.")
    return [sentence % {"format": name, "count": count, "total": found.total} for name, count in found.left_out.items()]
