"""The receivers of notifications, and the log of deliveries."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from operations.formatting import badge, left_to_right, moment
from operations.masks import masked
from operations.models import Delivery, Receiver
from operations.notifications import outbox, reasons
from operations.notifications.kinds import kinds

from . import questions
from .base import NOTIFICATIONS, Deleted, Deletion, PanelAdmin, named_only
from .questions import Confirmation
from .receiver_forms import ReceiverForm
from .secrets import shown_once

_BADGES = {
    Delivery.State.PENDING: "limited",
    Delivery.State.DELIVERED: "active",
    Delivery.State.FAILED: "expired",
}


_SECRET = gettext_lazy("Copy the secret that signs this webhook now. It is shown only once.")


class _WithDeliveries(Deletion[Receiver]):
    """Does not list the deliveries of a receiver, which are deleted with it: there may be thousands."""

    def told(self, options: Any, objs: Iterable[Receiver]) -> Deleted | None:
        return named_only(options, objs)


@admin.register(Receiver)
class ReceiverAdmin(PanelAdmin[Receiver]):
    section = NOTIFICATIONS
    icon = "notifications"
    deletion = _WithDeliveries()
    form = ReceiverForm
    list_display = ("name", "kind", "where", "told_of", "state")
    list_filter = ("kind", "is_active")
    empty_text = gettext_lazy(
        "No receivers yet. Add a webhook, a Telegram chat or an e-mail address."
    )

    class Media:
        js = ("operations/copy.js",)

    def get_fields(self, request: HttpRequest, obj: Receiver | None = None) -> Any:
        """Users who may only view see no more than the list shows."""
        if obj and not self.has_change_permission(request, obj):
            return ("name", "kind", "where", "hint", "told_of", "state")
        return ("name", "kind", "target", "secret", "events", "is_active")

    def get_readonly_fields(self, request: HttpRequest, obj: Receiver | None = None) -> Any:
        """The kind cannot change, because a secret must not be sent to another kind of address."""
        if obj and not self.has_change_permission(request, obj):
            return self.get_fields(request, obj)
        return ("kind",) if obj else ()

    @admin.display(description=gettext_lazy("address"), ordering="target")
    def where(self, obj: Receiver) -> SafeString:
        return left_to_right(shown_target(obj))

    @admin.display(description=gettext_lazy("secret"))
    def hint(self, obj: Receiver) -> SafeString:
        return left_to_right(masked(obj.secret) if obj.secret else "–")

    @admin.display(description=gettext_lazy("notified when"))
    def told_of(self, obj: Receiver) -> str:
        known = kinds()
        return "; ".join(str(known[name].label) for name in obj.events if name in known) or "–"

    @admin.display(description=gettext_lazy("state"), ordering="is_active")
    def state(self, obj: Receiver) -> SafeString:
        return (
            badge("active", _("active")) if obj.is_active else badge("disabled", _("switched off"))
        )

    def save_model(self, request: HttpRequest, obj: Receiver, form: Any, change: bool) -> None:
        """Show the generated secret of a new webhook once, in a message on the next page."""
        super().save_model(request, obj, form, change)
        if form.made_secret:
            self.message_user(request, shown_once(_SECRET, form.made_secret), messages.WARNING)

    @questions.asking
    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "change")
        if request.method != "POST":
            asked = Confirmation(
                title=_("Send a test to %(name)s?") % {"name": obj},
                text=_(
                    "One notification is sent at once, even if the receiver is switched off. It may take 15 seconds."
                ),
                button=_("Send a test"),
            )
            return questions.confirm(self, request, asked, obj)
        error = outbox.send_test(obj, timezone.now())
        text = (
            _("The test was not delivered. %(why)s") % {"why": reasons.sentence(error)}
            if error
            else _("The receiver confirmed the test.")
        )
        self.message_user(request, text, messages.ERROR if error else messages.SUCCESS)
        return self.back_to(obj)

    pages = {"test": test_view}


class EventFilter(admin.SimpleListFilter):
    title = gettext_lazy("event")
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(kind.name, kind.label) for kind in kinds().values()]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        return queryset.filter(notification__event=self.value()) if self.value() else queryset


@admin.register(Delivery)
class DeliveryAdmin(PanelAdmin[Delivery]):
    """A read-only log, newest first. Deliveries that were given up can be sent again."""

    section = NOTIFICATIONS
    icon = "outbox"
    rights = frozenset({"change", "view"})
    list_display = ("at", "receiver", "text", "shown_state", "attempts", "why", "next")
    list_display_links = None
    list_filter = ("state", "receiver", EventFilter)
    list_select_related = ("notification", "receiver")
    search_fields = ("notification__text",)
    sortable_by = ()
    actions = ("send_again",)
    show_facets = admin.ShowFacets.NEVER
    empty_text = gettext_lazy(
        "No notifications yet. Add a receiver, and check that send_notifications runs."
    )

    def get_fields(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        return self.list_display

    def get_readonly_fields(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        return self.list_display

    @admin.display(description=gettext_lazy("time"))
    def at(self, obj: Delivery) -> str:
        return moment(obj.notification.at)

    @admin.display(description=gettext_lazy("notification"))
    def text(self, obj: Delivery) -> SafeString:
        return format_html('<span class="xp-sentence">{}</span>', obj.notification.text)

    @admin.display(description=gettext_lazy("state"))
    def shown_state(self, obj: Delivery) -> SafeString:
        state = Delivery.State(obj.state)
        return badge(_BADGES[state], state.label)

    @admin.display(description=gettext_lazy("last error"))
    def why(self, obj: Delivery) -> str:
        return reasons.sentence(obj.last_error) or "–"

    @admin.display(description=gettext_lazy("when"))
    def next(self, obj: Delivery) -> str:
        if obj.state == Delivery.State.FAILED:
            return "–"
        return moment(obj.delivered_at or obj.next_try)

    @admin.action(
        permissions=["change"], description=gettext_lazy("Retry deliveries that were given up")
    )
    def send_again(self, request: HttpRequest, queryset: models.QuerySet[Delivery]) -> None:
        count = outbox.send_again(list(queryset.values_list("pk", flat=True)), timezone.now())
        text = ngettext(
            "%d delivery is sent again in the next run.",
            "%d deliveries are sent again in the next run.",
            count,
        )
        self.message_user(request, text % count, messages.SUCCESS)


def shown_target(receiver: Receiver) -> str:
    """The target without the path and query of a URL, because they often hold a password."""
    if receiver.kind != Receiver.Kind.WEBHOOK:
        return receiver.target
    scheme, _, rest = receiver.target.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/…"
