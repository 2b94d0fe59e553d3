"""A skeleton of sing-box's JSON: read and checked once, filled for each list. Pure. Source: sing-box.sagernet.org/configuration."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from subscriptions.formats import sing_box
from subscriptions.formats.common import Entry, compact
from subscriptions.links import Node

from . import document, groups, places, rule_lists
from .groups import Filled, Group, Result
from .places import Server
from .problems import refuse

_SERVERS = "<servers>"
_GROUP_TYPES = frozenset({"selector", "urltest"})
# Keys whose value is the tag of an outbound, wherever they stand.
_OUTBOUND_KEYS = frozenset({"outbound", "detour", "download_detour", "external_ui_download_detour"})
_RESOLVER_KEYS = frozenset({"domain_resolver", "default_domain_resolver"})
_SERVER_KEY = frozenset({"server"})
# In rules of older versions.
_ANY = "any"
_MEMBERS = '"outbounds": {}'
_TUNNEL = '{"type": "wireguard"'


class Skeleton(msgspec.Struct, frozen=True):
    """``sections``: the others, in their order. ``outbounds``: texts, and the name of a group in its place."""

    before: Sequence[str]
    after: Sequence[str]
    outbounds: Sequence[str | Group | None]
    endpoints: Sequence[str]
    bodies: Mapping[str, Any]
    groups: Sequence[Group]
    needed: frozenset[str]
    reserved: frozenset[str]
    places: Sequence[places.Place]
    direct: str

    def render(self, servers: Sequence[Server]) -> tuple[bytes, Result]:
        result = groups.fill(self.groups, servers, self.needed, self.direct)
        outbounds = [
            text for item in self.outbounds for text in self._outbounds(item, servers, result)
        ]
        tunnels = [*self.endpoints, *(each.text for each in servers if _is_tunnel(each))]
        sections = [*self.before, f'"outbounds": {_lines(outbounds)}']
        sections += [f'"endpoints": {_lines(tunnels)}'] if tunnels else []
        return ("{\n" + ",\n".join([*sections, *self.after]) + "\n}\n").encode(), result

    def _outbounds(
        self,
        item: str | Group | None,
        servers: Sequence[Server],
        result: Result,
    ) -> Iterator[str]:
        if item is None:
            yield from (server.text for server in servers if not _is_tunnel(server))
        elif isinstance(item, str):
            yield item
        else:
            yield from (self._group(each) for each in result.groups if each.of.name == item.name)

    def _group(self, each: Filled) -> str:
        body = self.bodies[each.of.name] | {"tag": each.name}
        if "default" in body and body["default"] not in each.members:
            del body["default"]
        parts = document.members(body)
        return f"{{{', '.join([*parts, _MEMBERS.format(compact(each.members))])}}}"


def read(text: str) -> Skeleton:
    """Raises SkeletonError."""
    found = document.read_json(text)
    if not isinstance(found, dict):
        raise refuse("not_a_mapping")
    return _compiled(rule_lists.expanded(found, ""))


def entry(node: Node, name: str) -> Entry:
    return sing_box.entry(node, name)


def _is_tunnel(server: Server) -> bool:
    """Wireguard is the one kind of server that is not an outbound."""
    return server.text.startswith(_TUNNEL)


def _lines(texts: Sequence[str]) -> str:
    return "[\n" + ",\n".join(texts) + "\n]"


def _compiled(found: dict[str, Any]) -> Skeleton:
    listed, endpoints = _list(found, "outbounds"), _list(found, "endpoints")
    if _SERVERS not in listed:
        listed = [*listed, _SERVERS]
    if listed.count(_SERVERS) > 1:
        raise refuse("same_name", _SERVERS)
    entries = [_mapping(item, "outbounds") for item in listed if item != _SERVERS]
    bodies = {_tag(item): item for item in entries if item.get("type") in _GROUP_TYPES}
    made = [_group(tag, body) for tag, body in bodies.items()]
    if not any(_places(group) for group in made):
        raise refuse("no_place")
    fixed = [_tag(item) for item in [*entries, *endpoints] if item.get("type") not in _GROUP_TYPES]
    _refuse_same([*map(_tag, [*entries, *endpoints])])
    groups.check(made, fixed)
    known = {*fixed, *bodies}
    _refuse_unknown(_values([*bodies.values()], frozenset({"default"})), known, "unknown_member")
    outside = {key: value for key, value in found.items() if key not in {"outbounds", "endpoints"}}
    others = [item for item in [*entries, *endpoints] if item.get("type") not in _GROUP_TYPES]
    _check_references(outside, others, known)
    keys = list(found)
    cut = keys.index("outbounds") if "outbounds" in keys else len(keys)
    names = [*fixed, *(name for group in made for name in groups.names_of(group))]
    rest = [
        {key: value for key, value in body.items() if key not in {"outbounds", "default"}}
        for body in bodies.values()
    ]
    return Skeleton(
        before=document.members({key: outside[key] for key in keys[:cut] if key in outside}),
        after=document.members({key: outside[key] for key in keys[cut:] if key in outside}),
        outbounds=[_item(item, made) for item in listed],
        endpoints=[document.emit(item) for item in endpoints],
        bodies={tag: _without_members(body) for tag, body in bodies.items()},
        groups=made,
        needed=frozenset(_texts([outside, others, rest])),
        reserved=frozenset(name.casefold() for name in names),
        places=[place for group in made for place in _places(group)],
        direct=_direct(entries),
    )


def _item(item: Any, made: Sequence[Group]) -> str | Group | None:
    if item == _SERVERS:
        return None
    return next((group for group in made if group.name == item["tag"]), None) or document.emit(item)


def _group(tag: str, body: dict[str, Any]) -> Group:
    members = _list(body, "outbounds")
    return Group(tag, [places.place_of(member) or _text(member, tag) for member in members])


def _places(group: Group) -> list[places.Place]:
    return [member for member in group.members if isinstance(member, places.Place)]


def _without_members(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "outbounds"}


def _direct(entries: Iterable[dict[str, Any]]) -> str:
    """The outbound for a list without servers. Raises SkeletonError if there is none."""
    found = next((_tag(item) for item in entries if item.get("type") == "direct"), None)
    if found is None:
        raise refuse("no_direct")
    return found


def _check_references(outside: dict[str, Any], others: Sequence[Any], known: set[str]) -> None:
    """What refers to an outbound, a DNS server or a rule set. ``sing-box check`` does not see all of it."""
    route, dns = _part(outside, "route"), _part(outside, "dns")
    targets = [*_values([outside, others], _OUTBOUND_KEYS), *_values(route.get("final"))]
    _refuse_unknown(targets, known | {_ANY}, "unknown_target")
    rules = [_list(route, "rules"), _list(dns, "rules")]
    sets = {str(_mapping(each, "rule_set").get("tag")) for each in _list(route, "rule_set")}
    _refuse_unknown(_values(rules, frozenset({"rule_set"})), sets, "unknown_rule_set")
    resolvers = {str(_mapping(each, "dns").get("tag")) for each in _list(dns, "servers")}
    named = [*_values(_list(dns, "rules"), _SERVER_KEY), *_values(dns.get("final"))]
    for each in _found([outside, others], _RESOLVER_KEYS):
        named += _values(each.get("server") if isinstance(each, dict) else each)
    _refuse_unknown(named, resolvers, "unknown_resolver")


def _refuse_unknown(names: Iterable[str], known: set[str], code: str) -> None:
    for name in names:
        if name not in known:
            raise refuse(code, name)


def _values(value: Any, keys: frozenset[str] = frozenset()) -> Iterator[str]:
    """The texts under these keys, or in lists under them, wherever they stand. Without keys: the value's own."""
    for found in _found(value, keys) if keys else [value]:
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, str):
                yield each


def _found(value: Any, keys: frozenset[str]) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in keys:
                yield inner
            yield from _found(inner, keys)
    elif isinstance(value, list):
        for inner in value:
            yield from _found(inner, keys)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "tag":
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _part(found: dict[str, Any], key: str) -> dict[str, Any]:
    return _mapping(found.get(key) or {}, key)


def _refuse_same(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise refuse("same_name", name)
        seen.add(name.casefold())


def _list(found: dict[str, Any], key: str) -> list[Any]:
    value = found.get(key) or []
    if not isinstance(value, list):
        raise refuse("not_a_list", key)
    return value


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refuse("not_an_entry", where)
    return value


def _tag(item: Any) -> str:
    return _text(_mapping(item, "outbounds").get("tag"), "outbounds")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refuse("no_name", where)
    return value
