"""Which servers a subscriber gets. Subscribers with the same servers share one rendered list, until something changes."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from django.db.models import Q, Value

from operations.masks import masked
from operations.outbound import url_policy
from subscriptions import formats, links
from subscriptions.conf import conf
from subscriptions.models import Brand, DirectConfig, Edition, Endpoint, Group, Node, Source
from subscriptions.sources import probing
from traffic.ledger import lookup
from traffic.models import ServerLimit, Subscriber
from traffic.people import server_limits

from . import custom_lists, headers, notices
from .custom_lists import InUse
from .shelf import Shelf

logger = logging.getLogger(__name__)
# Bytes of rendered lists that one process keeps.
_MOST = 32 * 2**20


class Selection(NamedTuple):
    """The servers that the subscriber's groups may use; with ``direct_only`` none from sources.

    ``person``: id of a subscriber who has accounts of their own; None: the list is shared. ``limited``: ids of limits
    whose servers are left out, and ``notice`` says so in a line at the end.
    """

    groups: tuple[int, ...] = ()
    direct_only: bool = False
    person: int | None = None
    limited: tuple[int, ...] = ()
    notice: str = ""


class Body(msgspec.Struct, frozen=True):
    content: bytes
    etag: str


class Coverage(msgspec.Struct, frozen=True):
    """How many of ``total`` servers each format cannot express. Formats that can express all are left out."""

    total: int
    left_out: dict[str, int]


# The edition's number, and the settings that lists depend on.
EditionKey = tuple[int, str, bool]
# What a row of ``selection_of`` stands for.
_GROUP, _ACCOUNT, _LIMIT = range(3)
# The origin of a direct configuration; others are ids of sources, which begin at 1.
DIRECT = 0


class Listing(NamedTuple):
    """A server of a list, and all the shared origins that name it: none if it is of a person's own account."""

    node: links.Node
    origins: frozenset[int]


class Personaliser(NamedTuple):
    """What an app above makes of a list for one person.

    ``load`` reads what it needs, kept until the edition changes: nothing if every list stays as it is.
    ``apply`` is given the person's token, the list and what was loaded.
    """

    load: Callable[[], Sequence[Any]]
    apply: Callable[[str, Sequence[Listing], Sequence[Any]], list[links.Node]]


shelf = Shelf(_MOST)


def _begin_afresh() -> None:
    """In the child of a fork: a thread of the parent's may have been making a list."""
    global shelf
    shelf = Shelf(_MOST)


os.register_at_fork(after_in_child=_begin_afresh)


class Served(NamedTuple):
    """A server as a person's list names it.

    ``is_measured``: a gateway carries and measures it, or it is of an account of theirs whose provider tells the usage.
    """

    name: str
    node: links.Node
    is_measured: bool


def body_of(nodes: Sequence[links.Node], format_name: str) -> Body:
    """The built-in list of these servers."""
    return _body(formats.render(format_name, nodes))


def _body(content: bytes) -> Body:
    return Body(content, headers.etag(content))


def current_edition() -> EditionKey:
    """What lists and brand depend on.

    A list may already hold a change that was made after the edition was read. That does no harm, because
    later readers look for the new edition.
    """
    return Edition.current(), conf.down_nodes, conf.allow_private_sources


def brand(edition: EditionKey) -> Brand:
    """The brand as of this edition; all requests of a process share the object, so nobody may change it."""
    return shelf.get((*edition, "brand"), Brand.current)


def selection_of(subscriber: Subscriber, now: datetime, *, direct_only: bool = False) -> Selection:
    """Asked in one query, because every request for a subscription does; in three more where limits on servers exist."""
    groups = Group.objects.filter(subscribers=subscriber).order_by()
    accounts = Source.objects.filter(subscriber=subscriber).order_by()
    found = list(
        groups.values_list("pk", Value(_GROUP)).union(
            accounts.values_list("pk", Value(_ACCOUNT)),
            ServerLimit.objects.order_by().values_list("pk", Value(_LIMIT)),
        )
    )
    mine = tuple(sorted(pk for pk, kind in found if kind == _GROUP))
    has_account = any(kind == _ACCOUNT for _, kind in found)
    selection = Selection(mine, direct_only, subscriber.pk if has_account else None)
    has_limits = any(kind == _LIMIT for _, kind in found)
    return _within_limits(selection, subscriber, now) if has_limits else selection


def _within_limits(selection: Selection, subscriber: Subscriber, now: datetime) -> Selection:
    over = [one for one in server_limits.of_subscriber(subscriber, now) if one.is_over]
    if not over:
        return selection
    ids = tuple(sorted(one.limit.pk for one in over))
    return selection._replace(limited=ids, notice=notices.used_up(over, conf.language))


def current(format_name: str, selection: Selection = Selection()) -> Body:  # noqa: B008  a tuple
    """The current list. Every process shows a change at once, because the cache key holds the edition."""
    return _shared(current_edition(), format_name, selection)


def _shared(edition: EditionKey, format_name: str, selection: Selection) -> Body:
    used = templates_of(edition, selection)
    return shelf.get(
        (*edition, format_name, selection), lambda: _of_selection(used, format_name, selection)
    )


def _of_selection(used: Sequence[InUse], format_name: str, selection: Selection) -> Body:
    listings = ordered(listed(selection))
    found = _with_notice([listing.node for listing in listings], selection)
    return _body(custom_lists.render(used, format_name, found, lambda: listings))


def templates_of(edition: EditionKey, selection: Selection) -> list[InUse]:
    """The operator's templates for the lists of these subscribers, one per format at most."""
    found = shelf.get((*edition, "templates"), custom_lists.load)
    return custom_lists.of_groups(found, selection.groups) if found else []


def _with_notice(found: list[links.Node], selection: Selection) -> list[links.Node]:
    return [*found, links.parse(notices.link(selection.notice))] if selection.notice else found


_personaliser: Personaliser | None = None


def personalise_with(personaliser: Personaliser) -> None:
    """Registers the one app that does so; call it in ``AppConfig.ready``."""
    global _personaliser
    _personaliser = personaliser


def of_person(
    subscriber: Subscriber,
    format_name: str,
    selection: Selection,
    edition: EditionKey | None = None,
    end: str = "",
) -> Body:
    """The list for one person: the one that all of the selection share, unless it is made for each.

    ``edition``: as the caller has read it; None: read now. ``end``: a link at the end that is for this person alone.
    """
    edition = edition or current_edition()
    own = _own_nodes(edition, subscriber, selection)
    if own is None and not end:
        return _shared(edition, format_name, selection)
    listings = _listings(edition, selection)
    found = [listing.node for listing in listings] if own is None else own
    found = _with_notice(found, selection) + ([links.parse(end)] if end else [])
    used = templates_of(edition, selection)
    return _body(custom_lists.render(used, format_name, found, lambda: listings))


def nodes_of(
    subscriber: Subscriber | None, selection: Selection
) -> tuple[list[links.Node], list[Listing]]:
    """The servers of one person's list, or of a list that is shared, and where they come from."""
    edition = current_edition()
    listings = _listings(edition, selection)
    own = _own_nodes(edition, subscriber, selection) if subscriber else None
    found = [listing.node for listing in listings] if own is None else own
    return _with_notice(found, selection), listings


def entries_of(
    subscriber: Subscriber, format_name: str, selection: Selection
) -> Sequence[formats.Written]:
    """The servers of one person's list, each by itself, for a list that another program has begun."""
    edition = current_edition()
    own = _own_nodes(edition, subscriber, selection)
    reserved = custom_lists.reserved(templates_of(edition, selection))
    if own is not None:
        return formats.entries(format_name, _with_notice(own, selection), reserved)
    return shelf.get(
        (*edition, "entries", format_name, selection),
        lambda: formats.entries(format_name, _with_notice(nodes(selection), selection), reserved),
    )


def servers_of(
    subscriber: Subscriber, selection: Selection, edition: EditionKey | None = None
) -> list[Served]:
    """The servers of one person's list, under the names that they have in every format. ``edition`` as above."""
    edition = edition or current_edition()
    listings = ordered(listed(selection))
    direct = [listing.node for listing in listings]
    own = _own_nodes(edition, subscriber, selection)
    reserved = custom_lists.reserved(templates_of(edition, selection))
    shown = direct if own is None else own
    unmeasured = {links.fingerprint(node) for node in direct} - _told_by_providers(
        listings, selection
    )
    return [
        Served(name, node, is_measured=links.fingerprint(node) not in unmeasured)
        for node, name in zip(shown, formats.unique_names(shown, reserved), strict=True)
    ]


def _told_by_providers(listings: Sequence[Listing], selection: Selection) -> set[str]:
    """Fingerprints of servers that are of a person's own accounts alone, where the provider counts."""
    if selection.person is None:
        return set()
    alone = {links.fingerprint(listing.node) for listing in listings if not listing.origins}
    counted = Node.objects.filter(
        source__subscriber=selection.person, source__provider_download__isnull=False
    )
    return alone & set(counted.values_list("fingerprint", flat=True))


def _own_nodes(
    edition: EditionKey, subscriber: Subscriber, selection: Selection
) -> list[links.Node] | None:
    """The servers that are made for this person alone; None if the shared list is theirs too."""
    if _personaliser is None:
        return None
    loaded = shelf.get((*edition, "personaliser"), _personaliser.load)
    if not loaded:
        return None
    listings = _listings(edition, selection)
    return list(_personaliser.apply(subscriber.token, listings, loaded))


def _listings(edition: EditionKey, selection: Selection) -> list[Listing]:
    return shelf.get((*edition, "listings", selection), lambda: ordered(listed(selection)))


def coverage() -> Coverage:
    """The coverage of all servers that any subscriber may get."""
    return shelf.get((*current_edition(), "coverage"), _coverage)


def _coverage() -> Coverage:
    found = nodes(all_groups())
    return Coverage(len(found), formats.left_out(found))


def endpoints_by_name() -> dict[str, tuple[str, int, str]]:
    """Host, port and protocol of the servers of all shared lists, by case-folded name.

    Without the names of more than one server.
    """
    return shelf.get((*current_edition(), "names"), _endpoints_by_name)


def _endpoints_by_name() -> dict[str, tuple[str, int, str]]:
    found: dict[str, set[tuple[str, int, str]]] = {}
    for node in nodes(all_groups()):
        name = node.remark or links.invented_name(node)
        found.setdefault(name.casefold(), set()).add((node.server, node.port, node.protocol))
    return {name: next(iter(places)) for name, places in found.items() if len(places) == 1}


def all_groups() -> Selection:
    """Every shared server."""
    return Selection(tuple(Group.objects.values_list("pk", flat=True)))


def nodes(selection: Selection = Selection()) -> list[links.Node]:  # noqa: B008  a tuple
    """The servers in order, each once; servers that are down come last or are left out (``conf.down_nodes``)."""
    return [listing.node for listing in ordered(listed(selection))]


def listed(selection: Selection) -> list[Listing]:
    """Each server once, up or down, where it is named first. Without those whose limit is used up."""
    found: dict[str, Listing] = {}
    closed = set[lookup.Endpoint]().union(*server_limits.servers_of(selection.limited).values())
    for origin, node in chain(
        () if selection.direct_only else _of_sources(selection), _direct(selection)
    ):
        if (node.server, node.port, node.protocol) in closed:
            continue
        key = links.fingerprint(node)
        first = found.get(key, Listing(node, frozenset()))
        shared = set() if origin is None else {origin}
        found[key] = Listing(first.node, first.origins | shared)
    return list(found.values())


def ordered(listings: Sequence[Listing]) -> list[Listing]:
    """Those that are down go last, or leave (``conf.down_nodes``)."""
    down = set(Endpoint.objects.filter(state=Endpoint.State.DOWN).values_list("server", "port"))
    up: list[Listing] = []
    last: list[Listing] = []
    for listing in listings:
        node = listing.node
        is_down = (node.server, node.port) in down and not probing.is_udp(node)
        (last if is_down else up).append(listing)
    return up if conf.down_nodes == "hide" else up + last


def _of_sources(selection: Selection) -> Iterator[tuple[int | None, links.Node]]:
    rows = Node.objects.filter(
        _belongs_to(selection), _open_to(Node, "pk", selection),
        is_present=True, is_enabled=True, source__enabled=True,
    )  # fmt: skip
    columns = ("source_id", "source__subscriber", "raw", "remarks", "source__allow_private")
    for source, owner, raw, remarks, private in rows.values_list(*columns):
        node = _parsed(raw)
        if node is not None and (
            private or conf.allow_private_sources or not url_policy.is_private_host(node.server)
        ):
            origin = source if owner is None else None
            yield origin, msgspec.structs.replace(node, remark=remarks)


def _belongs_to(selection: Selection) -> Q:
    """Of shared sources those that are open to the groups; of own accounts those of the person, whatever their groups."""
    shared = Q(source__subscriber=None) & _open_to(Source, "source", selection)
    return shared if selection.person is None else shared | Q(source__subscriber=selection.person)


def _direct(selection: Selection) -> Iterator[tuple[int | None, links.Node]]:
    rows = DirectConfig.objects.active().filter(_open_to(DirectConfig, "pk", selection))
    for raw, remarks in rows.values_list("raw", "remarks"):
        if (node := _parsed(raw)) is not None:
            yield DIRECT, msgspec.structs.replace(node, remark=remarks or node.remark)


def _open_to(model: type[Source | Node | DirectConfig], field: str, selection: Selection) -> Q:
    """Rows that are limited to no group, or to one of the subscriber's groups."""
    limited = model.objects.exclude(groups=None)
    mine = model.objects.filter(groups__in=selection.groups)
    return ~Q(**{f"{field}__in": limited.values("pk")}) | Q(**{f"{field}__in": mine.values("pk")})


def _parsed(raw: str) -> links.Node | None:
    try:
        return links.parse(raw)
    except links.LinkError as error:  # stored by a version that was less strict
        logger.warning("%s is kept out: %s", masked(raw), error)
        return None
