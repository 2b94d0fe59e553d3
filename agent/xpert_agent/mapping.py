"""Maps a counter to a person and a server, in the panel's words. Never guesses."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from xpert_agent.sources.base import UNEXPLAINED, Endpoint, Key

NOT_SERVERS = frozenset(
    {"direct", "reject", "reject-drop", "compatible", "pass", "block", "dns", "api", "metrics"}
)
"""Outbounds of cores that lead to no server of anybody's, in lower case."""


class Skip(enum.Enum):
    """Why a counter is not sent."""

    NOT_A_SERVER = "not a server"
    MEASURED = "goes through a gateway, which measures it"
    UNEXPLAINED = "carried by the core, but for whom is not known"
    UNKNOWN_SERVER = "server not known"
    UNKNOWN_PERSON = "person not known"


class Target(NamedTuple):
    """A row of the meter."""

    person: str
    by_token: bool
    """`person` is the panel's user token; otherwise the name that the source uses."""
    endpoint: Endpoint


class Listed(NamedTuple):
    """A server of the panel's list."""

    endpoint: Endpoint
    measured: bool


Servers = Mapping[str, Listed]
"""The panel's list: name -> server."""


@dataclass(frozen=True)
class People:
    token: str | None = None
    """The user token of the installation's own person."""
    everybody_is_own: bool = False
    """A person's own device: whoever its core calls by name uses that person's subscription."""
    names_go: bool = False
    """The panel takes names, because an API key is sent along."""


@dataclass(frozen=True)
class SourceMap:
    """What a source's section in agent.ini says about names."""

    servers: Mapping[str, str] = field(default_factory=dict)
    """Source's name -> "host:port/protocol", or a name in the panel's list."""
    people: Mapping[str, str] = field(default_factory=dict)
    """Source's name -> the panel's name; a user token when no API key is used."""
    server: str = ""
    """The server of every name that nothing else explains."""
    person: str = ""
    """The person of traffic without a name."""


class Mapper:
    """Names to rows of the meter, for one source and one moment's list of servers."""

    def __init__(self, people: People, servers: Servers, source: SourceMap) -> None:
        self._people = people
        self._servers = servers
        self._source = source
        self._measured = frozenset(one.endpoint for one in servers.values() if one.measured)

    def target(self, key: Key, endpoints: Mapping[str, Endpoint]) -> Target | Skip:
        """The meter's row for `key`, or why there is none."""
        server = self._server(key.server, endpoints)
        if isinstance(server, Skip):
            return server
        person = self._person(key.person)
        return person if isinstance(person, Skip) else Target(*person, server)

    def _server(self, name: str, endpoints: Mapping[str, Endpoint]) -> Endpoint | Skip:
        if name == UNEXPLAINED:
            return Skip.UNEXPLAINED
        if name in self._source.servers:
            return self._named(self._source.servers[name])
        if name.lower() in NOT_SERVERS:
            return Skip.NOT_A_SERVER
        if name in endpoints:
            return self._unless_measured(endpoints[name])
        if name in self._servers:
            return self._listed(name)
        return self._named(self._source.server) if self._source.server else Skip.UNKNOWN_SERVER

    def _named(self, text: str) -> Endpoint | Skip:
        if text in self._servers:
            return self._listed(text)
        endpoint = parse_endpoint(text)
        return self._unless_measured(endpoint) if endpoint else Skip.UNKNOWN_SERVER

    def _listed(self, name: str) -> Endpoint | Skip:
        listed = self._servers[name]
        return Skip.MEASURED if listed.measured else listed.endpoint

    def _unless_measured(self, endpoint: Endpoint) -> Endpoint | Skip:
        return Skip.MEASURED if endpoint in self._measured else endpoint

    def _person(self, name: str) -> tuple[str, bool] | Skip:
        named = self._source.people.get(name) or (self._source.person if not name else "")
        if named:
            return named, not self._people.names_go
        if self._people.token and (not name or self._people.everybody_is_own):
            return self._people.token, True
        return (name, False) if name and self._people.names_go else Skip.UNKNOWN_PERSON


_ENDPOINT = re.compile(
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):(?P<port>[0-9]{1,5})/(?P<protocol>[A-Za-z0-9_.+-]{1,32})"
)


def parse_endpoint(text: str) -> Endpoint | None:
    """ "host:port/protocol", an IPv6 address in brackets; None if it is not that."""
    match = _ENDPOINT.fullmatch(text.strip())
    if not match or not 1 <= int(match["port"]) <= 65535:
        return None
    return Endpoint(
        match["host"].strip("[]").lower(), int(match["port"]), match["protocol"].lower()
    )
