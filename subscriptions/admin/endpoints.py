"""Whether somebody answers where a server listens: the columns of a list, and the last checks on the server's page."""

from typing import Any, TypeVar

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from subscriptions import guard, reachability
from subscriptions.links.hosts import join_endpoint
from subscriptions.models import DirectConfig, Endpoint, Node
from traffic.admin.base import PanelAdmin
from traffic.cells import badge, left_to_right, moment

from .checks import answered_in, shown

_M = TypeVar("_M", bound=Node | DirectConfig)
_OF_ENDPOINT = {"checked": "state", "latency": "latency", "loss": "loss", "down": "down_since"}


class ListeningAdmin(PanelAdmin[_M]):
    """For what has a server and a port. What was found there comes with the rows, in the query of the list."""

    def is_udp(self, obj: _M) -> bool:
        """Whether TCP says nothing about it."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[_M]:
        at = Endpoint.objects.filter(server=OuterRef("server"), port=OuterRef("port"))
        said = {f"endpoint_{name}": Subquery(at.values(field)[:1]) for name, field in _OF_ENDPOINT.items()}
        found: QuerySet[_M] = super().get_queryset(request).annotate(**said)
        return found

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        obj = context["original"]
        checks = reachability.history(obj.server, obj.port) if obj and not self.is_udp(obj) else []
        return super().render_change_form(request, context | (shown(checks) if checks else {}), *args, **kwargs)

    @admin.display(description=gettext_lazy("server"), ordering="server")
    def endpoint(self, obj: _M) -> SafeString:
        return left_to_right(join_endpoint(obj.server, obj.port))

    @admin.display(description=gettext_lazy("state"))
    def state(self, obj: _M) -> SafeString | str:
        checked = getattr(obj, "endpoint_checked", None)
        if self.is_udp(obj):
            return _("UDP, not checked")
        if checked is None:
            return _("private, not checked") if guard.is_private_host(obj.server) else _("not checked")
        return badge("limited", _("down")) if checked == Endpoint.State.DOWN else badge("active", _("up"))

    @admin.display(description=gettext_lazy("answers in"), ordering="endpoint_latency")
    def delay(self, obj: _M) -> SafeString | str:
        latency, loss = getattr(obj, "endpoint_latency", None), getattr(obj, "endpoint_loss", None)
        return "—" if latency is None or self.is_udp(obj) else answered_in(latency, loss or 0)

    @admin.display(description=gettext_lazy("down since"), ordering="endpoint_down")
    def down_for(self, obj: _M) -> str:
        since = getattr(obj, "endpoint_down", None)
        return moment(since) if since and not self.is_udp(obj) else "—"
