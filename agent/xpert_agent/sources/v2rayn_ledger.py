"""Combines the two places that report v2rayN's traffic.

The database has each server's total in KiB, but only when v2rayN is closed. The core reports its
own total at once, but not the server, which v2rayN's settings name. Both show the same bytes: so
the core's figures count at once, and the database's figures only beyond them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from xpert_agent.sources.base import Counter, Endpoint
from xpert_agent.sources.v2rayn_files import Row
from xpert_agent.sources.xray_stats import Snapshot, fell

_PROXY = "proxy"
"""How tags of outbounds to the server in use begin."""
_WAYS = (0, 1)
_ZERO = Counter(0, 0)


@dataclass
class _Server:
    key: str
    """Its name in the readings: its first id, because v2rayN gives new ids at every update."""
    name: str
    endpoint: Endpoint | None
    stored: Counter = _ZERO
    """What the database told last."""
    ahead: Counter = _ZERO
    """What the core has told and the database has not; below 0 it is the other way round."""
    sum: Counter = _ZERO


@dataclass
class _Core:
    """The core's process as it was read last."""

    growing: Mapping[str, int]
    server: str
    told: Counter


class _Live(NamedTuple):
    """What the core has told since the last look."""

    server: str
    grown: Counter
    is_same_process: bool


_NOTHING = _Live("", _ZERO, False)


@dataclass
class Ledger:
    """Sums of every server since the first look."""

    servers: dict[str, _Server] = field(default_factory=dict)
    core: _Core | None = None
    is_first: bool = True

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Ledger:
        """`state`: {} at first, or what `state` returned."""
        if not state:
            return cls()
        servers = {id_: _restored_server(one) for id_, one in state["servers"].items()}
        core = state["core"] and _Core(**{**state["core"], "told": Counter(*state["core"]["told"])})
        return cls(servers, core, is_first=False)

    def state(self) -> dict[str, Any]:
        """Everything that a later ledger needs to go on, as JSON types."""
        return {
            "servers": {id_: asdict(one) for id_, one in self.servers.items()},
            "core": asdict(self.core) if self.core else None,
        }

    def counters(self) -> dict[str, Counter]:
        """Bytes by the server's name."""
        return {one.key: one.sum for one in self.servers.values() if any(one.sum)}

    def endpoints(self) -> dict[str, Endpoint]:
        """Where the servers are, by their names."""
        return {one.key: one.endpoint for one in self.servers.values() if one.endpoint}

    def look(self, rows: Iterable[Row], core: Snapshot | None, active: str) -> None:
        """Takes over what both places tell. At the first look all of it is history."""
        found = {row.id: row for row in rows}
        for row in found.values():
            if any(row.total):
                self._enter(row, found)
        live = self._follow(core, active)
        if live.server not in self.servers and any(live.grown):
            row = found.get(live.server) or Row(live.server, "", None, _ZERO)
            self.servers[live.server] = _Server(row.id, row.name, row.endpoint)
        for id_, server in self.servers.items():
            total = found[id_].total if id_ in found else server.stored
            self._book(server, total, live if live.server == id_ else _NOTHING)
        self.is_first = False

    def _enter(self, row: Row, found: Mapping[str, Row]) -> None:
        """A row with a total for the first time may continue where another one ended.

        When it updates a subscription, v2rayN creates all servers again and transfers their totals.
        """
        server = self.servers.get(row.id)
        if server is None or not any(server.stored):
            server = self._successor(row, found, server or _Server(row.id, row.name, row.endpoint))
            self.servers[row.id] = server
        server.name, server.endpoint = row.name, row.endpoint

    def _successor(self, row: Row, found: Mapping[str, Row], new: _Server) -> _Server:
        if self.is_first:
            new.stored = row.total
            return new
        gone, living = self._namesakes(row, found)
        if living and not gone:
            new.stored = row.total  # handed on once more, from one that has been followed already
        if not gone:
            return new
        old_id = max(gone, key=lambda id_: sum(self.servers[id_].stored))
        old = self.servers.pop(old_id)
        if self.core and self.core.server == old_id:
            self.core.server = row.id
        old.ahead = Counter(*(old.ahead[way] + new.ahead[way] for way in _WAYS))
        old.sum = Counter(*(old.sum[way] + new.sum[way] for way in _WAYS))
        return old

    def _namesakes(self, row: Row, found: Mapping[str, Row]) -> tuple[list[str], list[str]]:
        """Servers whose total this row may hold: those that have gone, and those still there."""
        alike = [
            id_
            for id_, one in self.servers.items()
            if id_ != row.id
            and (one.name == row.name or (one.endpoint and one.endpoint == row.endpoint))
            and (any(one.stored) or any(one.ahead))
            and all(row.total[way] >= one.stored[way] for way in _WAYS)
        ]
        return [id_ for id_ in alike if id_ not in found], [id_ for id_ in alike if id_ in found]

    def _follow(self, core: Snapshot | None, active: str) -> _Live:
        if core is None:
            return _NOTHING
        told, last = _told(core), self.core
        if last is None or fell(last.growing, core.growing):
            self.core = _Core(core.growing, active, told)
            return _Live(active, told, is_same_process=False)
        self.core = _Core(core.growing, last.server, told)
        return _Live(last.server, _growth(told, last.told), is_same_process=True)

    def _book(self, server: _Server, total: Counter, live: _Live) -> None:
        stored = _growth(total, server.stored)
        settled = [_settled(stored[way], server.ahead[way], live, way) for way in _WAYS]
        server.stored = total
        server.ahead = Counter(*(one.ahead for one in settled))
        if not self.is_first:
            server.sum = Counter(*(server.sum[way] + settled[way].flowed for way in _WAYS))


class _Settled(NamedTuple):
    flowed: int
    ahead: int


def _settled(stored: int, ahead: int, live: _Live, way: int) -> _Settled:
    """What of both is new; `stored` is what came into the database since the last look."""
    grown = live.grown[way]
    if live.is_same_process:
        now_ahead = ahead + grown - stored
        return _Settled(stored + max(0, now_ahead) - max(0, ahead), now_ahead)
    # Whatever the core before has told is in the database, if that was written meanwhile.
    ahead = max(0, ahead)
    return _Settled(max(0, stored - ahead) + grown, (0 if stored else ahead) + grown)


def _growth(new: Counter, old: Counter) -> Counter:
    """A total that fell was cleared, and began at 0."""
    return Counter(*(now - then if now >= then else now for now, then in zip(new, old)))


def _told(core: Snapshot) -> Counter:
    proxies = [
        counter
        for (kind, tag), counter in core.counters.items()
        if kind == "outbound" and tag.startswith(_PROXY)
    ]
    return Counter(sum(one.up for one in proxies), sum(one.down for one in proxies))


def _restored_server(state: Mapping[str, Any]) -> _Server:
    def counters() -> Iterator[tuple[str, Counter]]:
        for name in ("stored", "ahead", "sum"):
            yield name, Counter(*state[name])

    endpoint = Endpoint(*state["endpoint"]) if state["endpoint"] else None
    return _Server(state["key"], state["name"], endpoint, **dict(counters()))
