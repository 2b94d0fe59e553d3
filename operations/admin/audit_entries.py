"""The audit trail, newest first and read-only, for users with the permission."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from operations.audit import LABELS
from operations.formatting import moment
from operations.models import AuditEntry

from . import history
from .base import ACCESS, ModelAdmin, PanelAdmin

# A longer list is hard to use; other authors can be found by search.
_AUTHORS = 100


class AuthorFilter(admin.SimpleListFilter):
    title = _("author")
    parameter_name = "author"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        authors = AuditEntry.objects.order_by("author").values_list("author", flat=True)
        return [(author, author) for author in authors.distinct()[:_AUTHORS]]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        return queryset.filter(author=self.value()) if self.value() else queryset


class ActionFilter(admin.SimpleListFilter):
    title = _("action")
    parameter_name = "action_is"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(str(action), label) for action, label in LABELS.items()]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() in LABELS else queryset


class KindFilter(admin.SimpleListFilter):
    """Offers only the kinds of targets that have entries."""

    title = _("kind")
    parameter_name = "kind"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        kinds = AuditEntry.objects.order_by("target_kind").values_list("target_kind", flat=True)
        return [(kind, name_of(kind)) for kind in kinds.distinct()]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        return queryset.filter(target_kind=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(PanelAdmin[AuditEntry]):
    section = ACCESS
    icon = "history"
    place = 80
    rights = frozenset({"view"})
    list_display = ("time", "author", "what", "target", "changed")
    list_display_links = None
    list_filter = (AuthorFilter, ActionFilter, KindFilter)
    search_fields = ("target_name", "author")
    search_help_text = _("Search by part of a name or an author.")
    sortable_by = ()
    linked_by = ("target_id",)
    fields = ("time", "author", "what", "target", "changed")
    show_facets = admin.ShowFacets.NEVER
    actions = None
    empty_text = _("No changes yet.")

    @admin.display(description=_("time (UTC)"))
    def time(self, entry: AuditEntry) -> str:
        return moment(entry.at)

    @admin.display(description=_("action"))
    def what(self, entry: AuditEntry) -> object:
        return LABELS.get(entry.action, entry.action)

    @admin.display(description=_("target"))
    def target(self, entry: AuditEntry) -> SafeString:
        name = entry.target_name or f"#{entry.target_id}"
        link = self._link(entry)
        shown = format_html('<a href="{}">{}</a>', link, name) if link else name
        return format_html(
            '<div>{} <div class="xp-quiet">{}</div></div>', shown, name_of(entry.target_kind)
        )

    @admin.display(description=_("changes"))
    def changed(self, entry: AuditEntry) -> SafeString | str:
        rows = ((change.name, _was(change), change.new) for change in history.changes(entry))
        shown = format_html_join("", "<div>{}: {}{}</div>", rows)
        return format_html("<div>{}</div>", shown) if shown else "–"

    def _link(self, entry: AuditEntry) -> str:
        """The history page of the target; empty if the target was deleted."""
        if entry.action == "deleted":
            return ""
        name = f"{self.admin_site.name}:{entry.target_kind.replace('.', '_')}_history"
        try:
            return reverse(name, args=[entry.target_id])
        except NoReverseMatch:
            return ""


def _was(change: history.Change) -> SafeString | str:
    return "" if change.old is None else format_html("{} → ", change.old)


def name_of(kind: str) -> str:
    """The verbose name of a kind of target."""
    try:
        return str(capfirst(apps.get_model(kind)._meta.verbose_name))  # noqa: SLF001
    except (LookupError, ValueError):
        return kind
