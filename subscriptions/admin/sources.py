"""Other providers' subscriptions: where they are, how the last fetch went, and what the provider says is left."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from subscriptions import sources, troubles
from subscriptions.models import Source
from traffic.admin.base import Page, PanelAdmin, Section
from traffic.cells import badge, left_to_right, moment, size, size_of_limit
from traffic.logs import masked

from .forms import SourceForm

_SAYS = ("state", "fetched", "next", "servers", "left_out", "quota", "details")
_SETTINGS = ("name", "url", "enabled", "priority", "interval", "groups", "allow_private")


@admin.register(Source)
class SourceAdmin(PanelAdmin[Source]):
    section = Section.SUBSCRIPTIONS
    icon = "cloud_download"
    place = 30
    form = SourceForm
    list_display = ("name", "address", "state", "servers", "fetched", "quota", "priority", "refresh_button")
    list_filter = ("enabled",)
    search_fields = ("name",)
    filter_horizontal = ("groups",)
    actions = ("refresh_now", "switch_on", "switch_off")
    empty_text = gettext_lazy("No sources yet. Add the subscription URL of another provider.")

    def pages(self) -> dict[str, Page]:
        return {"refresh": require_POST(self.refresh_view)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        return super().get_queryset(request).annotate(present=Count("nodes", filter=Q(nodes__is_present=True)))

    def get_fieldsets(self, request: HttpRequest, obj: Source | None = None) -> Any:
        """The URL is a secret: only those who may change it see it whole."""
        given = list(_SETTINGS)
        if obj is not None and not self.has_change_permission(request, obj):
            given[1] = "address"
        said = [(_("Last fetch"), {"fields": _SAYS})] if obj else []
        return [(None, {"fields": given}), *said]

    def get_readonly_fields(self, request: HttpRequest, obj: Source | None = None) -> Any:
        return (*_SAYS, "address")

    @admin.display(description=gettext_lazy("URL"))
    def address(self, source: Source) -> SafeString:
        return left_to_right(masked(source.url))

    @admin.display(description=gettext_lazy("state"))
    def state(self, source: Source) -> SafeString:
        if source.claimed_until and source.claimed_until > timezone.now():
            return badge("active", _("being fetched"))
        if not source.enabled:
            return badge("disabled", _("switched off"))
        if source.last_error:
            failed = ngettext("failed once", "failed %(count)d times", source.failures) % {"count": source.failures}
            return format_html("{}<br>{}", badge("limited", failed), troubles.sentence(source.last_error))
        return badge("active", _("fine")) if source.last_success else badge("expired", _("not fetched yet"))

    @admin.display(description=gettext_lazy("servers"), ordering="present")
    def servers(self, source: Source) -> SafeString:
        nodes = reverse(f"{self.admin_site.name}:subscriptions_node_changelist")
        count: int = getattr(source, "present", 0)
        return format_html('<a href="{}?source__id__exact={}">{}</a>', nodes, source.pk, count)

    @admin.display(description=gettext_lazy("last success"), ordering=F("last_success").asc(nulls_first=True))
    def fetched(self, source: Source) -> str:
        return moment(source.last_success)

    @admin.display(description=gettext_lazy("next fetch"))
    def next(self, source: Source) -> str:
        return moment(source.next_fetch) if source.next_fetch else _("at once")

    @admin.display(description=gettext_lazy("lines left out"))
    def left_out(self, source: Source) -> SafeString | str:
        rows = ((count, troubles.left_out(reason)) for reason, count in source.skipped.items())
        return format_html_join(mark_safe("<br>"), "{} × {}", rows) or "0"

    @admin.display(description=gettext_lazy("provider says"))
    def quota(self, source: Source) -> SafeString | str:
        """What the provider's own header says: for somebody else's server it is the bill."""
        if source.provider_upload is None and source.provider_download is None and source.provider_total is None:
            return "—"
        used = (source.provider_upload or 0) + (source.provider_download or 0)
        return format_html("{} {}", size_of_limit(used, source.provider_total), _expiry(source.provider_expire))

    @admin.display(description=gettext_lazy("details"))
    def details(self, source: Source) -> SafeString | str:
        if source.milliseconds is None:
            return "—"
        shown = size(source.size or 0)
        return format_html(_("{milliseconds} ms, {size}"), milliseconds=source.milliseconds, size=shown)

    @admin.display(description="")
    def refresh_button(self, source: Source) -> SafeString:
        """A button of the list's own form, which carries the CSRF token."""
        return format_html(
            '<button type="submit" class="xp-link" formaction="{}" formnovalidate>{}</button>',
            self.url("refresh", source), _("Refresh now"),
        )  # fmt: skip

    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        source = self.permitted(request, object_id, "change")
        self._refresh(request, [source.pk])
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:subscriptions_source_changelist"))

    @admin.action(permissions=["change"], description=gettext_lazy("Refresh now"))
    def refresh_now(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._refresh(request, list(queryset.values_list("pk", flat=True)))

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, enabled=False)

    def save_model(self, request: HttpRequest, obj: Source, form: Any, change: bool) -> None:
        if {"url", "allow_private"} & set(form.changed_data):
            sources.forget_copy(obj)
        super().save_model(request, obj, form, change)

    def _refresh(self, request: HttpRequest, pks: list[int]) -> None:
        sources.refresh_soon(pks)
        text = ngettext(
            "%(count)d source is being fetched; reload this page in a moment.",
            "%(count)d sources are being fetched; reload this page in a moment.",
            len(pks),
        )
        self.message_user(request, text % {"count": len(pks)}, messages.INFO)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Source], *, enabled: bool) -> None:
        count = self.set_all(request, queryset, "enabled", enabled)
        text = ngettext("%(count)d source was changed.", "%(count)d sources were changed.", count) % {"count": count}
        self.message_user(request, text, messages.SUCCESS)


def _expiry(expire: int | None) -> str:
    if not expire:
        return ""
    days = (expire - int(timezone.now().timestamp())) // 86_400
    if days < 0:
        return _("expired")
    return ngettext("expires in %(count)d day", "expires in %(count)d days", days) % {"count": days}
