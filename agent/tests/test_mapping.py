from __future__ import annotations

import pytest

from xpert_agent.mapping import Listed, Mapper, People, Skip, SourceMap, Target, parse_endpoint
from xpert_agent.sources.base import UNEXPLAINED, Endpoint, Key

A = Endpoint("a.example.com", 443, "vless")
B = Endpoint("b.example.com", 8443, "trojan")
LISTED = {"Server A": Listed(A, measured=False), "Through gateway": Listed(B, measured=True)}


PLAIN = SourceMap()
ALICE = People(token="t0ken")


def target(
    key: Key,
    source: SourceMap = PLAIN,
    people: People = ALICE,
    endpoints: dict[str, Endpoint] | None = None,
) -> Target | Skip:
    return Mapper(people, LISTED, source).target(key, endpoints or {})


def test_a_name_in_the_panels_list_is_that_server() -> None:
    assert target(Key("", "Server A")) == Target("t0ken", True, A)


def test_a_name_that_nothing_explains_is_not_guessed() -> None:
    assert target(Key("", "server a")) is Skip.UNKNOWN_SERVER


@pytest.mark.parametrize(
    "name", ["DIRECT", "REJECT", "direct", "block", "COMPATIBLE", "dns", "api"]
)
def test_outbounds_that_lead_to_no_server_are_left_out(name: str) -> None:
    assert target(Key("", name), SourceMap(server="a.example.com:443/vless")) is Skip.NOT_A_SERVER


def test_what_goes_through_a_gateway_is_left_to_the_gateway() -> None:
    assert target(Key("", "Through gateway")) is Skip.MEASURED
    assert target(Key("", "wg0"), endpoints={"wg0": B}) is Skip.MEASURED
    assert target(Key("", "x"), SourceMap({"x": "b.example.com:8443/trojan"})) is Skip.MEASURED


def test_agent_ini_names_a_server_by_address_or_by_its_name_in_the_list() -> None:
    servers = {"by-address": "c.example.com:1/ss", "by-name": "Server A", "nowhere": "no such name"}
    assert target(Key("", "by-address"), SourceMap(servers)) == Target(
        "t0ken", True, Endpoint("c.example.com", 1, "ss")
    )
    assert target(Key("", "by-name"), SourceMap(servers)) == Target("t0ken", True, A)
    assert target(Key("", "nowhere"), SourceMap(servers)) is Skip.UNKNOWN_SERVER


def test_a_source_that_knows_the_address_tells_it() -> None:
    assert target(Key("", "peer"), endpoints={"peer": A}) == Target("t0ken", True, A)


def test_the_default_server_is_for_all_other_names() -> None:
    source = SourceMap(server="c.example.com:1/vmess")
    assert target(Key("", "whatever"), source) == Target(
        "t0ken", True, Endpoint("c.example.com", 1, "vmess")
    )
    assert target(Key("", "Server A"), source) == Target("t0ken", True, A)


def test_what_the_core_carried_for_nobody_known_is_given_to_nobody() -> None:
    source = SourceMap(server="c.example.com:1/vmess", person="alice")
    assert target(Key("", UNEXPLAINED), source) is Skip.UNEXPLAINED


def test_with_a_key_names_go_to_the_panel_as_they_are() -> None:
    people = People(names_go=True)
    assert target(Key("alice", "Server A"), people=people) == Target("alice", False, A)
    assert target(Key("", "Server A"), people=people) is Skip.UNKNOWN_PERSON


def test_with_a_key_names_can_be_translated_and_the_nameless_given_to_somebody() -> None:
    people, source = People(names_go=True), SourceMap(people={"10.0.0.7": "bob"}, person="alice")
    assert target(Key("10.0.0.7", "Server A"), source, people) == Target("bob", False, A)
    assert target(Key("", "Server A"), source, people) == Target("alice", False, A)


def test_without_a_key_a_name_must_be_translated_to_a_token() -> None:
    source = SourceMap(people={"bob": "bobs-token"})
    assert target(Key("bob", "Server A"), source) == Target("bobs-token", True, A)
    assert target(Key("eve", "Server A"), source) is Skip.UNKNOWN_PERSON


def test_on_a_persons_own_device_everybody_uses_that_persons_subscription() -> None:
    people = People(token="t0ken", everybody_is_own=True)
    assert target(Key("guest", "Server A"), people=people) == Target("t0ken", True, A)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("vpn.Example.com:443/VLESS", Endpoint("vpn.example.com", 443, "vless")),
        ("[2001:db8::1]:65535/wireguard", Endpoint("2001:db8::1", 65535, "wireguard")),
        ("vpn.example.com:0/vless", None),
        ("vpn.example.com:65536/vless", None),
        ("vpn.example.com:443", None),
        ("2001:db8::1:443/vless", None),
    ],
)
def test_an_endpoint_is_host_port_and_protocol(text: str, endpoint: Endpoint | None) -> None:
    assert parse_endpoint(text) == endpoint
