"""A skeleton of Xray's JSON: one configuration or an array of them. Pure. Source: xtls.github.io/config.

A configuration with ``<server>`` among its outbounds is repeated for each server, which is tagged ``proxy`` in it. One
with ``<servers>`` occurs once with all of them, for balancers, whose selectors hold places.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from subscriptions.formats import xray
from subscriptions.formats.common import Entry, compact
from subscriptions.links import Node

from . import document, places, rule_lists
from .groups import Result
from .places import Server
from .problems import refuse

_ONE, _ALL = "<server>", "<servers>"
_NAME = "<name>"
_PROXY = "proxy"
# Characters of a list, which repeats the operator's configurations for each server.
_MAX_SIZE = 64 * 2**20
_START = f'{{"tag": "{_PROXY}"'


class _Each(msgspec.Struct, frozen=True):
    """A configuration for each server: what stands before, between and behind name and server."""

    remarks: str
    before: str
    after: str

    def render(self, servers: Sequence[Server]) -> Iterator[str]:
        for server in servers:
            remarks = compact(self.remarks.replace(_NAME, server.name))
            yield f'{{"remarks": {remarks}, {self.before}{server.text}{self.after}}}'


class _Once(msgspec.Struct, frozen=True):
    """A configuration with all servers."""

    body: dict[str, Any]

    def render(self, servers: Sequence[Server]) -> Iterator[str]:
        if not servers:
            return
        width = len(str(len(servers)))
        # No tag is the beginning of another, because a selector takes all that begin with it.
        tags = {each.name: f"server-{number:0{width}}" for number, each in enumerate(servers, 1)}
        others = {key: value for key, value in self.body.items() if key != "outbounds"}
        parts = document.members(_selected(others, tags, places.Fitting(servers)))
        outbounds = ", ".join(_outbounds(self.body["outbounds"], tags, servers))
        parts.append(f'"outbounds": [{outbounds}]')
        yield f"{{{', '.join(parts)}}}"


class Skeleton(msgspec.Struct, frozen=True):
    configs: Sequence[_Each | _Once]
    places: Sequence[places.Place]
    # Names of servers are remarks here, which may be any.
    reserved: frozenset[str] = frozenset()

    def render(self, servers: Sequence[Server]) -> tuple[bytes, Result]:
        texts, size = [], 0
        for text in (text for config in self.configs for text in config.render(servers)):
            texts.append(text)
            size += len(text)
            if size > _MAX_SIZE:
                raise refuse("too_long")
        content = ("[\n" + ",\n".join(texts) + "\n]\n").encode() if texts else b"[]\n"
        return content, Result([], [])


def read(text: str) -> Skeleton:
    """Raises SkeletonError."""
    found = rule_lists.expanded(document.read_json(text), "domain:")
    bodies = found if isinstance(found, list) else [found]
    if not bodies:
        raise refuse("no_place")
    return Skeleton([_config(body) for body in bodies], [*_places(bodies)])


def entry(node: Node, _name: str) -> Entry:
    return xray.outbound(node, _PROXY)


def _config(body: Any) -> _Each | _Once:
    if not isinstance(body, dict):
        raise refuse("not_a_mapping")
    listed = body.get("outbounds")
    if not isinstance(listed, list) or not {_ONE, _ALL} & {
        item for item in listed if isinstance(item, str)
    }:
        raise refuse("no_place")
    fixed = [item for item in listed if item not in (_ONE, _ALL)]
    if len(listed) - len(fixed) > 1:
        raise refuse("same_name", _ALL)
    _check(body, fixed, has_proxy=_ONE in listed)
    if _ALL in listed:
        return _Once(body)
    at = listed.index(_ONE)
    others = {key: value for key, value in body.items() if key not in {"remarks", "outbounds"}}
    start = ", ".join([*document.members(others), '"outbounds": ['])
    before = "".join(f"{document.emit(item)}, " for item in listed[:at])
    after = "".join(f", {document.emit(item)}" for item in listed[at + 1 :])
    remarks = body.get("remarks", _NAME)
    if not isinstance(remarks, str):
        raise refuse("no_name", "remarks")
    return _Each(remarks, start + before, f"{after}]")


def _check(body: dict[str, Any], fixed: Sequence[Any], *, has_proxy: bool) -> None:
    tags = [_PROXY] if has_proxy else []
    for item in fixed:
        if not isinstance(item, dict):
            raise refuse("not_an_entry", "outbounds")
        tags.append(_tag(item, "outbounds"))
    if double := next((tag for tag in tags if tags.count(tag) > 1), ""):
        raise refuse("same_name", double)
    routing = body.get("routing") or {}
    if not isinstance(routing, dict):
        raise refuse("not_an_entry", "routing")
    balancers = [_tag(item, "balancers") for item in _entries(routing, "balancers")]
    for rule in _entries(routing, "rules"):
        _check_rule(rule, tags, balancers)


def _check_rule(rule: dict[str, Any], tags: Sequence[str], balancers: Sequence[str]) -> None:
    if "outboundTag" in rule and rule["outboundTag"] not in tags:
        raise refuse("unknown_target", str(rule["outboundTag"]))
    if "balancerTag" in rule and rule["balancerTag"] not in balancers:
        raise refuse("unknown_target", str(rule["balancerTag"]))


def _entries(found: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = found.get(key) or []
    if not isinstance(value, list):
        raise refuse("not_a_list", key)
    if not all(isinstance(item, dict) for item in value):
        raise refuse("not_an_entry", key)
    return value


def _tag(item: dict[str, Any], where: str) -> str:
    tag = item.get("tag")
    if not isinstance(tag, str) or not tag:
        raise refuse("no_name", where)
    return tag


def _places(value: Any) -> Iterator[places.Place]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _places(inner)
    elif isinstance(value, list):
        for inner in value:
            place = None if inner in (_ONE, _ALL) else places.place_of(inner)
            if place:
                yield place
            yield from _places(inner)


def _selected(value: Any, tags: Mapping[str, str], fitting: places.Fitting) -> Any:
    """The value with tags in place of places. A selector for which no server fits selects all."""
    if isinstance(value, dict):
        return {key: _selected(inner, tags, fitting) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    found: list[Any] = []
    for each in value:
        place = places.place_of(each)
        if place is None:
            found.append(_selected(each, tags, fitting))
        else:
            found += [tags[server.name] for server in fitting.servers_of(place)]
    if value and not found:
        found = list(tags.values())
    fitting.count(len(found))
    return found


def _outbounds(
    listed: Sequence[Any], tags: Mapping[str, str], servers: Sequence[Server]
) -> Iterator[str]:
    for item in listed:
        if item == _ALL:
            for server in servers:
                yield f'{{"tag": "{tags[server.name]}"{server.text.removeprefix(_START)}'
        else:
            yield document.emit(item)
