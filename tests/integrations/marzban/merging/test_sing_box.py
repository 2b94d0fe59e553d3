import json
from typing import Any

import pytest

from integrations.marzban.merging import NotUnderstood, merged
from tests.integrations.marzban.merging.examples import (
    HYSTERIA2,
    SING_BOX_NODE,
    TROJAN,
    WIREGUARD,
    as_json,
    servers,
    sing_box,
)

NEW = {
    "log": {},
    "endpoints": [],
    "outbounds": [
        {"type": "selector", "tag": "proxy", "outbounds": [SING_BOX_NODE["tag"]]},
        SING_BOX_NODE,
    ],
}


def document(given: object, *raws: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        merged("sing-box", as_json(given), servers("sing-box", *raws))
    )
    return found


def outbound(found: dict[str, Any], tag: str) -> dict[str, Any]:
    (one,) = [item for item in found["outbounds"] if item["tag"] == tag]
    return dict(one)


def test_external_servers_are_outbounds_and_in_the_groups() -> None:
    given = sing_box(SING_BOX_NODE)
    found = document(given)
    assert outbound(found, "proxy")["outbounds"] == [
        "Best Latency",
        "alice [Trojan]",
        "Berlin",
        "Paris",
    ]
    assert outbound(found, "Best Latency")["outbounds"] == ["alice [Trojan]", "Berlin", "Paris"]
    assert outbound(found, "Paris")["server"] == "fr.example.com"
    assert outbound(found, "alice [Trojan]") == SING_BOX_NODE
    assert {key: found[key] for key in ("log", "route")} == {
        key: given[key] for key in ("log", "route")
    }


def test_every_tag_that_a_group_names_exists() -> None:
    found = document(sing_box(SING_BOX_NODE), TROJAN, WIREGUARD, HYSTERIA2)
    tags = {item["tag"] for item in found["outbounds"]}
    assert {name for item in found["outbounds"] for name in item.get("outbounds", ())} <= tags


@pytest.mark.parametrize("empty", [[], None])
def test_empty_groups_are_filled(empty: object) -> None:
    given = sing_box()
    given["outbounds"][0]["outbounds"] = empty
    given["outbounds"][1]["outbounds"] = empty
    found = document(given, TROJAN)
    assert (
        outbound(found, "proxy")["outbounds"]
        == outbound(found, "Best Latency")["outbounds"]
        == ["Paris"]
    )


def test_a_group_of_other_servers_stays_as_it_is() -> None:
    given = sing_box(SING_BOX_NODE)
    only_direct = {"type": "selector", "tag": "ru", "outbounds": ["direct"]}
    given["outbounds"].append(only_direct)
    assert outbound(document(given), "ru") == only_direct


def test_a_tag_that_the_panel_has_given_is_not_given_again() -> None:
    found = document(sing_box(SING_BOX_NODE | {"tag": "Paris"}), TROJAN)
    assert outbound(found, "proxy")["outbounds"][-2:] == ["Paris", "Paris 2"]
    assert outbound(found, "Paris 2")["server"] == "fr.example.com"


def test_wireguard_is_an_endpoint_in_a_file_that_has_them() -> None:
    found = document(NEW, WIREGUARD)
    assert [item["tag"] for item in found["endpoints"]] == ["Tunnel"]
    assert outbound(found, "proxy")["outbounds"] == ["alice [Trojan]", "Tunnel"]


def test_a_file_for_an_old_version_gets_only_what_that_version_knows() -> None:
    anytls = "anytls://pw@a.example.com:443#New"
    assert "New" in outbound(document(NEW, anytls), "proxy")["outbounds"]
    found = document(sing_box(SING_BOX_NODE), anytls, WIREGUARD, TROJAN)
    assert [item["tag"] for item in found["outbounds"]][-2:] == ["alice [Trojan]", "Paris"]
    assert "endpoints" not in found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"{",
        b'{"outbounds": {}}',
        b'{"outbounds": ["a"]}',
        b'{"outbounds": [], "outbounds": []}',
        b'{"outbounds": [{"type": "direct", "tag": "direct"}]}',
        b'{"outbounds": [], "x": NaN}',
        b'{"method": "aes-256-gcm", "password": "x", "server": "a", "server_port": 1, "tag": "a"}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_not_understood(body: bytes) -> None:
    with pytest.raises(NotUnderstood):
        merged("sing-box", body, servers("sing-box"))
