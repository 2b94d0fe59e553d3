"""The operator's templates that are in use: read once for an edition, filled for each list.

If one fails, people get the built-in list, and the operator is notified.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from django.core.exceptions import ImproperlyConfigured

from subscriptions import formats, links, list_templates, skeletons
from subscriptions.models import Source, Template
from subscriptions.skeletons import Server, Skeleton

from . import notices

logger = logging.getLogger(__name__)
# A node of a list, and the origins of the shared rows that name it.
Origin = tuple[links.Node, frozenset[int]]
# The separator between the name of a server and that of the gateway that carries it.
_BEHIND = " · "


class InUse(msgspec.Struct, frozen=True):
    """``groups``: ids, empty for everybody. ``sources``: names by id, if the skeleton asks for them."""

    pk: int
    format: str
    groups: frozenset[int]
    skeleton: Skeleton
    sources: Mapping[int, str]


class Origins:
    """The origins of the nodes of one list; those of a gateway's entry are its server's, by the name in front."""

    def __init__(self, origins: Iterable[Origin]) -> None:
        listed = list(origins)
        self._by_node = {id(node): found for node, found in listed}
        self._by_name = {node.remark or links.invented_name(node): found for node, found in listed}
        # The ids stay theirs while the nodes exist.
        self._kept = listed

    def of(self, node: links.Node) -> frozenset[int]:
        found = self._by_node.get(id(node))
        name = node.remark
        while found is None:
            found = self._by_name.get(name)
            if _BEHIND not in name:
                break
            name = name.rpartition(_BEHIND)[0]
        return found or frozenset()


def load() -> list[InUse]:
    """The templates in use that can be read. One for a group comes before one for everybody, then by name."""
    rows = Template.objects.filter(in_use=True).prefetch_related("groups").order_by("name", "pk")
    found = [each for row in rows if (each := _loaded(row)) is not None]
    return sorted(found, key=lambda each: not each.groups)


def _loaded(row: Template) -> InUse | None:
    try:
        skeleton = skeletons.read(row.format, row.text)
    except Exception as error:  # noqa: BLE001  people must get a list
        list_templates.note_failure(row.pk, code_of(error))
        return None
    asks = any(place.sources for place in skeleton.places)
    sources = dict(Source.objects.values_list("pk", "name")) if asks else {}
    groups = frozenset(group.pk for group in row.groups.all())
    return InUse(row.pk, row.format, groups, skeleton, sources)


def code_of(error: Exception) -> str:
    """Why a template fails, as a code or the name of an exception."""
    problem = getattr(error, "problem", None)
    return str(problem.code) if problem else type(error).__name__


def of_groups(found: Sequence[InUse], groups: Iterable[int]) -> list[InUse]:
    """The template of each format for a subscriber of these groups."""
    mine = frozenset(groups)
    fitting = [each for each in found if not each.groups or each.groups & mine]
    first: dict[str, InUse] = {}
    for each in fitting:
        first.setdefault(each.format, each)
    return list(first.values())


def reserved(found: Sequence[InUse]) -> frozenset[str]:
    """Names of groups, which no server may have in any list, so that names are the same in all formats."""
    return frozenset[str]().union(*(each.skeleton.reserved for each in found))


def render(
    found: Sequence[InUse],
    format_name: str,
    nodes: Sequence[links.Node],
    origins: Callable[[], Iterable[Origin]],
) -> bytes:
    """The list. ``found``: from ``of_groups``. ``origins``: asked only if the template needs them."""
    given_away = reserved(found)
    used = next((each for each in found if each.format == format_name), None)
    if used is not None:
        try:
            servers = servers_of(used, nodes, origins, given_away)
            return used.skeleton.render(servers)[0]
        except ImproperlyConfigured:
            raise
        except Exception as error:  # noqa: BLE001  people must get a list
            list_templates.note_failure(used.pk, code_of(error))
    return formats.render(format_name, nodes, given_away)


def servers_of(
    used: InUse,
    nodes: Sequence[links.Node],
    origins: Callable[[], Iterable[Origin]],
    given_away: frozenset[str],
) -> list[Server]:
    """The servers that the format can express, with what places ask for."""
    known = _origins(used, origins)
    writer = skeletons.writer(used.format)
    servers = []
    for node, name in zip(nodes, formats.unique_names(nodes, given_away), strict=True):
        text = formats.text_of(node, name, writer)
        if text is not None:
            servers.append(_server(used, node, name, text, known))
    return servers


def _origins(used: InUse, origins: Callable[[], Iterable[Origin]]) -> Origins | None:
    asks = any(place.kind in {"source", "direct"} for place in used.skeleton.places)
    return Origins(origins()) if asks else None


def _server(used: InUse, node: links.Node, name: str, text: str, known: Origins | None) -> Server:
    found = known.of(node) if known else frozenset[int]()
    sources = frozenset(used.sources[pk].casefold() for pk in found if pk in used.sources)
    return Server(name, text, node.protocol, sources, 0 in found, notices.is_notice(node))
