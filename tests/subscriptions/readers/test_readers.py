"""Entries as providers write them: what is taken, and what is left out with which reason."""

import json
from typing import Any

import pytest

from subscriptions.readers import Found, NoDocument, read

ID = "11111111-2222-4333-8444-555555555555"

SS = {"type": "ss", "name": "S", "server": "s.example.com", "port": 443, "cipher": "aes-128-gcm", "password": "pw"}  # fmt: skip
VLESS = {"type": "vless", "name": "V", "server": "v.example.com", "port": 443, "uuid": ID}
BOX = {"type": "vless", "tag": "V", "server": "v.example.com", "server_port": 443, "uuid": ID}
XRAY = {
    "protocol": "vless",
    "tag": "proxy",
    "settings": {
        "vnext": [
            {"address": "v.example.com", "port": 443, "users": [{"id": ID, "encryption": "none"}]}
        ]
    },
}


def clash(**changes: Any) -> Found:
    [found] = read(json.dumps({"proxies": [changes]}))
    return found


def box(**changes: Any) -> Found:
    [found] = read(json.dumps({"outbounds": [BOX | changes]}))
    return found


def xray(**changes: Any) -> Found:
    [found] = read(json.dumps({"remarks": "Name", "outbounds": [XRAY | changes]}))
    return found


def params(found: Found) -> dict[str, str]:
    assert found.node is not None, found.code
    return dict(found.node.params)


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (SS | {"dialer-proxy": "other"}, "chained"),
        (SS | {"cipher": "unknown"}, "bad_cipher"),
        (SS | {"plugin": "restls", "plugin-opts": {}}, "bad_plugin"),
        (SS | {"port": 70000}, "bad_port"),
        (SS | {"port": "x"}, "bad_number"),
        (SS | {"port": True}, "bad_type"),
        (SS | {"password": ["pw"]}, "bad_type"),
        (SS | {"server": ""}, "missing_host"),
        (SS | {"invented": 1}, "unknown_setting"),
        (SS | {"type": "snell"}, "unsupported"),
        (VLESS | {"network": "kcp"}, "bad_network"),
        (VLESS | {"network": "ws", "ws-opts": {"headers": {"X-Key": "1"}}}, "unknown_setting"),
        (VLESS | {"tls": True, "certificate": "PEM"}, "unknown_setting"),
        (VLESS | {"tls": True, "reality-opts": {"public-key": "short"}}, "bad_pbk"),
        (
            VLESS | {"type": "trojan", "password": "p", "network": "xhttp", "uuid": None},
            "bad_network",
        ),
        (
            VLESS | {"network": "grpc", "tls": True, "grpc-opts": {"grpc-service-name": "a b"}},
            "inexact",
        ),
    ],
)
def test_an_entry_that_a_link_cannot_say_exactly_is_left_out(
    entry: dict[str, Any], code: str
) -> None:
    assert clash(**entry).code == code


@pytest.mark.parametrize(
    ("yaml", "code"),
    [
        ("password: 1e5", "unclear"),
        ('password: "1e5"', ""),
        ("password: 12345", ""),
        ("password: 012", "unclear"),
        ("password: true", "bad_type"),
        ("password: pw, password: pw", "unknown_setting"),
    ],
)
def test_a_password_that_apps_read_in_different_ways_is_no_guess(yaml: str, code: str) -> None:
    entry = f"{{type: ss, name: S, server: s.example.com, port: 443, cipher: aes-128-gcm, {yaml}}}"
    [found] = read(f"proxies:\n  - {entry}\n")
    assert found.code == code


def test_preferences_of_an_app_do_not_matter() -> None:
    found = clash(**SS, udp=False, tfo=True, smux={"enabled": True}, **{"ip-version": "ipv4"})
    assert params(found) == {"method": "aes-128-gcm", "password": "pw"}


def test_a_web_socket_asks_for_the_host_that_its_core_would_send() -> None:
    found = clash(**VLESS, tls=True, servername="front.example.com", network="ws")
    assert params(found)["host"] == "v.example.com"
    found = box(tls={"enabled": True, "server_name": "front.example.com"}, transport={"type": "ws"})
    assert params(found)["host"] == "v.example.com"


def test_a_core_that_asks_for_the_servers_own_certificate_is_not_sent_to_another() -> None:
    transport = {"type": "ws", "headers": {"Host": "cdn.example.com"}}
    assert params(box(tls={"enabled": True}, transport=transport))["sni"] == "v.example.com"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"detour": "other"}, "chained"),
        ({"transport": {"type": "quic"}}, "bad_network"),
        ({"tls": {"enabled": True, "certificate": ["PEM"]}}, "unknown_setting"),
        ({"tls": {"enabled": True, "reality": {"enabled": True}}}, "missing_pbk"),
        ({"transport": {"type": "ws", "max_early_data": 2048}}, "inexact"),
        ({"server_port": "443x"}, "bad_number"),
        ({"type": "naive"}, "unsupported"),
        ({"uuid": 7.5}, "unclear"),
    ],
)
def test_an_outbound_of_sing_box_is_left_out_with_a_reason(
    change: dict[str, Any], code: str
) -> None:
    assert box(**change).code == code


def test_packets_without_an_encoding_stay_so() -> None:
    assert params(box(packet_encoding=""))["packet_encoding"] == "none"
    assert "packet_encoding" not in params(box())


def test_groups_and_direct_outbounds_are_no_servers() -> None:
    others = [
        {"type": kind, "tag": kind} for kind in ("selector", "urltest", "direct", "block", "dns")
    ]
    found = read(json.dumps({"outbounds": [*others, BOX]}))
    assert [each.name for each in found] == ["V"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"proxySettings": {"tag": "other"}}, "chained"),
        ({"streamSettings": {"sockopt": {"dialerProxy": "other"}}}, "chained"),
        ({"streamSettings": {"network": "quic"}}, "bad_network"),
        ({"streamSettings": {"security": "xtls"}}, "bad_security"),
        ({"settings": {"vnext": []}}, "bad_type"),
        ({"settings": {"vnext": [{}, {}]}}, "inexact"),
        ({"protocol": "mystery"}, "unsupported"),
    ],
)
def test_an_outbound_of_xray_is_left_out_with_a_reason(change: dict[str, Any], code: str) -> None:
    assert xray(**change).code == code


def test_a_server_behind_the_clients_own_fragmentation_is_taken() -> None:
    stream = {"network": "tcp", "sockopt": {"dialerProxy": "fragment"}}
    outbounds = [XRAY | {"streamSettings": stream}, {"protocol": "freedom", "tag": "fragment"}]
    [found] = read(json.dumps({"remarks": "Name", "outbounds": outbounds}))
    assert (found.name, found.code) == ("Name", "")


def test_the_flat_form_of_newer_versions_is_read() -> None:
    found = xray(settings={"address": "v.example.com", "port": 443, "id": ID, "encryption": "none"})
    assert params(found) == {"uuid": ID}


def test_of_several_servers_in_one_configuration_each_has_its_tag() -> None:
    document = {"remarks": "DE", "outbounds": [XRAY, XRAY | {"tag": "backup"}]}
    assert [each.name for each in read(json.dumps([document, document]))] == ["DE", "DE backup"] * 2


SIP008 = {"server": "s.example.com", "server_port": 8388, "password": "pw", "method": "aes-256-gcm", "remarks": "S"}  # fmt: skip


@pytest.mark.parametrize("whole", [True, False])
def test_sip008_is_read_with_and_without_its_frame(whole: bool) -> None:
    servers = [SIP008 | {"id": "1", "plugin": "obfs-local", "plugin_opts": "obfs=http"}]
    [found] = read(json.dumps({"version": 1, "servers": servers} if whole else servers))
    assert found.name == "S"
    assert params(found)["plugin"] == "obfs-local;obfs=http"


def test_ssd_shares_values_between_servers() -> None:
    from base64 import urlsafe_b64encode  # noqa: PLC0415

    shared = {"airport": "A", "port": 443, "encryption": "aes-128-gcm", "password": "pw"}
    servers = [{"server": "a.example.com", "remarks": "A"}, {"server": "b.example.com", "port": 1}]
    text = urlsafe_b64encode(json.dumps(shared | {"servers": servers}).encode()).decode()
    found = [each.node for each in read(f"ssd://{text.rstrip('=')}")]
    assert [(each.server, each.port) for each in found if each] == [
        ("a.example.com", 443),
        ("b.example.com", 1),
    ]


@pytest.mark.parametrize(
    "text", ["{}", "[]", "[1]", '{"outbounds": []}', "proxies: []", "proxies: x", "ssd://", "x: y"]
)
def test_a_document_without_servers_is_none(text: str) -> None:
    with pytest.raises(NoDocument):
        read(text)


@pytest.mark.parametrize("value", [None, 1, "x", [], {"type": 5}, {"type": ["ss"]}])
def test_an_entry_of_a_wrong_type_leaves_the_others(value: object) -> None:
    found = read(json.dumps({"proxies": [value, SS]}))
    assert [each.code for each in found][-1] == ""
    assert all(each.code for each in found[:-1])
