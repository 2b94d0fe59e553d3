"""Read-only lists: the users of linked panels, and what was handed over."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from integrations.marzban.models import HandOver, PanelIdentity
from operations.admin.base import PanelAdmin
from operations.formatting import badge, moment, size

from .sections import LINKS

_BADGES = {
    HandOver.State.PENDING: "limited",
    HandOver.State.SENT: "active",
    HandOver.State.RETURNED: "disabled",
    HandOver.State.UNKNOWN: "expired",
    HandOver.State.UNDELIVERABLE: "expired",
}


@admin.register(PanelIdentity)
class PanelIdentityAdmin(PanelAdmin[PanelIdentity]):
    section = LINKS
    icon = "groups"
    place = 20
    rights = frozenset({"view"})
    list_display = ("username", "link", "user_id", "subscriber", "state", "first_seen", "closed")
    fields = list_display
    list_filter = ("link", "is_active", "status")
    list_select_related = ("link", "subscriber")
    search_fields = ("username",)
    linked_by = ("subscriber",)
    readonly_fields = list_display
    empty_text = gettext_lazy("No users yet. They come when a linked panel starts its node.")

    @admin.display(description=gettext_lazy("state"))
    def state(self, person: PanelIdentity) -> SafeString:
        if person.closed_at:
            return badge("disabled", _("closed"))
        if person.status:
            return badge("limited", PanelIdentity.Status(person.status).label)
        return (
            badge("active", _("active")) if person.is_active else badge("disabled", _("not active"))
        )

    @admin.display(description=gettext_lazy("first seen"), ordering="first_seen_at")
    def first_seen(self, person: PanelIdentity) -> str:
        return moment(person.first_seen_at)

    @admin.display(description=gettext_lazy("closed"), ordering="closed_at")
    def closed(self, person: PanelIdentity) -> str:
        return moment(person.closed_at) if person.closed_at else "–"


@admin.register(HandOver)
class HandOverAdmin(PanelAdmin[HandOver]):
    section = LINKS
    icon = "swap_horiz"
    place = 30
    rights = frozenset({"view"})
    list_display = ("at", "link", "what", "shown_state", "bytes", "count")
    fields = list_display
    readonly_fields = list_display
    list_filter = ("state", "what", "link")
    list_select_related = ("link",)
    sortable_by = ()
    empty_text = gettext_lazy("Nothing was handed over yet.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[HandOver]:
        return super().get_queryset(request).defer("items")

    @admin.display(description=gettext_lazy("time"))
    def at(self, batch: HandOver) -> str:
        return moment(batch.made_at)

    @admin.display(description=gettext_lazy("state"))
    def shown_state(self, batch: HandOver) -> SafeString:
        state = HandOver.State(batch.state)
        return badge(_BADGES[state], state.label)

    @admin.display(description=gettext_lazy("bytes"))
    def bytes(self, batch: HandOver) -> SafeString:
        return format_html("{}", size(batch.upload + batch.download))
