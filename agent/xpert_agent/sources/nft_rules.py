"""The agent's own nftables table: the rules that count, and what `nft -j` says about them."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from xpert_agent.sources.base import SourceError

SET_SIZE = 65_536
IDLE = "7d"
"""An element that nobody has used for so long goes, which keeps the sets from filling up."""
RUN_CHAIN = "run_"

_SETS = """\
  set servers{v} {{ type {kind} . inet_service; size 4096; }}
  set up{v} {{ type {kind} . {kind} . inet_proto . inet_service; \
flags dynamic,timeout; timeout {idle}; size {size}; counter; }}
  set down{v} {{ type {kind} . {kind} . inet_proto . inet_service; \
flags dynamic,timeout; timeout {idle}; size {size}; counter; }}
"""
_RULES = """\
    meta l4proto {{ tcp, udp }} {ip} daddr . th dport @servers{v} \
update @up{v} {{ {ip} saddr . {ip} daddr . meta l4proto . th dport }}
    meta l4proto {{ tcp, udp }} {ip} saddr . th sport @servers{v} \
update @down{v} {{ {ip} daddr . {ip} saddr . meta l4proto . th sport }}
"""
_FAMILIES = (("4", "ipv4_addr", "ip"), ("6", "ipv6_addr", "ip6"))


class Flow(NamedTuple):
    """What one device exchanges with one server."""

    device: str
    address: str
    protocol: str
    port: int


class Table(NamedTuple):
    """What the table holds now."""

    run: str
    servers: set[tuple[str, int]]
    up: dict[Flow, int]
    down: dict[Flow, int]


def create(name: str, run: str) -> str:
    """Commands that make the table, in place of one of the same name.

    The chain comes last in `forward`, so that only what the firewall lets through is counted.
    An empty chain carries the run's name: comments of tables are not shown by older nft.
    """
    sets = "".join(
        _SETS.format(v=v, kind=kind, idle=IDLE, size=SET_SIZE) for v, kind, _ in _FAMILIES
    )
    rules = "".join(_RULES.format(v=v, ip=ip) for v, _, ip in _FAMILIES)
    return (
        f"add table inet {name}\ndelete table inet {name}\n"
        f"table inet {name} {{\n{sets}  chain {RUN_CHAIN}{run} {{ }}\n"
        "  chain count {\n    type filter hook forward priority 300; policy accept;\n"
        f"{rules}  }}\n}}\n"
    )


def delete(name: str) -> str:
    """Commands that remove the table, whether it is there or not."""
    return f"add table inet {name}\ndelete table inet {name}\n"


def set_servers(name: str, servers: Iterable[tuple[str, int]]) -> str:
    """Commands that make these the addresses whose traffic is counted, in one step."""
    commands = [f"flush set inet {name} servers{v}" for v, _, _ in _FAMILIES]
    for address, port in sorted(servers):
        v = ipaddress.ip_address(address).version
        commands.append(f"add element inet {name} servers{v} {{ {address} . {port} }}")
    return "\n".join(commands) + "\n"


def parse_table_names(text: str) -> set[str]:
    """The names of the tables of family inet in what `nft -j list tables` prints."""
    try:
        tables = [row["table"] for row in json.loads(text)["nftables"] if "table" in row]
        return {str(table["name"]) for table in tables if table["family"] == "inet"}
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError("nft does not list its tables as expected.") from error


def parse_table(text: str) -> Table:
    """What `nft -j list table` prints; raises `SourceError`."""
    try:
        objects = json.loads(text)["nftables"]
        sets = {row["set"]["name"]: row["set"].get("elem", []) for row in objects if "set" in row}
        chains = [row["chain"]["name"] for row in objects if "chain" in row]
        runs = [chain[len(RUN_CHAIN) :] for chain in chains if chain.startswith(RUN_CHAIN)]
        return Table(
            run=runs[0],
            servers={pair for v, _, _ in _FAMILIES for pair in _servers(sets[f"servers{v}"])},
            up=dict(_counters(sets, "up")),
            down=dict(_counters(sets, "down")),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            "The nftables table is not the agent's: choose another name for “table”."
        ) from error


def has_flowtable(text: str) -> bool:
    """Whether `nft -j list flowtables` tells one: offloaded flows pass our chain by."""
    try:
        return any("flowtable" in row for row in json.loads(text)["nftables"])
    except (KeyError, TypeError, ValueError):
        return False


def _servers(elements: Iterable[Any]) -> Iterator[tuple[str, int]]:
    for element in elements:
        address, port = element["concat"]
        yield str(address), int(port)


def _counters(sets: Mapping[str, Iterable[Any]], direction: str) -> Iterator[tuple[Flow, int]]:
    for v, _, _ in _FAMILIES:
        for element in sets[f"{direction}{v}"]:
            device, address, protocol, port = element["elem"]["val"]["concat"]
            amount = int(element["elem"]["counter"]["bytes"])
            yield Flow(str(device), str(address), str(protocol), int(port)), amount
