"""A skeleton of mihomo's YAML: read and checked once, filled for each list. Pure. Source: wiki.metacubex.one/config."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from subscriptions.formats import mihomo
from subscriptions.formats.common import Entry, compact
from subscriptions.links import Node

from . import document, groups, places, rule_lists
from .groups import Filled, Group, Result
from .places import Server
from .problems import refuse

BUILT_IN = frozenset({"DIRECT", "REJECT", "REJECT-DROP", "PASS", "COMPATIBLE", "GLOBAL"})
_DIRECT = "DIRECT"
_SERVERS = "<servers>"
# Keys with which a group has members of its own, besides its list.
_OPEN = ("use", "include-all", "include-all-proxies", "include-all-providers")
_LISTED = re.compile(r"(<(?:domains|networks) [^>]*>),(.+)")
_FLAGS = frozenset({"no-resolve", "src"})
# Behind the address of a DNS server stands what the server is asked through.
_THROUGH = re.compile(r"[#&]")


class _Head(msgspec.Struct, frozen=True):
    """A group as the operator wrote it: what stands before and after its members, without its name."""

    before: Sequence[str]
    after: Sequence[str]


class Skeleton(msgspec.Struct, frozen=True):
    """``head`` and ``tail``: the lines before the servers and after the groups. ``own``, ``after_own``: fixed servers."""

    head: str
    own: Sequence[str]
    after_own: Sequence[str]
    heads: Mapping[str, _Head]
    tail: str
    groups: Sequence[Group]
    needed: frozenset[str]
    reserved: frozenset[str]
    places: Sequence[places.Place]

    def render(self, servers: Sequence[Server]) -> tuple[bytes, Result]:
        result = groups.fill(self.groups, servers, self.needed, _DIRECT)
        proxies = [*self.own, *(server.text for server in servers), *self.after_own]
        lines = [self.head, "proxies:" if proxies else "proxies: []"]
        lines += [f"  - {proxy}" for proxy in proxies]
        lines += ["proxy-groups:" if result.groups else "proxy-groups: []"]
        lines += [f"  - {self._group(each)}" for each in result.groups]
        lines.append(self.tail)
        return ("\n".join(line for line in lines if line) + "\n").encode(), result

    def _group(self, each: Filled) -> str:
        head = self.heads[each.of.name]
        name = f'"name": {compact(each.name)}'
        members = [f'"proxies": {compact(each.members)}'] if each.members else []
        return f"{{{', '.join([name, *head.before, *members, *head.after])}}}"


def read(text: str) -> Skeleton:
    """Raises SkeletonError."""
    found = document.read_yaml(text)
    if not isinstance(found, dict):
        raise refuse("not_a_mapping")
    return _compiled(rule_lists.expanded(_with_rules(found), "+."))


def entry(node: Node, name: str) -> Entry:
    return mihomo.entry(node, name)


def _compiled(found: dict[str, Any]) -> Skeleton:
    listed = _list(found, "proxies")
    if listed.count(_SERVERS) > 1:
        raise refuse("same_name", _SERVERS)
    bodies = [_mapping(body, "proxy-groups") for body in _list(found, "proxy-groups")]
    made = [_group(body) for body in bodies]
    at = listed.index(_SERVERS) if _SERVERS in listed else len(listed)
    own = [_mapping(proxy, "proxies") for proxy in listed if proxy != _SERVERS]
    own_names = [_name(proxy, "proxies") for proxy in own]
    if not any(group.is_open or _places(group) for group in made):
        raise refuse("no_place")
    groups.check(made, {*own_names, *BUILT_IN})
    _refuse_same([*own_names, *(name for group in made for name in groups.names_of(group))])
    outside = {key: value for key, value in found.items() if key not in {"proxies", "proxy-groups"}}
    _check_rules(outside, {*own_names, *BUILT_IN, *(group.name for group in made)})
    keys = list(found)
    cut = next(
        (place for place, key in enumerate(keys) if key in {"proxies", "proxy-groups", "rules"}),
        len(keys),
    )
    return Skeleton(
        head=_sections(outside, keys[:cut]),
        own=[document.emit(proxy) for proxy in listed[:at]],
        after_own=[document.emit(proxy) for proxy in listed[at + 1 :]],
        heads={group.name: _head(body) for group, body in zip(made, bodies, strict=True)},
        tail=_sections(outside, keys[cut:]),
        groups=made,
        needed=frozenset(_referred([outside, own, [_without_members(body) for body in bodies]])),
        reserved=frozenset(
            name.casefold()
            for name in [*own_names, *(name for group in made for name in groups.names_of(group))]
        ),
        places=[place for group in made for place in _places(group)],
    )


def _places(group: Group) -> list[places.Place]:
    return [member for member in group.members if isinstance(member, places.Place)]


def _group(body: dict[str, Any]) -> Group:
    members = [
        places.place_of(member) or _text(member, "proxy-groups")
        for member in _list(body, "proxies")
    ]
    return Group(
        _name(body, "proxy-groups"), members, any(document.is_on(body.get(key)) for key in _OPEN)
    )


def _head(body: dict[str, Any]) -> _Head:
    keys = list(body)
    at = keys.index("proxies") if "proxies" in keys else len(keys)
    before = {key: body[key] for key in keys[:at] if key != "name"}
    after = {key: body[key] for key in keys[at + 1 :] if key != "name"}
    return _Head(document.members(before), document.members(after))


def _without_members(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in {"name", "proxies"}}


def _sections(found: dict[str, Any], keys: Sequence[str]) -> str:
    return "\n".join(_section(key, found[key]) for key in keys if key in found)


def _section(key: str, value: Any) -> str:
    if key == "rules" and isinstance(value, list) and value:
        return "\n".join(["rules:", *(f"  - {document.emit(rule)}" for rule in value)])
    return f"{document.section(key)}: {document.emit(value)}"


def _with_rules(found: dict[str, Any]) -> dict[str, Any]:
    """A rule like ``<domains ru>,DIRECT`` becomes one rule for each domain."""
    if not isinstance(found.get("rules"), list):
        return found
    return found | {"rules": [line for rule in found["rules"] for line in _lines(rule)]}


def _lines(rule: Any) -> Iterator[Any]:
    listed = _LISTED.fullmatch(rule) if isinstance(rule, str) else None
    known = rule_lists.entries_of(listed[1]) if listed else None
    if listed is None or known is None:
        yield rule
        return
    kind, entries = known
    for each in entries:
        if kind == "domains":
            yield f"DOMAIN-SUFFIX,{each},{listed[2]}"
        else:
            yield f"{'IP-CIDR6' if ':' in each else 'IP-CIDR'},{each},{listed[2]}"


def _check_rules(found: dict[str, Any], known: set[str]) -> None:
    lists = [_list(found, "rules")]
    sub_rules = found.get("sub-rules")
    lists += list(sub_rules.values()) if isinstance(sub_rules, dict) else []
    for rule in (rule for rules in lists if isinstance(rules, list) for rule in rules):
        text = _text(rule, "rules")
        target = _target(text)
        if not text.upper().startswith("SUB-RULE,") and target not in known:
            raise refuse("unknown_target", text)


def _target(rule: str) -> str:
    """What a rule sends its traffic to."""
    parts = [part.strip() for part in rule.rpartition(")")[2].split(",")]
    while len(parts) > 1 and parts[-1] in _FLAGS:
        parts.pop()
    return parts[-1]


def _referred(value: Any) -> Iterator[str]:
    """Every text that may be the name of a group: more than are names does no harm."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _referred(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _referred(inner)
    elif isinstance(value, str):
        yield value
        yield _target(value)
        yield from _THROUGH.split(value)[1:]


def _refuse_same(names: Sequence[str]) -> None:
    seen: set[str] = {name.casefold() for name in BUILT_IN}
    for name in names:
        if name.casefold() in seen:
            raise refuse("same_name", name)
        seen.add(name.casefold())


def _list(found: dict[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    if value is None or value in ("", "~", "null"):
        return []
    if not isinstance(value, list):
        raise refuse("not_a_list", key)
    return value


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refuse("not_an_entry", where)
    return value


def _name(entry: dict[str, Any], where: str) -> str:
    return _text(entry.get("name"), where)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refuse("no_name", where)
    return value
