"""Other panels whose usage is read: addresses, the state of the last reading, and a trial that books nothing."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy
from django.views.decorators.http import require_POST

from operations.admin import bulk_actions
from operations.admin.base import Deletion, PanelAdmin
from operations.admin.bulk_actions import BulkAction
from operations.admin.questions import asking
from operations.formatting import badge, left_to_right, moment
from traffic.admin.sections import TRAFFIC
from traffic.ledger import reporters

from . import forgetting, journal, places, pulling, trial
from .forms import PanelForm
from .growth import What
from .models import Panel
from .pull_errors import sentence

_SAYS = ("state", "read", "next", "people", "unreadable", "milliseconds")
_WHAT = {
    What.FIRST: gettext_lazy("first reading: remembered, not counted"),
    What.GREW: gettext_lazy("has grown"),
    What.UNCHANGED: gettext_lazy("unchanged"),
    What.RESTARTED: gettext_lazy("restarted: the whole total counts"),
    What.RESTORED: gettext_lazy("the panel was restored: counting goes on from here"),
}
_ACTIONS = {
    "forget": BulkAction(
        button=gettext_lazy("Forget the key"),
        icon="key_off",
        question=ngettext_lazy("Forget the key of %d panel?", "Forget the keys of %d panels?"),
        text=gettext_lazy(
            "The stored key or password and the extra headers are removed, and the panel is switched off. Counted usage "
            "stays. To read the panel again, enter the key again."
        ),
        done=ngettext_lazy(
            "The key of %d panel is forgotten.", "The keys of %d panels are forgotten."
        ),
        do=lambda ids, _, by: forgetting.forget(ids, by),
        is_loss=True,
    )
}


class _Removal(Deletion[Panel]):
    def delete(self, request: HttpRequest, rows: QuerySet[Panel]) -> None:
        removed = list(rows)
        super().delete(request, rows)
        _expect_no_more(removed)


@admin.register(Panel)
class PanelToReadAdmin(PanelAdmin[Panel]):
    section = TRAFFIC
    icon = "cloud_sync"
    place = 60
    form = PanelForm
    deletion = _Removal()
    list_display = ("name", "kind", "address", "state", "people", "read", "read_button")
    list_filter = ("enabled", "kind")
    search_fields = ("name",)
    autocomplete_fields = ("subscriber",)
    delete_confirmation_template = "admin/operations/delete_confirmation.html"
    actions = (
        "switch_on",
        "switch_off",
        *(bulk_actions.in_list(name, action) for name, action in _ACTIONS.items()),
    )
    empty_text = gettext_lazy(
        "No panels yet. Add a 3x-ui, Marzban, PasarGuard, Marzneshin, Remnawave or Hiddify that tells what people use there."
    )

    def get_fieldsets(self, request: HttpRequest, obj: Panel | None = None) -> Any:
        """The address is a secret, so only users who may change it see it whole."""
        where = ["name", "kind", "access", "url", "username", "secret", "subscriber"]
        if obj is not None and not self.has_change_permission(request, obj):
            where = ["name", "kind", "access", "address", "username", "subscriber"]
        more = ["server", "port", "interval", "enabled", "allow_private"]
        if "secret" in where:
            more.append("headers")
        said = [(_("Last reading"), {"fields": _SAYS})] if obj else []
        return [(None, {"fields": where}), (_("Settings"), {"fields": more}), *said]

    def get_readonly_fields(self, request: HttpRequest, obj: Panel | None = None) -> Any:
        return (*_SAYS, "address")

    @admin.display(description=gettext_lazy("address"))
    def address(self, panel: Panel) -> SafeString:
        """Host and port only, because the path is often a password."""
        return left_to_right(f"{places.shown(panel.url)}/…")

    @admin.display(description=gettext_lazy("state"))
    def state(self, panel: Panel) -> SafeString:
        if not panel.enabled:
            return badge("disabled", _("switched off"))
        if panel.last_error:
            failed = ngettext("failed once", "failed %(count)d times", panel.failures) % {
                "count": panel.failures
            }
            return format_html(
                '<span class="xp-sentence">{}<br>{}</span>',
                badge("limited", failed),
                sentence(panel.last_error),
            )
        if panel.last_success:
            return badge("active", _("fine"))
        return badge("expired", _("not read yet"))

    @admin.display(
        description=gettext_lazy("last success"), ordering=F("last_success").asc(nulls_first=True)
    )
    def read(self, panel: Panel) -> str:
        return moment(panel.last_success)

    @admin.display(description=gettext_lazy("next reading"))
    def next(self, panel: Panel) -> str:
        return moment(panel.next_read) if panel.next_read else _("at once")

    @admin.display(description=gettext_lazy("Read now"))
    def read_button(self, panel: Panel) -> SafeString:
        """A button inside the list's own form, which has the CSRF token."""
        return format_html(
            '<button type="submit" class="xp-link" formaction="{}" formnovalidate>{}</button>',
            self.url("read", panel), _("Read now"),
        )  # fmt: skip

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Panel]) -> None:
        lacking = [panel for panel in queryset if panel.lacks_secret]
        for panel in lacking:
            text = _("%(name)s stays off: its key or password was removed; enter it again.")
            self.message_user(request, text % {"name": panel}, messages.WARNING)
        fit = queryset.exclude(pk__in=[panel.pk for panel in lacking])
        self._switch(request, fit, enabled=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Panel]) -> None:
        self._switch(request, queryset, enabled=False)

    def offered(self, obj: Panel) -> Iterable[tuple[str, Any]]:
        return _ACTIONS.items() if obj.has_secrets else ()

    def save_model(self, request: HttpRequest, obj: Panel, form: Any, change: bool) -> None:
        if form.changed_data:
            obj.next_read, obj.failures, obj.last_error = None, 0, ""
        super().save_model(request, obj, form, change)
        if change and form.is_another_panel:
            journal.begin_again(obj, timezone.now())
        if not obj.enabled:
            _expect_no_more([obj])

    def response_post_save_add(self, request: HttpRequest, obj: Panel) -> HttpResponseRedirect:
        """A new panel is tried before anything is booked."""
        if obj.pk is None:
            return super().response_post_save_add(request, obj)
        return HttpResponseRedirect(self.url("try", obj))

    @method_decorator(require_POST)
    def read_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        panel = self.permitted(request, object_id, "change")
        pulling.pull_soon([panel.pk])
        text = _("%(name)s is being read; reload this page in a moment.") % {"name": panel}
        self.message_user(request, text, messages.INFO)
        return HttpResponseRedirect(self.list_url())

    @asking
    def try_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        panel = self.permitted(request, object_id, "change")
        context: dict[str, Any] = {"title": _("Try %(name)s") % {"name": panel}}
        if request.method == "POST":
            context |= _tried(panel)
        return self.render(request, "admin/pulls/panel/try.html", panel, context)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Panel], *, enabled: bool) -> None:
        panels = list(queryset)
        count = self.set_all(request, queryset, "enabled", on=enabled)
        if not enabled:
            _expect_no_more(panels)
        text = ngettext("%(count)d panel was changed.", "%(count)d panels were changed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    pages = {
        "read": read_view,
        "try": try_view,
        **{name: bulk_actions.page(action) for name, action in _ACTIONS.items()},
    }


def _expect_no_more(panels: Iterable[Panel]) -> None:
    """Stop expecting reports, so that silence is not reported as a fault."""
    for panel in panels:
        reporters.end(panel.origin, timezone.now())


def _tried(panel: Panel) -> dict[str, Any]:
    """The template's context: what would be booked, or why nothing can be read."""
    try:
        found = trial.run(panel)
    except pulling.ReadingError as error:
        return {"error": sentence(error.code)}
    return {"trial": found, "lines": [(line, _WHAT[line.what]) for line in found.lines]}
