"""What one person would get by a template, before it is saved. Nothing is changed."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from subscriptions import cores, list_templates, skeletons
from subscriptions.cores import Verdict
from subscriptions.models import Source
from subscriptions.skeletons import Filled
from traffic.models import Subscriber

from . import catalogue, custom_lists
from .catalogue import Selection
from .custom_lists import InUse

_HIDDEN = "…"


class Row(msgspec.Struct, frozen=True):
    """A group. ``members``: their number; ``first``: some of their names. ``is_substitute``: all servers, as none fits."""

    name: str
    members: int
    first: Sequence[str]
    is_substitute: bool


class Trial(msgspec.Struct, frozen=True):
    """``servers`` of ``total`` can be in a list of this format. ``shown``: the list without credentials."""

    servers: int
    total: int
    rows: Sequence[Row]
    left_out: Sequence[str]
    size: int
    shown: str
    verdict: Verdict


def try_out(format_name: str, text: str, subscriber: Subscriber | None, now: datetime) -> Trial:
    """``subscriber``: None for somebody without groups. Takes seconds, never in a transaction. Raises Refused."""
    skeleton = list_templates.checked(format_name, text)
    selection = catalogue.selection_of(subscriber, now) if subscriber else Selection()
    nodes, listings = catalogue.nodes_of(subscriber, selection)
    sources = dict(Source.objects.values_list("pk", "name"))
    tried = InUse(0, format_name, frozenset(), skeleton, sources)
    servers = custom_lists.servers_of(tried, nodes, lambda: listings, skeleton.reserved)
    content, result = skeleton.render(servers)
    hidden = [msgspec.structs.replace(each, text=_without_secrets(each)) for each in servers]
    return Trial(
        len(servers),
        len(nodes),
        [_row(each) for each in result.groups],
        result.left_out,
        len(content),
        skeleton.render(hidden)[0].decode(),
        cores.verdict(format_name, content),
    )


def _row(each: Filled) -> Row:
    return Row(each.name, len(each.members), list(each.members[:5]), each.is_substitute)


def _without_secrets(server: skeletons.Server) -> str:
    """The beginning of an entry is its kind and name; credentials come later."""
    name = msgspec.json.encode(server.name).decode()
    return f'{{"name": {name}, "type": "{server.protocol}", "{_HIDDEN}": "{_HIDDEN}"}}'
