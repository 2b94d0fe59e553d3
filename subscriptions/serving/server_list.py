"""The servers of one person as their page lists them: name, state, and the link of the one they ask for."""

from collections.abc import Sequence

import msgspec

from subscriptions import formats, links
from subscriptions.models import Endpoint
from subscriptions.sources import probing

from .catalogue import Served

_KEY_LENGTH = 16


class Line(msgspec.Struct, frozen=True):
    """``key``: names the server in a URL; it stays while the server does. ``state``: up, down, or "" if unknown."""

    key: str
    name: str
    protocol: str
    state: str


def lines_of(found: Sequence[Served]) -> list[Line]:
    states = _states({served.node.server for served in found})
    return [
        Line(_key(served), served.name, served.node.protocol, _state(served, states))
        for served in found
    ]


def link_of(found: Sequence[Served], key: str) -> str:
    """The share link of one server; "" if the list has no such server, or no link can express it."""
    served = next((served for served in found if _key(served) == key), None)
    if served is None:
        return ""
    named = msgspec.structs.replace(served.node, remark=served.name)
    return next((written.text for written in formats.entries("plain", [named])), "")


def _key(served: Served) -> str:
    return links.fingerprint(served.node)[:_KEY_LENGTH]


def _states(hosts: set[str]) -> dict[tuple[str, int], str]:
    rows = Endpoint.objects.filter(server__in=hosts).values_list("server", "port", "state")
    return {(server, port): state for server, port, state in rows}


def _state(served: Served, states: dict[tuple[str, int], str]) -> str:
    """Only answers over TCP are known."""
    node = served.node
    return "" if probing.is_udp(node) else states.get((node.server, node.port), "")
