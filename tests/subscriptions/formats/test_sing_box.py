"""The JSON of sing-box. ``test_cores`` checks it with the core itself, and ``test_traffic`` with requests."""

import json
from typing import Any

import pytest

from subscriptions import links
from subscriptions.formats import render

ID = "11111111-2222-4333-8444-555555555555"
PBK = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
KEY = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="


def config(*raws: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render("sing-box", [links.parse(raw) for raw in raws]))
    return found


def outbound(raw: str) -> dict[str, Any]:
    found: dict[str, Any] = config(raw)["outbounds"][2]
    return found


class TestDocument:
    def test_phones_get_their_tunnel(self) -> None:
        assert [each["type"] for each in config()["inbounds"]] == ["tun"]

    def test_there_is_a_choice_and_the_fastest(self) -> None:
        groups = config("trojan://pw@a.example:1#A", "anytls://pw@b.example:1#B")["outbounds"][:2]
        assert [(each["type"], each["tag"], each["outbounds"]) for each in groups] == [
            ("selector", "Proxy", ["Auto", "A", "B"]),
            ("urltest", "Auto", ["A", "B"]),
        ]

    def test_without_servers_everything_goes_out_directly(self) -> None:
        assert config()["outbounds"] == [
            {"type": "selector", "tag": "Proxy", "outbounds": ["direct"]},
            {"type": "direct", "tag": "direct"},
        ]

    def test_names_are_looked_up_behind_the_tunnel_but_the_servers_own_are_not(self) -> None:
        found = config("trojan://pw@a.example:1#A")
        assert found["dns"]["servers"][0]["detour"] == "Proxy"
        assert found["route"]["default_domain_resolver"] == "dns-local"

    def test_wireguard_is_an_endpoint_and_part_of_the_choice(self) -> None:
        found = config(
            f"wireguard://{KEY}@a.example:51820?publickey={KEY}&address=10.0.0.2&reserved=1,2,3#W"
        )
        assert found["outbounds"][0]["outbounds"] == ["Auto", "W"]
        assert found["endpoints"] == [
            {
                "type": "wireguard",
                "tag": "W",
                "address": ["10.0.0.2/32"],
                "private_key": KEY,
                "peers": [
                    {
                        "address": "a.example",
                        "port": 51820,
                        "public_key": KEY,
                        "allowed_ips": ["0.0.0.0/0", "::/0"],
                        "reserved": [1, 2, 3],
                    }
                ],
            }
        ]


class TestOutbounds:
    def test_vless_with_reality(self) -> None:
        link = f"vless://{ID}@a.example:443?security=reality&sni=s.example&pbk={PBK}&sid=12e4&flow=xtls-rprx-vision-udp443#A"
        assert outbound(link) == {
            "type": "vless",
            "tag": "A",
            "server": "a.example",
            "server_port": 443,
            "uuid": ID,
            "flow": "xtls-rprx-vision",
            "packet_encoding": "xudp",
            "tls": {
                "enabled": True,
                "server_name": "s.example",
                "utls": {"enabled": True, "fingerprint": "chrome"},
                "reality": {"enabled": True, "public_key": PBK, "short_id": "12e4"},
            },
        }

    def test_ports_to_hop_between_are_ranges_with_colons(self) -> None:
        found = outbound("hysteria2://pw@a.example:443?mport=443,5000-6000&mportHopInt=30")
        assert (found["server_ports"], found["hop_interval"]) == (["443:443", "5000:6000"], "30s")

    def test_a_path_with_a_bad_escape_is_mended(self) -> None:
        found = outbound(f"vless://{ID}@a.example:1?type=ws&path=%2F%25zz")
        assert found["transport"]["path"] == "/%25zz"

    def test_a_plugin_of_shadowsocks_is_written_as_its_standard_says(self) -> None:
        found = outbound(
            "ss://aes-128-gcm:pw@a.example:1?plugin=obfs-local%3Bobfs%3Dhttp%3Bobfs-host%3Da%5C%3Bb"
        )
        assert (found["plugin"], found["plugin_opts"]) == (
            "obfs-local",
            "obfs=http;obfs-host=a\\;b",
        )

    def test_v2ray_plugin_is_told_its_mode_and_whether_many_share_a_connection(self) -> None:
        found = outbound(
            "ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin%3Btls%3Bhost%3Dh%3Bmux%3D0"
        )
        assert found["plugin_opts"] == "tls;mode=websocket;host=h;mux=0"

    def test_early_data_moves_out_of_the_path(self) -> None:
        found = outbound(f"vless://{ID}@a.example:1?type=ws&path=%2Fa%3Fed%3D2048&host=h.example")
        assert found["transport"] == {
            "type": "ws",
            "path": "/a",
            "headers": {"Host": "h.example"},
            "max_early_data": 2048,
            "early_data_header_name": "Sec-WebSocket-Protocol",
        }

    def test_shadowsocks_may_carry_udp_inside_tcp(self) -> None:
        assert outbound("ss://aes-128-gcm:pw@a.example:1?uot=1")["udp_over_tcp"] is True
        assert "udp_over_tcp" not in outbound("ss://aes-128-gcm:pw@a.example:1")

    def test_tuic_offers_http3_where_the_link_names_nothing(self) -> None:
        assert outbound(f"tuic://{ID}:pw@a.example:1")["tls"]["alpn"] == ["h3"]

    def test_the_version_of_socks_is_a_text(self) -> None:
        assert outbound("socks5://u:p@a.example:1")["version"] == "5"


@pytest.mark.parametrize(
    "link",
    [
        f"vless://{ID}@a.example:1?type=ws&path=%2Fa%3Fb%3D1",
        f"vless://{ID}@a.example:1?type=httpupgrade&path=%2Fa%3Fb%3D1",
        f"vless://{ID}@a.example:1?type=ws&path=%2Fa%23b",
        f"vless://{ID}@a.example:1?type=http&security=tls&path=%2Fa%3Fb",
        f"vless://{ID}@a.example:1?type=grpc&security=tls&sni=s&authority=other",
        f"vless://{ID}@a.example:1?type=grpc&serviceName=%2Fa%2Fb",
        f"vless://{ID}@a.example:1?security=tls&pcs={'ab' * 32}",
        f"vless://{ID}@a.example:1?security=tls&insecure=1&pcs={'ab' * 32}",
        f"vless://{ID}@a.example:1?security=tls&vcn=other.example",
        f"vless://{ID}@a.example:1?security=tls&ech=h%2Bhttps%3A%2F%2F1.1.1.1%2Fdns-query",
        f"vless://{ID}@a.example:1?fm=%7B%22tcp%22%3A%5B%7B%22type%22%3A%22sudoku%22%7D%5D%7D",
        "socks5://u:p@a.example:1?tls=1",
        f"http://u:p@a.example:1?security=reality&pbk={PBK}",
        "ss://aes-128-gcm:pw@a.example:1?type=ws&security=tls&insecure=1",
        "ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin%3Btls%3Binsecure",
        "ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin%3Bpath%3D%2Fa%3Fb",
        f"wireguard://{KEY}@a.example:1?publickey={KEY}&jc=4",
        f"vless://{ID}@a.example:1?type=xhttp&security=tls",
        f"vless://{ID}@a.example:1?type=kcp",
        f"vless://{ID}@a.example:1?type=http",
        f"vless://{ID}@a.example:1?type=tcp&headerType=http&security=tls",
        f"vless://{ID}@a.example:1?encryption=mlkem768x25519plus.native.0rtt.{PBK}",
        "ss://aes-128-ccm:pw@a.example:1",
        "ss://aes-128-gcm:pw@a.example:1?plugin=shadow-tls%3Bhost%3Dh",
        "hysteria://a.example:1?protocol=faketcp&upmbps=5&downmbps=9",
        "ssr://YS5leGFtcGxlOjE6b3JpZ2luOmFlcy0xMjgtY3RyOnBsYWluOmNIYw",
    ],
)
def test_servers_that_it_cannot_express_are_left_out(link: str) -> None:
    found = config(link)
    assert [each["type"] for each in found["outbounds"]] == ["selector", "direct"]
    assert "endpoints" not in found
