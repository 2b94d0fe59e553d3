"""The JSON of Xray: an array of whole configurations."""

import json
from typing import Any

import pytest

from subscriptions import links
from subscriptions.formats import render
from tests.subscriptions.formats.cores import sample_nodes

ID = "11111111-2222-4333-8444-555555555555"
PBK = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
KEY = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="


def configs(*raws: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(render("xray", [links.parse(raw) for raw in raws]))
    return found


def proxy(raw: str) -> dict[str, Any]:
    found: dict[str, Any] = configs(raw)[0]["outbounds"][0]
    return found


def test_each_server_is_a_configuration_with_its_name() -> None:
    found = configs("trojan://pw@a.example:1#A", "trojan://pw@b.example:1#A")
    assert [each["remarks"] for each in found] == ["A", "A 2"]


def test_a_configuration_is_whole() -> None:
    found = configs("trojan://pw@a.example:1#A")[0]
    assert [(each["protocol"], each["listen"], each["port"]) for each in found["inbounds"]] == [
        ("socks", "127.0.0.1", 10808),
        ("http", "127.0.0.1", 10809),
    ]
    assert [each["tag"] for each in found["outbounds"]] == ["proxy", "direct", "block"]
    assert {rule["outboundTag"] for rule in found["routing"]["rules"]} == {"direct"}


def test_nothing_is_an_empty_array() -> None:
    assert configs() == []


def test_the_samples_are_configurations_that_refer_to_nothing_unknown() -> None:
    found = json.loads(render("xray", sample_nodes()))
    assert len(found) > 50
    assert len({each["remarks"] for each in found}) == len(found)
    for each in found:
        tags = {outbound["tag"] for outbound in each["outbounds"]}
        assert {rule["outboundTag"] for rule in each["routing"]["rules"]} <= tags


def test_vless_with_reality() -> None:
    link = f"vless://{ID}@a.example:443?security=reality&sni=s.example&pbk={PBK}&sid=ab&spx=%2Fx&flow=xtls-rprx-vision-udp443"
    assert proxy(link) == {
        "tag": "proxy",
        "protocol": "vless",
        "settings": {
            "vnext": [
                {
                    "address": "a.example",
                    "port": 443,
                    "users": [{"id": ID, "encryption": "none", "flow": "xtls-rprx-vision-udp443"}],
                }
            ]
        },
        "streamSettings": {
            "network": "tcp",
            "security": "reality",
            "realitySettings": {
                "serverName": "s.example",
                "fingerprint": "chrome",
                "publicKey": PBK,
                "shortId": "ab",
                "spiderX": "/x",
            },
        },
    }


def test_xhttp_keeps_its_extra() -> None:
    found = proxy(
        f"vless://{ID}@a.example:1?security=tls&type=xhttp&path=%2Fx&extra=%7B%22xPaddingBytes%22%3A%22100%22%7D"
    )
    assert found["streamSettings"]["xhttpSettings"] == {
        "path": "/x",
        "extra": {"xPaddingBytes": "100"},
    }


def test_early_data_stays_in_the_path() -> None:
    found = proxy(f"vless://{ID}@a.example:1?type=ws&path=%2Fa%3Fed%3D2048&host=h.example")
    assert found["streamSettings"]["wsSettings"] == {"path": "/a?ed=2048", "host": "h.example"}


def test_a_pinned_certificate_makes_insecure_needless() -> None:
    tls = proxy(f"vless://{ID}@a.example:1?security=tls&allowInsecure=1&pcs={'ab' * 32}")[
        "streamSettings"
    ]["tlsSettings"]
    assert tls == {"pinnedPeerCertSha256": "ab" * 32}
    tls = proxy(f"vless://{ID}@a.example:1?security=tls&allowInsecure=1")["streamSettings"][
        "tlsSettings"
    ]
    assert tls == {"allowInsecure": True}


def test_shadowsocks_may_carry_udp_inside_tcp() -> None:
    server = proxy("ss://aes-128-gcm:pw@a.example:1?uot=1")["settings"]["servers"][0]
    assert server == {
        "address": "a.example",
        "port": 1,
        "method": "aes-128-gcm",
        "password": "pw",
        "uot": True,
    }


def test_mkcp_has_its_header_and_seed() -> None:
    found = proxy(f"vless://{ID}@a.example:1?type=kcp&headerType=srtp&seed=s")
    assert found["streamSettings"]["kcpSettings"] == {"header": {"type": "srtp"}, "seed": "s"}


def test_tcp_may_begin_like_http() -> None:
    found = proxy(f"vless://{ID}@a.example:1?type=tcp&headerType=http&host=a.example,b.example")
    request = found["streamSettings"]["tcpSettings"]["header"]["request"]
    assert request == {"path": ["/"], "headers": {"Host": ["a.example", "b.example"]}}


def test_hysteria2_and_its_mask() -> None:
    found = proxy("hysteria2://pw@a.example:443?obfs=salamander&obfs-password=o&sni=s.example")
    assert found["settings"] == {"version": 2, "address": "a.example", "port": 443}
    assert found["streamSettings"] == {
        "network": "hysteria",
        "hysteriaSettings": {"version": 2, "auth": "pw"},
        "security": "tls",
        "tlsSettings": {"serverName": "s.example", "alpn": ["h3"]},
        "finalmask": {"udp": [{"type": "salamander", "settings": {"password": "o"}}]},
    }


def test_wireguard() -> None:
    found = proxy(f"wireguard://{KEY}@[2001:db8::1]:51820?publickey={KEY}&address=10.0.0.2")
    assert found["settings"] == {
        "secretKey": KEY,
        "address": ["10.0.0.2/32"],
        "peers": [
            {
                "endpoint": "[2001:db8::1]:51820",
                "publicKey": KEY,
                "allowedIPs": ["0.0.0.0/0", "::/0"],
            }
        ],
    }


@pytest.mark.parametrize(
    ("link", "users"),
    [("socks5://a.example:1", None), ("http://u:p@a.example:1", [{"user": "u", "pass": "p"}])],
)
def test_socks_and_http_with_and_without_a_user(
    link: str, users: list[dict[str, str]] | None
) -> None:
    assert proxy(link)["settings"]["servers"][0].get("users") == users


@pytest.mark.parametrize(
    "link",
    [
        f"vless://{ID}@a.example:1?type=http&security=tls",
        f"vless://{ID}@a.example:1?type=quic",
        "ss://aes-128-cfb:pw@a.example:1",
        "ss://aes-128-gcm:pw@a.example:1?plugin=obfs-local%3Bobfs%3Dhttp",
        "hysteria2://pw@a.example:1?obfs=gecko&obfs-password=x",
        f"tuic://{ID}:pw@a.example:1",
        "anytls://pw@a.example:1",
    ],
)
def test_servers_that_it_cannot_express_are_left_out(link: str) -> None:
    assert configs(link) == []


def test_the_pins_of_a_link_are_all_there() -> None:
    pins = f"{'ab' * 32},{'cd' * 32}"
    found = proxy(f"vless://{ID}@a.example:1?security=tls&pcs={pins}")
    assert found["streamSettings"]["tlsSettings"] == {"pinnedPeerCertSha256": pins}


def test_a_name_to_look_for_makes_insecure_needless() -> None:
    found = proxy(f"vless://{ID}@a.example:1?security=tls&insecure=1&vcn=v.example")
    assert found["streamSettings"]["tlsSettings"] == {"verifyPeerCertByName": "v.example"}


def test_the_masks_of_hysteria2_are_put_together() -> None:
    mask = '{"udp":[{"type":"noise"}],"quicParams":{"congestion":"bbr","udpHop":{"ports":"1-2"}}}'
    found = proxy(f"hysteria2://pw@a.example:1?obfs=salamander&obfs-password=o&up=5&fm={mask}")
    assert found["streamSettings"]["finalmask"] == {
        "udp": [{"type": "salamander", "settings": {"password": "o"}}, {"type": "noise"}],
        "quicParams": {"congestion": "bbr", "udpHop": {"ports": "1-2"}, "brutalUp": "5 mbps"},
    }


@pytest.mark.parametrize(
    "link",
    [
        f"vless://{ID}@a.example:1?type=ws&path=%2F%3Fed%3D8&eh=X",
        f"vless://{ID}@a.example:1?security=tls&disable_sni=1",
        f"vless://{ID}@a.example:1?security=tls&pcs=short",
        f"hysteria2://pw@a.example:1?security=reality&pbk={PBK}",
        "hysteria2://pw@a.example:1?pinSHA256=oaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaE%3D",
        f"wireguard://{KEY}@a.example:1?publickey={KEY}&s1=4",
        "ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin",
    ],
)
def test_servers_that_it_would_dial_in_another_way_are_left_out(link: str) -> None:
    assert configs(link) == []
