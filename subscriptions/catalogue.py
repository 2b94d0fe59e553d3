"""Which servers a subscriber gets. All who get the same share one rendered list, made anew when anything changed."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import msgspec
from django.db.models import Q

from traffic.logs import masked
from traffic.models import Subscriber

from . import formats, guard, headers, links, probing
from .conf import conf
from .models import DirectConfig, Edition, Endpoint, Group, Node, Source

logger = logging.getLogger(__name__)
# Bytes of rendered lists that a process keeps.
_MOST = 32 * 2**20


class Selection(NamedTuple):
    """Which part of all servers: what the subscriber's groups open; with ``direct_only`` none of sources."""

    groups: tuple[int, ...] = ()
    direct_only: bool = False


class Body(msgspec.Struct, frozen=True):
    content: bytes
    etag: str


class Coverage(msgspec.Struct, frozen=True):
    """Of ``total`` servers, how many each format can't express: those that have some."""

    total: int
    left_out: dict[str, int]


Made = TypeVar("Made", Body, Coverage)


class _Shelf:
    """What was made of an edition, the oldest thrown away. In the process: a shared cache would carry them over for each request."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._made: dict[Any, Any] = {}
        self._making = threading.Lock()

    def get(self, key: Any, make: Callable[[], Made]) -> Made:
        found: Made | None = self._made.get(key)
        if found is None:
            with self._making:  # once, not by every thread that waits for it
                found = self._made.get(key) or self._put(key, make())
        return found

    def clear(self) -> None:
        with self._making:
            self._made.clear()
            self._size = 0

    def _put(self, key: Any, made: Made) -> Made:
        self._made[key] = made
        self._size += _weight(made)
        while self._size > self._most:
            self._size -= _weight(self._made.pop(next(iter(self._made))))
        return made


def _weight(made: Body | Coverage) -> int:
    """Bytes, roughly."""
    return 200 + (len(made.content) if isinstance(made, Body) else 0)


shelf = _Shelf(_MOST)


def body_of(nodes: Sequence[links.Node], format_name: str) -> Body:
    content = formats.render(format_name, nodes)
    return Body(content, headers.etag(content))


def groups_of(subscriber: Subscriber) -> tuple[int, ...]:
    return tuple(Group.objects.filter(subscribers=subscriber).order_by("pk").values_list("pk", flat=True))


def current(format_name: str, selection: Selection = Selection()) -> Body:  # noqa: B008  a tuple
    """The list as it is now. A change shows at once in every process: the key holds the edition."""
    return shelf.get((*_edition(), format_name, selection), lambda: body_of(nodes(selection), format_name))


def coverage() -> Coverage:
    """Of all that anybody may get."""
    return shelf.get((*_edition(), "coverage"), _coverage)


def _coverage() -> Coverage:
    found = nodes(Selection(tuple(Group.objects.values_list("pk", flat=True))))
    return Coverage(len(found), formats.left_out(found))


def _edition() -> tuple[int, str, bool]:
    """What a list depends on. It may hold a change that comes after this was read: then its own number finds nothing."""
    return Edition.current(), conf.down_nodes, conf.allow_private_sources


def nodes(selection: Selection = Selection()) -> list[links.Node]:  # noqa: B008  a tuple
    """The servers in their order, each once; those that are down go last, or leave (``conf.down_nodes``)."""
    listed: dict[str, links.Node] = {}
    for node in chain(() if selection.direct_only else _of_sources(selection), _direct(selection)):
        listed.setdefault(links.fingerprint(node), node)
    down = set(Endpoint.objects.filter(state=Endpoint.State.DOWN).values_list("server", "port"))
    last = [node for node in listed.values() if (node.server, node.port) in down and not probing.is_udp(node)]
    gone = set(map(id, last))
    first = [node for node in listed.values() if id(node) not in gone]
    return first if conf.down_nodes == "hide" else first + last


def _of_sources(selection: Selection) -> Iterator[links.Node]:
    rows = Node.objects.filter(
        _open_to(Source, "source", selection), _open_to(Node, "pk", selection),
        is_present=True, is_enabled=True, source__enabled=True,
    )  # fmt: skip
    for raw, remarks, private in rows.values_list("raw", "remarks", "source__allow_private"):
        node = _parsed(raw)
        if node is not None and (private or conf.allow_private_sources or not guard.is_private_host(node.server)):
            yield msgspec.structs.replace(node, remark=remarks)


def _direct(selection: Selection) -> Iterator[links.Node]:
    rows = DirectConfig.objects.active().filter(_open_to(DirectConfig, "pk", selection))
    for raw, remarks in rows.values_list("raw", "remarks"):
        if (node := _parsed(raw)) is not None:
            yield msgspec.structs.replace(node, remark=remarks or node.remark)


def _open_to(model: type[Source | Node | DirectConfig], field: str, selection: Selection) -> Q:
    """Those that are limited to no group, or to one of the subscriber's."""
    limited = model.objects.exclude(groups=None)
    mine = model.objects.filter(groups__in=selection.groups)
    return ~Q(**{f"{field}__in": limited.values("pk")}) | Q(**{f"{field}__in": mine.values("pk")})


def _parsed(raw: str) -> links.Node | None:
    try:
        return links.parse(raw)
    except links.LinkError as error:  # stored by a version that was less strict
        logger.warning("%s is kept out: %s", masked(raw), error)
        return None
