"""Other providers' subscriptions: their URLs, the last fetch, and the traffic left according to the provider."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from operations.admin.base import PanelAdmin
from operations.formatting import badge, left_to_right, moment, size, size_of_limit
from operations.masks import masked
from subscriptions.models import Source
from subscriptions.sources import provider_usage, refreshing, source_errors, trying
from subscriptions.sources.provider_usage import Day
from subscriptions.sources.trying import Trial

from .filters import FailingFilter
from .forms import TRY, SourceForm
from .sections import SUBSCRIPTIONS

_SAYS = ("state", "fetched", "next", "servers", "left_out", "quota", "details")
_SETTINGS = (
    "name",
    "url",
    "enabled",
    "priority",
    "interval",
    "subscriber",
    "groups",
    "allow_private",
)
_RULES = ("keep", "drop", "rename", "prefix", "flags")


_MOST_ROWS = 500


@admin.register(Source)
class SourceAdmin(PanelAdmin[Source]):
    section = SUBSCRIPTIONS
    icon = "cloud_download"
    place = 30
    form = SourceForm
    list_display = (
        "name",
        "address",
        "owner",
        "state",
        "servers",
        "fetched",
        "quota",
        "priority",
        "refresh_button",
    )
    list_filter = (FailingFilter, "enabled")
    search_fields = ("name",)
    filter_horizontal = ("groups",)
    autocomplete_fields = ("subscriber",)
    list_select_related = ("subscriber",)
    linked_by = ("subscriber",)
    actions = ("refresh_now", "switch_on", "switch_off")
    empty_text = gettext_lazy("No sources yet. Add the subscription URL of another provider.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        return (
            super()
            .get_queryset(request)
            .annotate(present=Count("nodes", filter=Q(nodes__is_present=True)))
        )

    def get_fieldsets(self, request: HttpRequest, obj: Source | None = None) -> Any:
        """The URL is a secret, so only users who may change it see it whole."""
        given = list(_SETTINGS)
        if obj is not None and not self.has_change_permission(request, obj):
            given[1] = "address"
        said = [(_("Last fetch"), {"fields": _SAYS})] if obj else []
        days = [(_("Provider and reports"), {"fields": ("days",)})] if obj else []
        rules = (_("Which servers, and their names"), {"fields": _RULES})
        return [(None, {"fields": given}), rules, *said, *days]

    def get_readonly_fields(self, request: HttpRequest, obj: Source | None = None) -> Any:
        return (*_SAYS, "address", "days")

    @admin.display(description=gettext_lazy("URL"))
    def address(self, source: Source) -> SafeString:
        return left_to_right(masked(source.url))

    @admin.display(description=gettext_lazy("account of"), ordering="subscriber__name")
    def owner(self, source: Source) -> str:
        return str(source.subscriber) if source.subscriber else _("everybody")

    @admin.display(description=gettext_lazy("by day"))
    def days(self, source: Source) -> SafeString:
        """How much of what the provider counts was reported. Nobody reports on an account of one person but the provider."""
        found = provider_usage.days(source, timezone.now())
        is_own = source.subscriber_id is not None
        context = {
            "rows": [(day, _share(day)) for day in found if day.provider or not is_own],
            "is_own": is_own,
        }
        return render_to_string("admin/subscriptions/provider_days.html", context)

    @admin.display(description=gettext_lazy("state"))
    def state(self, source: Source) -> SafeString:
        if source.claimed_until and source.claimed_until > timezone.now():
            return badge("active", _("being fetched"))
        if not source.enabled:
            return badge("disabled", _("switched off"))
        if source.last_error:
            failed = ngettext("failed once", "failed %(count)d times", source.failures) % {
                "count": source.failures
            }
            return format_html(
                "{}<br>{}", badge("limited", failed), source_errors.sentence(source.last_error)
            )
        return (
            badge("active", _("fine"))
            if source.last_success
            else badge("expired", _("not fetched yet"))
        )

    @admin.display(description=gettext_lazy("servers"), ordering="present")
    def servers(self, source: Source) -> SafeString:
        nodes = reverse(f"{self.admin_site.name}:subscriptions_node_changelist")
        count: int = getattr(source, "present", 0)
        return format_html('<a href="{}?source__id__exact={}">{}</a>', nodes, source.pk, count)

    @admin.display(
        description=gettext_lazy("last success"), ordering=F("last_success").asc(nulls_first=True)
    )
    def fetched(self, source: Source) -> str:
        return moment(source.last_success)

    @admin.display(description=gettext_lazy("next fetch"))
    def next(self, source: Source) -> str:
        return moment(source.next_fetch) if source.next_fetch else _("at once")

    @admin.display(description=gettext_lazy("lines left out"))
    def left_out(self, source: Source) -> SafeString | str:
        rows = ((count, source_errors.left_out(reason)) for reason, count in source.skipped.items())
        return format_html_join(mark_safe("<br>"), "{} × {}", rows) or "0"

    @admin.display(description=gettext_lazy("provider says"))
    def quota(self, source: Source) -> SafeString | str:
        """The quota in the provider's own header, which is what the provider bills."""
        if (
            source.provider_upload is None
            and source.provider_download is None
            and source.provider_total is None
        ):
            return "—"
        used = (source.provider_upload or 0) + (source.provider_download or 0)
        return format_html(
            "{} {}", size_of_limit(used, source.provider_total), _expiry(source.provider_expire)
        )

    @admin.display(description=gettext_lazy("details"))
    def details(self, source: Source) -> SafeString | str:
        if source.milliseconds is None:
            return "—"
        shown = size(source.size or 0)
        return format_html(
            _("{milliseconds} ms, {size}"), milliseconds=source.milliseconds, size=shown
        )

    @admin.display(description=gettext_lazy("Refresh now"))
    def refresh_button(self, source: Source) -> SafeString:
        """A button inside the list's own form, which has the CSRF token."""
        return format_html(
            '<button type="submit" class="xp-link" formaction="{}" formnovalidate>{}</button>',
            self.url("refresh", source), _("Refresh now"),
        )  # fmt: skip

    @method_decorator(require_POST)
    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        source = self.permitted(request, object_id, "change")
        self._refresh(request, [source.pk])
        return HttpResponseRedirect(self.list_url())

    @admin.action(permissions=["change"], description=gettext_lazy("Refresh now"))
    def refresh_now(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._refresh(request, list(queryset.values_list("pk", flat=True)))

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, enabled=False)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Try the source before Django opens its transaction, inside of which nobody may wait for another server."""
        context = dict(extra_context or {})
        if request.method == "POST" and TRY in request.POST:
            context["trial"] = self._trial(request, object_id)
        return super().changeform_view(request, object_id, form_url, context)

    def _trial(self, request: HttpRequest, object_id: str | None) -> dict[str, Any] | None:
        """What the form's source would give; None if the form has errors, or this user may not save it."""
        source = self.get_object(request, unquote(object_id)) if object_id else None
        may = self.has_change_permission if object_id else self.has_add_permission
        if not may(request) or (object_id and source is None):
            return None
        form = self.get_form(request, source, change=bool(object_id))(request.POST, instance=source)
        return None if form.errors else _shown(trying.try_out(form.instance))

    def save_model(self, request: HttpRequest, obj: Source, form: Any, change: bool) -> None:
        if {"url", "allow_private"} & set(form.changed_data):
            refreshing.forget_copy(obj)
        if set(_RULES) & set(form.changed_data):
            refreshing.read_again(obj)
        super().save_model(request, obj, form, change)

    def _refresh(self, request: HttpRequest, pks: list[int]) -> None:
        refreshing.refresh_soon(pks)
        text = ngettext(
            "%(count)d source is being fetched; reload this page in a moment.",
            "%(count)d sources are being fetched; reload this page in a moment.",
            len(pks),
        )
        self.message_user(request, text % {"count": len(pks)}, messages.INFO)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Source], *, enabled: bool) -> None:
        count = self.set_all(request, queryset, "enabled", on=enabled)
        text = ngettext(
            "%(count)d source was changed.", "%(count)d sources were changed.", count
        ) % {"count": count}
        self.message_user(request, text, messages.SUCCESS)

    pages = {"refresh": refresh_view}


def _shown(trial: Trial) -> dict[str, Any]:
    """The context of the table. Long lists are cut, their counts are not."""
    taken = sum(not row.code for row in trial.rows)
    return {
        "error": source_errors.sentence(trial.error) if trial.error else "",
        "rows": [(row, source_errors.left_out(row.code)) for row in trial.rows[:_MOST_ROWS]],
        "taken": taken,
        "renamed": sum(row.is_renamed for row in trial.rows),
        "left_out": len(trial.rows) - taken,
        "hidden": max(len(trial.rows) - _MOST_ROWS, 0),
    }


def _share(day: Day) -> SafeString | str:
    if day.share is None:
        return "—"
    text = f"{round(100 * day.share)} %"
    return badge("limited" if day.is_low or day.is_high else "active", text)


def _expiry(expire: int | None) -> str:
    if not expire:
        return ""
    days = (expire - int(timezone.now().timestamp())) // 86_400
    if days < 0:
        return _("expired")
    return ngettext("expires in %(count)d day", "expires in %(count)d days", days) % {"count": days}
