"""The panels from which people have moved in, and forgetting the secrets of their links."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from integrations.moving import panel_secrets
from integrations.moving.models import OldPanel
from operations.admin import bulk_actions
from operations.admin.base import PanelAdmin
from operations.admin.bulk_actions import BulkAction
from operations.formatting import badge, moment
from operations.sealing import CannotOpenError
from traffic.admin.sections import TRAFFIC

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _Columns(TypedDict):
        moved: int

    Listed = WithAnnotations[OldPanel, _Columns]
else:
    Listed = OldPanel

_ACTIONS = {
    "forget": BulkAction(
        button=gettext_lazy("Forget the secret"),
        icon="key_off",
        question=ngettext_lazy(
            "Forget the secret of %d panel?", "Forget the secrets of %d panels?"
        ),
        text=gettext_lazy(
            "Links that the panel has signed stop working at once. Whoever moved in stays, with the link from here. To have "
            "the old links back, move in again."
        ),
        done=ngettext_lazy(
            "The secret of %d panel is forgotten.", "The secrets of %d panels are forgotten."
        ),
        do=lambda ids, _, by: panel_secrets.forget(ids, by),
        is_loss=True,
    )
}


@admin.register(OldPanel)
class OldPanelAdmin(PanelAdmin[OldPanel]):
    section = TRAFFIC
    icon = "move_down"
    place = 65
    rights = frozenset({"change", "view"})
    list_display = ("name", "kind", "people", "first_move", "links")
    list_filter = ("kind",)
    search_fields = ("name",)
    fields = readonly_fields = ("name", "kind", "people", "first_move", "links")
    actions = tuple(bulk_actions.in_list(name, action) for name, action in _ACTIONS.items())
    pages = {name: bulk_actions.page(action) for name, action in _ACTIONS.items()}
    empty_text = gettext_lazy(
        "Nobody has moved in yet. Subscribers → Move in from another panel takes people over."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[OldPanel]:
        return super().get_queryset(request).annotate(moved=Count("accounts"))

    def offered(self, obj: OldPanel) -> Iterable[tuple[str, Any]]:
        return _ACTIONS.items() if obj.sealed_secret else ()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Nothing can be edited, so there is nothing to save."""
        own = {"show_save": False, "show_save_and_continue": False}
        return super().render_change_form(request, context | own, *args, **kwargs)

    @admin.display(description=gettext_lazy("people"), ordering="moved")
    def people(self, panel: Listed) -> str:
        return number_format(panel.moved, force_grouping=True)

    @admin.display(description=gettext_lazy("first move"), ordering="added_at")
    def first_move(self, panel: OldPanel) -> str:
        return moment(panel.added_at)

    @admin.display(description=gettext_lazy("links that it has signed"))
    def links(self, panel: OldPanel) -> SafeString:
        """The secret itself is shown to nobody."""
        try:
            is_known = bool(panel.secret)
        except CannotOpenError:
            return badge("expired", _("SECRET_KEY has changed: move in again"))
        return badge("active", _("work")) if is_known else badge("disabled", _("no secret"))
