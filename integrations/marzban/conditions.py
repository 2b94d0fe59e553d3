"""How the linked panels are: found here once, for ``doctor``, notifications and gauges."""

import importlib.util
import ipaddress
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
from django.db.models import Sum

from operations.findings import Condition, Level, Watch

from .conf import conf
from .models import HandOver, PanelLink

# Marzban asks every 10 seconds; a restart of it takes a minute at most.
SILENT = timedelta(minutes=5)


def links(now: datetime) -> Iterator[Condition]:
    """How each link is: its node, bytes of which nobody knows whether they arrived, and its stored account."""
    known = list(PanelLink.objects.all())
    with_node = [link for link in known if _has_node(link)]
    if with_node:
        yield from _process()
        lost = _lost_bytes()
        for link in with_node:
            yield of_link(link, now)
            yield from _lost(link, lost.get(link.pk))
    for link in known:
        yield from _account(link)


def lists(now: datetime) -> Iterator[Condition]:
    """What keeps external servers out of people's lists at a linked panel."""
    if importlib.util.find_spec("ruamel") is None and PanelLink.objects.exists():
        yield Condition(code="marzban-yaml-package-missing", level=Level.WARNING)


def _process() -> Iterator[Condition]:
    """What concerns the nodes of all links."""
    if importlib.util.find_spec("grpc") is None:
        yield Condition(code="marzban-node-package-missing", level=Level.ERROR)
    if not _is_loopback(conf.node_api.host):
        figures = {"host": conf.node_api.host, "port": conf.node_api.port}
        yield Condition(code="marzban-node-open", level=Level.WARNING, figures=figures)


def _lost_bytes() -> dict[int, int]:
    """By the id of the link."""
    unknown = HandOver.objects.filter(state=HandOver.State.UNKNOWN, what=HandOver.What.USERS)
    sums = unknown.order_by().values_list("link").annotate(total=Sum("download"))
    return {pk: int(total) for pk, total in sums}


def _lost(link: PanelLink, size: int | None) -> Iterator[Condition]:
    if size:
        yield Condition(
            code="marzban-bytes-unknown",
            level=Level.WARNING,
            subject=link.name,
            figures={"lost_bytes": size},
            target=link,
        )


def _account(link: PanelLink) -> Iterator[Condition]:
    """The panel's list of users cannot be read with it."""
    if link.reconcile_error and link.account_name:
        yield Condition(
            code="marzban-account-fails",
            level=Level.WARNING,
            subject=link.name,
            figures={"error": link.reconcile_error},
            since=link.reconciled_at,
            target=link,
        )


def of_link(link: PanelLink, now: datetime) -> Condition:
    """How the node of a link is."""
    is_silent = link.seen_at is not None and now - link.seen_at > SILENT
    if link.node_error == PanelLink.NodeError.PORT:
        found = Condition(code="marzban-port-taken", level=Level.ERROR)
    elif link.node_error == PanelLink.NodeError.CERTIFICATE:
        found = Condition(code="marzban-certificate-bad", level=Level.ERROR)
    elif link.state == PanelLink.State.PAUSED:
        found = Condition(code="marzban-paused", level=Level.ERROR)
    elif link.seen_at is None:
        found = Condition(code="marzban-never-connected", level=Level.WARNING)
    elif is_silent:
        found = Condition(code="marzban-silent", level=Level.ERROR)
    else:
        found = Condition(code="marzban-connected")
    return msgspec.structs.replace(found, subject=link.name, since=link.seen_at, target=link)


def _has_node(link: PanelLink) -> bool:
    return bool(link.client_certificate) or link.kind == PanelLink.Kind.PASARGUARD


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


WATCHES = (Watch(links), Watch(lists))
