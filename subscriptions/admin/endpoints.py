"""Reachability of servers: the columns of a list, and the last checks on a server's page."""

from typing import Any, TypeVar

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.formatting import badge, left_to_right, moment
from operations.hosts import join_host_port
from operations.outbound import url_policy
from subscriptions import links
from subscriptions.models import DirectConfig, Endpoint, Node
from subscriptions.sources import probing, reachability

from .checks import answered_in, shown

_M = TypeVar("_M", bound=Node | DirectConfig)
_OF_ENDPOINT = {"checked": "state", "latency": "latency", "loss": "loss", "down": "down_since"}


def with_checks(rows: QuerySet[_M]) -> QuerySet[_M]:
    """Adds the check results of each server's endpoint to the list's query."""
    at = Endpoint.objects.filter(server=OuterRef("server"), port=OuterRef("port"))
    said = {
        f"endpoint_{name}": Subquery(at.values(field)[:1]) for name, field in _OF_ENDPOINT.items()
    }
    found: QuerySet[_M] = rows.annotate(**said)
    return found


def checks_of(obj: Node | DirectConfig | None) -> dict[str, Any]:
    """The last checks for the page's template; empty for a server over UDP."""
    checks = reachability.history(obj.server, obj.port) if obj and not is_udp(obj) else []
    return shown(checks) if checks else {}


def is_udp(obj: Node | DirectConfig) -> bool:
    """Whether the server uses UDP, so that a TCP check says nothing about it."""
    if isinstance(obj, Node):
        return obj.is_udp
    try:
        return probing.is_udp(links.parse(obj.raw))
    except links.LinkError:  # stored by an older version that accepted it
        return False


# Columns


@admin.display(description=gettext_lazy("server"), ordering="server")
def endpoint(obj: Node | DirectConfig) -> SafeString:
    return left_to_right(join_host_port(obj.server, obj.port))


@admin.display(description=gettext_lazy("state"))
def state(obj: Node | DirectConfig) -> SafeString | str:
    checked = getattr(obj, "endpoint_checked", None)
    if is_udp(obj):
        return _("UDP, not checked")
    if checked == Endpoint.State.DOWN:
        return badge("limited", _("down"))
    if checked is not None:
        return badge("active", _("up"))
    is_private = url_policy.is_private_host(obj.server)
    return _("private, not checked") if is_private else _("not checked")


@admin.display(description=gettext_lazy("answers in"), ordering="endpoint_latency")
def delay(obj: Node | DirectConfig) -> SafeString | str:
    latency, loss = getattr(obj, "endpoint_latency", None), getattr(obj, "endpoint_loss", None)
    return "—" if latency is None or is_udp(obj) else answered_in(latency, loss or 0)


@admin.display(description=gettext_lazy("down since"), ordering="endpoint_down")
def down_for(obj: Node | DirectConfig) -> str:
    since = getattr(obj, "endpoint_down", None)
    return moment(since) if since and not is_udp(obj) else "—"
