"""Who is told of what, and what became of it."""

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from traffic.cells import badge, left_to_right, moment
from traffic.logs import masked
from traffic.models import Delivery, Receiver
from traffic.notifications import events, outbox, reasons

from .base import Page, PanelAdmin, Section
from .receiver_forms import ReceiverForm

_BADGES = {Delivery.State.PENDING: "limited", Delivery.State.DELIVERED: "active", Delivery.State.FAILED: "expired"}


@admin.register(Receiver)
class ReceiverAdmin(PanelAdmin[Receiver]):
    section = Section.NOTIFICATIONS
    icon = "notifications"
    form = ReceiverForm
    list_display = ("name", "kind", "where", "told_of", "state")
    list_filter = ("kind", "is_active")
    empty_text = gettext_lazy("Nobody is told of anything yet. Add a webhook, a Telegram chat or an e-mail address.")

    class Media:
        js = ("traffic/copy.js",)

    def pages(self) -> dict[str, Page]:
        return {"test": self.test_view}

    def get_fields(self, request: HttpRequest, obj: Receiver | None = None) -> Any:
        """Who may only look sees no more than the list shows."""
        if obj and not self.has_change_permission(request, obj):
            return ("name", "kind", "where", "hint", "told_of", "state")
        return ("name", "kind", "target", "secret", "events", "is_active")

    def get_readonly_fields(self, request: HttpRequest, obj: Receiver | None = None) -> Any:
        """What is at the other end is settled: a secret must not be sent to another kind of address."""
        if obj and not self.has_change_permission(request, obj):
            return self.get_fields(request, obj)
        return ("kind",) if obj else ()

    @admin.display(description=gettext_lazy("address"), ordering="target")
    def where(self, obj: Receiver) -> SafeString:
        return left_to_right(shown_target(obj))

    @admin.display(description=gettext_lazy("secret"))
    def hint(self, obj: Receiver) -> SafeString:
        return left_to_right(masked(obj.secret) if obj.secret else "–")

    @admin.display(description=gettext_lazy("is told when"))
    def told_of(self, obj: Receiver) -> str:
        known = events.kinds()
        return "; ".join(str(known[name].label) for name in obj.events if name in known) or "–"

    @admin.display(description=gettext_lazy("state"), ordering="is_active")
    def state(self, obj: Receiver) -> SafeString:
        return badge("active", _("active")) if obj.is_active else badge("disabled", _("switched off"))

    def save_model(self, request: HttpRequest, obj: Receiver, form: Any, change: bool) -> None:
        """The secret that signs a new webhook goes into one message on the following page, and nowhere else."""
        super().save_model(request, obj, form, change)
        if form.made_secret:
            shown = format_html(
                '{}<br><input class="xp-secret" type="text" readonly size="50" value="{}" data-copy="{}">',
                _("Copy the secret that signs this webhook now: it is shown only this once."),
                form.made_secret, _("Copy"),
            )  # fmt: skip
            self.message_user(request, shown, messages.WARNING)

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "change")
        if request.method != "POST":
            context = {
                "title": _("Send a test to %(name)s?") % {"name": obj},
                "text": _(
                    "One notification is sent at once, even if the receiver is switched off. It may take 15 seconds."
                ),
                "button": _("Send a test"),
            }
            return self.render(request, "admin/traffic/confirm.html", obj, context)
        error = outbox.send_test(obj, timezone.now())
        text = _("It did not arrive. %(why)s") % {"why": reasons.sentence(error)} if error else _("It was confirmed.")
        self.message_user(request, text, messages.ERROR if error else messages.SUCCESS)
        return self.back_to(obj)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Its deliveries go with it; nobody wants to read a thousand of them."""
        names = [str(obj) for obj in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, set(), []


class EventFilter(admin.SimpleListFilter):
    title = gettext_lazy("event")
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(kind.name, kind.label) for kind in events.kinds().values()]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(notification__event=self.value()) if self.value() else queryset


@admin.register(Delivery)
class DeliveryAdmin(PanelAdmin[Delivery]):
    """A log to read. Newest first; what was given up can be sent again."""

    section = Section.NOTIFICATIONS
    icon = "outbox"
    list_display = ("at", "receiver", "text", "shown_state", "attempts", "why", "next")
    list_display_links = None
    list_filter = ("state", "receiver", EventFilter)
    list_select_related = ("notification", "receiver")
    search_fields = ("notification__text",)
    sortable_by = ()
    actions = ("send_again",)
    show_facets = admin.ShowFacets.NEVER
    empty_text = gettext_lazy("Nothing was told yet: add a receiver, and see that send_notifications runs.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        return False

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

    @admin.action(permissions=["change"], description=gettext_lazy("Send again what was given up"))
    def send_again(self, request: HttpRequest, queryset: models.QuerySet[Delivery]) -> None:
        count = outbox.send_again(list(queryset.values_list("pk", flat=True)), timezone.now())
        text = ngettext("%d is sent again with the next run.", "%d are sent again with the next run.", count)
        self.message_user(request, text % count, messages.SUCCESS)


def shown_target(receiver: Receiver) -> str:
    """Of a URL no more than the host: the rest of it is often a password."""
    if receiver.kind != Receiver.Kind.WEBHOOK:
        return receiver.target
    scheme, _, rest = receiver.target.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/…"
