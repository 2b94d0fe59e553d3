from __future__ import annotations

import json
from typing import Any

import pytest

from xpert_agent.sources.base import SourceError
from xpert_agent.sources.nft_rules import (
    Flow,
    create,
    has_flowtable,
    parse_table,
    parse_table_names,
    set_servers,
)
from xpert_agent.sources.resolving import KEPT, Resolver, look_up

from .fakes import START, Clock, opened


def listed(**sets: list[Any]) -> str:
    """What nft 1.0.6 prints for the agent's table."""
    names = [f"{kind}{v}" for kind in ("servers", "up", "down") for v in "46"]
    objects: list[dict[str, Any]] = [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "inet", "name": "xpert", "handle": 1}},
        {"chain": {"family": "inet", "table": "xpert", "name": "run_5f2a", "handle": 7}},
        {"chain": {"family": "inet", "table": "xpert", "name": "count", "hook": "forward"}},
    ]
    for name in names:
        one: dict[str, Any] = {"family": "inet", "name": name, "table": "xpert", "handle": 2}
        objects.append({"set": {**one, **({"elem": sets[name]} if name in sets else {})}})
    return json.dumps({"nftables": objects})


def element(*concat: object, count: int) -> dict[str, Any]:
    counter = {"packets": 25, "bytes": count}
    return {"elem": {"val": {"concat": list(concat)}, "expires": 604790, "counter": counter}}


def test_a_table_is_read_as_nft_prints_it() -> None:
    table = parse_table(
        listed(
            servers4=[{"concat": ["203.0.113.5", 443]}],
            up4=[element("192.168.1.20", "203.0.113.5", "tcp", 443, count=201_308)],
            down6=[element("2001:db8::20", "2001:db8:2::5", "udp", 443, count=701_412)],
        )
    )
    assert table.run == "5f2a"
    assert table.servers == {("203.0.113.5", 443)}
    assert table.up == {Flow("192.168.1.20", "203.0.113.5", "tcp", 443): 201_308}
    assert table.down == {Flow("2001:db8::20", "2001:db8:2::5", "udp", 443): 701_412}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"nftables": [{"set": {}}]}', '{"nftables": []}']
)
def test_what_nft_does_not_print_is_an_error(text: str) -> None:
    with pytest.raises(SourceError):
        parse_table(text)


def test_only_tables_of_family_inet_are_ours() -> None:
    tables = [{"metainfo": {}}, {"table": {"family": "ip", "name": "xpert"}}]
    tables.append({"table": {"family": "inet", "name": "fw4"}})
    assert parse_table_names(json.dumps({"nftables": tables})) == {"fw4"}
    with pytest.raises(SourceError):
        parse_table_names("")


def test_a_flowtable_is_seen() -> None:
    assert has_flowtable('{"nftables": [{"metainfo": {}}, {"flowtable": {"name": "ft"}}]}')
    assert not has_flowtable('{"nftables": [{"metainfo": {}}]}')
    assert not has_flowtable("")


def test_rules_go_last_in_forward_and_addresses_into_the_set_of_their_family() -> None:
    assert "type filter hook forward priority 300; policy accept;" in create("xpert", "5f2a")
    assert set_servers("xpert", [("203.0.113.5", 443), ("2001:db8::5", 8443)]).splitlines() == [
        "flush set inet xpert servers4",
        "flush set inet xpert servers6",
        "add element inet xpert servers6 { 2001:db8::5 . 8443 }",
        "add element inet xpert servers4 { 203.0.113.5 . 443 }",
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"count": "vpn.example.com"},
        {"count": "vpn.example.com:443"},
        {"count": "vpn.example.com:443/vless,nonsense"},
        {"count": "vpn.example.com:443/vless", "table": "x; flush ruleset"},
        {"count": "vpn.example.com:443/vless", "table": ""},
    ],
)
def test_a_bad_option_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(SourceError):
        opened("nftables", None, **options)


def test_without_nft_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    source = opened("nftables", count="127.0.0.1:443/vless")
    with pytest.raises(SourceError, match="The program “nft” is not installed"):
        source.read()
    source.close()


class Dns:
    """A `Resolver` whose answers a test sets."""

    def __init__(self, clock: Clock, **known: dict[str, float]) -> None:
        self.answers: dict[str, list[str]] = {}
        addresses = {name.replace("_", "."): value for name, value in known.items()}
        self.resolver = Resolver(["a.b", "192.0.2.1"], addresses, self.look_up, clock)

    def look_up(self, host: str) -> list[str]:
        return self.answers.get(host, [])


def test_an_address_needs_no_dns(clock: Clock) -> None:
    dns = Dns(clock)
    assert dns.resolver.current() == {"192.0.2.1": {"192.0.2.1"}}
    assert dns.resolver.unresolved() == ["a.b"]
    dns.resolver.stop()


def test_an_old_address_counts_for_an_hour_because_connections_live_on(clock: Clock) -> None:
    dns = Dns(clock)
    dns.answers["a.b"] = ["203.0.113.5"]
    dns.resolver.refresh()
    dns.answers["a.b"] = ["203.0.113.6"]
    clock.now += KEPT
    dns.resolver.refresh()
    assert dns.resolver.current()["a.b"] == {"203.0.113.5", "203.0.113.6"}
    clock.now += 1
    dns.resolver.refresh()
    assert dns.resolver.current()["a.b"] == {"203.0.113.6"}
    dns.resolver.stop()


def test_a_dns_that_fails_for_days_takes_nothing_away_also_over_a_restart(clock: Clock) -> None:
    dns = Dns(clock, a_b={"203.0.113.5": START - 90_000, "203.0.113.4": START - 99_000})
    assert dns.resolver.current()["a.b"] == {"203.0.113.5"}
    assert dns.resolver.unresolved() == []
    dns.resolver.stop()


def test_a_name_that_cannot_be_one_is_not_resolved() -> None:
    assert look_up("a" * 300 + ".invalid") == []
    assert "127.0.0.1" in look_up("localhost")
