"""Wire bytes between devices of a home network and VPN servers, counted by a Linux router.

Any app on any device counts, with no access to the device. A person is an address of the home
network. The bytes hold IP and TCP headers. What the router itself sends is not counted, and
flow offloading passes the counters by.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import ClassVar

from xpert_agent.mapping import parse_endpoint
from xpert_agent.sources import nft_rules
from xpert_agent.sources.base import (
    Counter,
    Endpoint,
    Key,
    Option,
    Reading,
    SourceError,
    Store,
    join_host_port,
)
from xpert_agent.sources.commands import output
from xpert_agent.sources.nft_rules import Flow, Table
from xpert_agent.sources.resolving import Resolver
from xpert_agent.sources.tally import Part, Tally

log = logging.getLogger(__name__)

_LIST = ("nft", "-j", "list")
_APPLY = ("nft", "-f", "-")
_OVER_UDP = {"hysteria", "hysteria2", "tuic", "juicity", "wireguard", "amneziawg"}
_NEARLY_FULL = nft_rules.SET_SIZE * 9 // 10

Owners = dict[tuple[str, int, str], list[str]]
"""Address, port and transport -> the servers that have it."""


class NfTables:
    kind: ClassVar[str] = "nftables"
    options: ClassVar[tuple[Option, ...]] = (
        Option("count", "the servers to count: host:port/protocol, with commas between"),
        Option("table", "the name of the agent's own table", "xpert"),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._table = options["table"]
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", self._table):
            raise SourceError("The option “table” of nftables is letters, digits and _.")
        self._endpoints = _endpoints(options["count"])
        self._tally = Tally(store)
        hosts = (endpoint.host for endpoint in self._endpoints.values())
        self._resolver = Resolver(hosts, self._tally.notes.get("addresses", {}))
        self._run: str = self._tally.notes.get("table_run", "")
        self._is_ours = bool(self._run)
        """Not so for a table that was found and not remembered: it may be a running agent's."""

    def read(self) -> Reading:
        owners = self._owners()
        self._tally.notes["addresses"] = dict(self._resolver.addresses)
        table = self._counting({(address, port) for address, port, _ in owners})
        self._observe(table, owners)
        return self._tally.reading(self._problems(table, owners), self._endpoints)

    def close(self) -> None:
        """Takes the last bytes, then removes the table."""
        self._resolver.stop()
        try:
            if self._is_ours and self._table in self._names():
                self._observe(self._listed(), self._owners())
                self._tally.save()
                output(_APPLY, nft_rules.delete(self._table))
        except SourceError as error:
            log.warning("nftables: the table %s is left: %s", self._table, error)

    def _counting(self, servers: set[tuple[str, int]]) -> Table:
        """The table as it is now, made if it is not there, counting `servers` from here on."""
        table = self._listed() if self._table in self._names() else self._create()
        if table.run != self._run:  # another agent's, or ours before the journal was lost
            self._remember(table.run)
            self._is_ours = False
        wanted = servers if self._is_ours else servers | table.servers
        if table.servers != wanted:
            output(_APPLY, nft_rules.set_servers(self._table, wanted))
        return table

    def _names(self) -> set[str]:
        return nft_rules.parse_table_names(output([*_LIST, "tables"]))

    def _listed(self) -> Table:
        return nft_rules.parse_table(output([*_LIST, "table", "inet", self._table]))

    def _create(self) -> Table:
        self._remember(secrets.token_hex(4))
        self._is_ours = True
        self._tally.observe_all({}, epoch=self._run)
        self._tally.save(force=True)
        output(_APPLY, nft_rules.create(self._table, self._run))
        return Table(self._run, set(), {}, {})

    def _remember(self, run: str) -> None:
        self._run = self._tally.notes["table_run"] = run

    def _observe(self, table: Table, owners: Owners) -> None:
        parts = {}
        for flow in table.up.keys() | table.down.keys():
            key = Key(flow.device, _server_name(flow, owners))
            counter = Counter(table.up.get(flow, 0), table.down.get(flow, 0))
            parts["|".join(map(str, flow))] = Part(key, counter)
        self._tally.observe_all(parts, epoch=table.run)

    def _owners(self) -> Owners:
        current = self._resolver.current()
        owners: Owners = {}
        for name, endpoint in self._endpoints.items():
            for address in current.get(endpoint.host, ()):
                for transport in ("tcp", "udp"):
                    owners.setdefault((address, endpoint.port, transport), []).append(name)
        return {where: self._narrowed(names, where[2]) for where, names in owners.items()}

    def _narrowed(self, names: list[str], transport: str) -> list[str]:
        """Of servers at one address and port, those whose protocol goes over this transport."""
        over_udp = [name for name in names if self._endpoints[name].protocol in _OVER_UDP]
        others = [name for name in names if name not in over_udp]
        return (over_udp or others) if transport == "udp" else (others or over_udp)

    def _problems(self, table: Table, owners: Owners) -> Iterable[str]:
        for host in self._resolver.unresolved():
            yield f"“{host}” cannot be resolved, so its traffic is not counted."
        shared = {(where[0], tuple(names)) for where, names in owners.items() if len(names) > 1}
        for address, several in sorted(shared):
            yield f"{' and '.join(several)} share {address}: their traffic is reported as one."
        if max(len(table.up), len(table.down)) > _NEARLY_FULL:
            yield "The table is nearly full: new traffic may not be counted."
        if nft_rules.has_flowtable(output([*_LIST, "flowtables"])):
            yield "Flow offloading is on: offloaded connections are not counted."


def _endpoints(text: str) -> dict[str, Endpoint]:
    found = {}
    for part in re.split(r"[\s,]+", text.strip(", \n")):
        endpoint = parse_endpoint(part)
        if endpoint is None:
            raise SourceError(f"“{part}” is not host:port/protocol.")
        found[part] = endpoint
    return found


def _server_name(flow: Flow, owners: Owners) -> str:
    """The server's name; of several all names, and of none the address: shown, never guessed."""
    names = owners.get((flow.address, flow.port, flow.protocol))
    return " or ".join(names) if names else join_host_port(flow.address, flow.port)
