"""Fills the groups of a skeleton with the servers of one list. Pure; the same for mihomo and sing-box.

A group for which nothing is left is left out, and so is its name in other groups. If something else refers to it, a
rule for instance, it gets all servers instead: traffic that the operator sends through a server never goes out
directly because no server fits. Only a list without any server sends it out directly, like the built-in ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec

from . import places
from .places import Place, Server
from .problems import refuse

Member = str | Place
MAX_GROUPS = 500


class Group(msgspec.Struct, frozen=True):
    """``is_open``: it has members that are not listed here, as those of a provider are. ``each``: one per country."""

    name: str
    members: Sequence[Member] = ()
    is_open: bool = False

    @property
    def each(self) -> bool:
        return places.COUNTRY in self.name


class Filled(msgspec.Struct, frozen=True):
    """A group of a list. ``of``: its group in the skeleton. ``is_substitute``: it has all servers, because none fits."""

    of: Group
    name: str
    members: Sequence[str]
    is_substitute: bool = False


class Result(msgspec.Struct, frozen=True):
    groups: Sequence[Filled]
    left_out: Sequence[str]


def names_of(group: Group) -> Iterable[str]:
    """All names that the group may get in a list."""
    if not group.each:
        return [group.name]
    return [_name_of_country(group, code) for code in sorted(places.CODES)]


def check(groups: Sequence[Group], others: Iterable[str]) -> None:
    """``others``: what a group may name besides groups. Raises SkeletonError."""
    if len(groups) > MAX_GROUPS:
        raise refuse("too_many_groups")
    known = {group.name for group in groups}
    if len(known) != len(groups):
        names = [group.name for group in groups]
        raise refuse("same_name", next(name for name in names if names.count(name) > 1))
    allowed = known | set(others)
    for group in groups:
        for member in group.members:
            if isinstance(member, str) and member not in allowed:
                raise refuse("unknown_member", f"{group.name}: {member}")
        if not group.members and not group.is_open:
            raise refuse("empty_group", group.name)
    _refuse_circles({group.name: group for group in groups})


def _refuse_circles(groups: Mapping[str, Group]) -> None:
    done: set[str] = set()
    for name in groups:
        _visit(name, groups, done, [])


def _visit(name: str, groups: Mapping[str, Group], done: set[str], way: list[str]) -> None:
    """``way``: the groups that lead here."""
    if name in way:
        raise refuse("circle", " → ".join([*way[way.index(name) :], name]))
    if name in done or name not in groups:
        return
    inner = [member for member in groups[name].members if isinstance(member, str)]
    if any(member == Place("countries") for member in groups[name].members):
        inner += [group.name for group in groups.values() if group.each]
    for each in inner:
        _visit(each, groups, done, [*way, name])
    done.add(name)


def fill(
    groups: Sequence[Group], servers: Sequence[Server], needed: frozenset[str], direct: str
) -> Result:
    """``needed``: the names that something besides groups refers to. ``direct``: goes out without a server."""
    fitting = _Fitting(servers)
    repeated = _repeated(groups, fitting)
    countries = [each.name for each in repeated if each.of.each]
    found: dict[str, list[str]] = {}
    for each in repeated:
        found[each.name] = _members(each, fitting, countries)
        fitting.count(len(found[each.name]))
    every = fitting.names or [direct]
    substitutes = _settle(found, {each.name for each in repeated if each.of.is_open}, needed, every)
    fitting.count(len(substitutes) * len(every))
    filled = [
        Filled(each.of, each.name, found[each.name], each.name in substitutes)
        for each in repeated
        if each.name in found
    ]
    return Result(filled, [each.name for each in repeated if each.name not in found])


class _Fitting:
    """The names of the servers that fit a place. Countries are read once, because many groups ask for them."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers
        self._fitting = places.Fitting(servers)
        self.count = self._fitting.count
        self.names = [server.name for server in servers]

    @cached_property
    def countries(self) -> dict[str, list[str]]:
        """Names by the code of a country, in the order in which the servers name it."""
        found: dict[str, list[str]] = {}
        for server in self._servers:
            if not server.is_note:
                found.setdefault(server.country, []).append(server.name)
        return found

    def names_of(self, place: Place) -> list[str]:
        if place.kind == "servers":
            return self.names
        if place.kind == "country" and len(place.words) == 1:
            return self.countries.get(place.words[0], [])
        return [server.name for server in self._fitting.servers_of(place)]


def _settle(
    found: dict[str, list[str]], opened: set[str], needed: frozenset[str], every: list[str]
) -> set[str]:
    """Removes groups without members, with their names in others. Returns the names of those that get ``every``."""
    substitutes: set[str] = set()
    while empty := [name for name, inner in found.items() if not inner and name not in opened]:
        gone = {name for name in empty if name not in needed}
        for name in set(empty) - gone:
            found[name] = every
            substitutes.add(name)
        for name in gone:
            del found[name]
        if gone:
            for name, inner in found.items():
                found[name] = [each for each in inner if each not in gone]
    return substitutes


def _repeated(groups: Sequence[Group], fitting: _Fitting) -> list[Filled]:
    """The groups with their names in this list, still without members."""
    found: list[Filled] = []
    for group in groups:
        if group.each:
            known = [code for code in fitting.countries if code in places.CODES]
            found += [_of_country(group, code) for code in known]
        else:
            found.append(Filled(group, group.name, ()))
    return found


def _of_country(group: Group, code: str) -> Filled:
    """The group of one country: its servers are those of that country."""
    inner = [
        places.of_country(code) if member == Place("servers") else member
        for member in group.members
    ]
    return Filled(msgspec.structs.replace(group, members=inner), _name_of_country(group, code), ())


def _name_of_country(group: Group, code: str) -> str:
    return group.name.replace(places.COUNTRY, places.shown(code))


def _members(each: Filled, fitting: _Fitting, countries: Sequence[str]) -> list[str]:
    """Names in order, each once."""
    if len(each.of.members) == 1 and isinstance(each.of.members[0], Place):
        return list(_named(each.of.members[0], fitting, countries))
    found: dict[str, None] = {}
    for member in each.of.members:
        found |= dict.fromkeys(_named(member, fitting, countries))
    return list(found)


def _named(member: Member, fitting: _Fitting, countries: Sequence[str]) -> Sequence[str]:
    if isinstance(member, str):
        return [member]
    return countries if member.kind == "countries" else fitting.names_of(member)
