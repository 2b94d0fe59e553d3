from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from integrations.marzban import certificates, differences, handover, linking, ports
from integrations.marzban.certificates import CertificateError
from integrations.marzban.models import HandOver, PanelLink
from operations.admin.base import Deletion, PanelAdmin, by
from operations.formatting import badge, left_to_right, moment, size

from . import link_pages
from .link_actions import ACTIONS
from .sections import LINKS

_State = HandOver.State


class _Forgetting(Deletion[PanelLink]):
    """Removes the link from here alone."""

    def told(self, options: Any, objs: Any) -> Any:
        names = [str(obj) for obj in objs]
        return names, {str(options.verbose_name_plural): len(names)}, set(), []

    def delete(self, request: HttpRequest, rows: QuerySet[PanelLink]) -> None:
        for link in rows:
            linking.forget(link, by(request))


@admin.register(PanelLink)
class PanelLinkAdmin(PanelAdmin[PanelLink]):
    section = LINKS
    icon = "hub"
    place = 10
    rights = frozenset({"change", "delete", "view"})
    deletion = _Forgetting()
    list_display = (
        "name",
        "kind",
        "address",
        "shown_state",
        "called",
        "last",
        "waits",
        "sent",
        "unknown",
    )
    readonly_fields = (
        "kind", "address", "shown_state", "called", "last", "place_of_node", "certificate",
        "webhook", "account", "compared", "waits", "sent", "returned", "unknown", "undeliverable",
    )  # fmt: skip
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "subscription_path",
                    "signs_in",
                    "verifies_tokens",
                    "makes_subscribers",
                )
            },
        ),
        (
            gettext_lazy("State"),
            {
                "fields": (
                    "kind",
                    "address",
                    "shown_state",
                    "called",
                    "last",
                    "place_of_node",
                    "certificate",
                )
            },
        ),
        (
            gettext_lazy("Bytes"),
            {"fields": ("waits", "sent", "returned", "unknown", "undeliverable")},
        ),
        (gettext_lazy("People"), {"fields": ("webhook", "account", "compared")}),
    )
    pages = link_pages.PAGES
    list_pages = {"connect": link_pages.connect_view}
    empty_text = gettext_lazy(
        "No panel is linked yet. Link a Marzban, and external traffic counts there."
    )

    class Media:
        js = ("operations/copy.js",)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        own = {"may_connect": link_pages.may_connect(request)}
        return super().changelist_view(request, own | (extra_context or {}))

    def offered(self, obj: PanelLink) -> Iterable[tuple[str, Any]]:
        return ((name, action) for name, action in ACTIONS.items() if action.fits(obj))

    @admin.display(description=gettext_lazy("address"))
    def address(self, link: PanelLink) -> SafeString:
        return left_to_right(link.url)

    @admin.display(description=gettext_lazy("state"))
    def shown_state(self, link: PanelLink) -> SafeString:
        if link.node_error:
            return format_html(
                "{}<br>{}", badge("expired", _("error")), PanelLink.NodeError(link.node_error).label
            )
        if link.state == PanelLink.State.PAUSED:
            return badge("limited", _("paused"))
        return badge("active", _("active"))

    @admin.display(description=gettext_lazy("last call"))
    def called(self, link: PanelLink) -> str:
        return moment(link.seen_at)

    @admin.display(description=gettext_lazy("last hand-over"))
    def last(self, link: PanelLink) -> str:
        return moment(link.handed_over_at)

    @admin.display(description=gettext_lazy("node"))
    def place_of_node(self, link: PanelLink) -> SafeString:
        listens = ", ".join(
            f"{place.host}:{place.port}" for place in (ports.listen(link), ports.api(link))
        )
        return left_to_right(listens)

    @admin.display(description=gettext_lazy("panel's certificate"))
    def certificate(self, link: PanelLink) -> SafeString | str:
        if not link.client_certificate:
            return "–"
        try:
            return left_to_right(f"SHA-256 {certificates.fingerprint(link.client_certificate)}")
        except CertificateError as error:
            return str(error)

    @admin.display(description=gettext_lazy("webhook"))
    def webhook(self, link: PanelLink) -> str:
        return _("has a secret") if link.events_secret else _("has no secret yet")

    @admin.display(description=gettext_lazy("stored account"))
    def account(self, link: PanelLink) -> str:
        return link.account_name or "–"

    @admin.display(description=gettext_lazy("people compared"))
    def compared(self, link: PanelLink) -> str:
        shown = moment(link.reconciled_at)
        return (
            format_html("{} ({})", shown, link.reconcile_error) if link.reconcile_error else shown
        )

    # --- Bytes ---

    @admin.display(description=gettext_lazy("waits"))
    def waits(self, link: PanelLink) -> str:
        return size(handover.waiting(link) + self._sum(link, _State.PENDING))

    @admin.display(description=gettext_lazy("sent"))
    def sent(self, link: PanelLink) -> str:
        return size(self._sum(link, _State.SENT))

    @admin.display(description=gettext_lazy("returned"))
    def returned(self, link: PanelLink) -> str:
        return size(self._sum(link, _State.RETURNED))

    @admin.display(description=gettext_lazy("unknown"))
    def unknown(self, link: PanelLink) -> str:
        return size(self._sum(link, _State.UNKNOWN))

    @admin.display(description=gettext_lazy("undeliverable"))
    def undeliverable(self, link: PanelLink) -> str:
        return size(self._sum(link, _State.UNDELIVERABLE))

    def _sum(self, link: PanelLink, state: str) -> int:
        if not hasattr(link, "sums"):
            link.sums = differences.handed(link)  # type: ignore[attr-defined]
        sums: dict[str, int] = link.sums  # type: ignore[attr-defined]
        return sums.get(state, 0)
