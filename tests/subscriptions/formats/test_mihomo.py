"""The YAML of mihomo. ``test_cores`` checks it with the core itself, and ``test_traffic`` with requests."""

import logging
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
import yaml

from subscriptions import links
from subscriptions.formats import mihomo, render
from subscriptions.links import Node

ID = "11111111-2222-4333-8444-555555555555"
KEY = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8%3D"
PBK = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"


def config(*raws: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render("mihomo", [links.parse(raw) for raw in raws]))
    return found


def proxy(raw: str) -> dict[str, Any]:
    found: dict[str, Any] = config(raw)["proxies"][0]
    return found


def names(*raws: str) -> list[str]:
    return [each["name"] for each in config(*raws)["proxies"]]


class TestDocument:
    def test_it_begins_with_what_every_reader_looks_for(self) -> None:
        assert (
            "\nproxies:\n  - {"
            in render("mihomo", [links.parse("trojan://pw@a.example:1#A")]).decode()
        )

    def test_there_is_a_choice_and_the_fastest(self) -> None:
        groups = config("trojan://pw@a.example:1#A", "trojan://pw@b.example:1#B")["proxy-groups"]
        assert [(each["name"], each["type"], each["proxies"]) for each in groups] == [
            ("Proxy", "select", ["Auto", "A", "B"]),
            ("Auto", "url-test", ["A", "B"]),
        ]

    def test_everything_goes_through_the_choice(self) -> None:
        assert config("trojan://pw@a.example:1#A")["rules"] == ["MATCH,Proxy"]

    def test_without_servers_everything_goes_out_directly(self) -> None:
        found = config()
        assert found["proxies"] == []
        assert found["proxy-groups"] == [{"name": "Proxy", "type": "select", "proxies": ["DIRECT"]}]

    @pytest.mark.parametrize(
        "text",
        [
            "1e5",
            "12e4",
            "null",
            "yes",
            "~",
            "0x1F",
            "2001-01-01",
            "'",
            '"',
            "\\",
            "a: b #c",
            "\U0001f1e9\U0001f1ea",
        ],
    )
    def test_every_text_stays_what_it_is(self, text: str) -> None:
        node = msgspec.structs.replace(
            links.parse("trojan://pw@a.example:1"),
            remark=text,
            params={"security": "tls", "password": text},
        )
        found = yaml.safe_load(render("mihomo", [node]))["proxies"][0]
        assert (found["name"], found["password"]) == (text, text)

    @pytest.mark.parametrize("text", ["a\u2028b", "a\u0085b", "a\x7fb", "a\ufeffb", "a\uffffb"])
    def test_line_breaks_of_yaml_are_escaped(self, text: str) -> None:
        node = msgspec.structs.replace(
            links.parse("trojan://pw@a.example:1"), params={"security": "tls", "password": text}
        )
        assert yaml.safe_load(render("mihomo", [node]))["proxies"][0]["password"] == text


class TestNames:
    def test_equal_ones_get_numbers(self) -> None:
        link = "trojan://pw@a.example:1#A"
        assert names(link, link, link.lower(), "trojan://pw@a.example:1#A%202") == [
            "A",
            "A 2",
            "a 3",
            "A 2 2",
        ]

    @pytest.mark.parametrize(
        "name", ["DIRECT", "REJECT", "GLOBAL", "PASS", "COMPATIBLE", "Proxy", "Auto", "direct"]
    )
    def test_a_name_that_means_something_to_a_core_is_not_given(self, name: str) -> None:
        assert names(f"trojan://pw@a.example:1#{name}") == [f"{name} 2"]

    def test_a_server_without_one_is_called_by_its_address(self) -> None:
        assert names("trojan://pw@[2001:db8::1]:443") == ["trojan [2001:db8::1]:443"]


class TestOneBadServer:
    def test_is_left_out_and_logged_without_its_secrets(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        good = links.parse("trojan://pw@a.example:1#A")
        bad = msgspec.structs.replace(
            good, params={"security": "tls", "secret": "s3cret"}, server="b.example", remark="B"
        )
        with caplog.at_level(logging.WARNING):
            assert render("mihomo", [bad, good]) == render("mihomo", [good])
        assert "trojan b.example:1 is left out" in caplog.text
        assert "s3cret" not in caplog.text

    def test_half_a_character_costs_no_more_than_its_server(self) -> None:
        good = links.parse("trojan://pw@a.example:1#A")
        bad = msgspec.structs.replace(good, params={"security": "tls", "password": "\ud800"})
        assert render("mihomo", [bad, good]).count(b'"server"') == 1

    def test_an_error_of_the_writer_costs_no_more_than_its_server(self) -> None:
        nodes = [links.parse("trojan://pw@a.example:1#A"), links.parse("anytls://pw@a.example:1#B")]
        with patch.dict(mihomo.proxies._PROTOCOLS, {"trojan": lambda _: 1 / 0}):
            assert b'"B"' in render("mihomo", nodes)


class TestProxies:
    def test_vless_with_reality(self) -> None:
        link = f"vless://{ID}@a.example:443?security=reality&sni=s.example&pbk={PBK}&sid=12e4&fp=firefox&flow=xtls-rprx-vision#A"
        assert proxy(link) == {
            "name": "A",
            "type": "vless",
            "server": "a.example",
            "port": 443,
            "udp": True,
            "uuid": ID,
            "flow": "xtls-rprx-vision",
            "packet-encoding": "xudp",
            "tls": True,
            "servername": "s.example",
            "client-fingerprint": "firefox",
            "reality-opts": {"public-key": PBK, "short-id": "12e4"},
        }

    def test_vmess_always_has_its_cipher_and_alter_id(self) -> None:
        found = proxy(f"vmess://{ID}@a.example:443?type=tcp")
        assert (found["alterId"], found["cipher"]) == (0, "auto")

    def test_early_data_moves_out_of_the_path(self) -> None:
        found = proxy(
            f"vless://{ID}@a.example:443?security=tls&type=ws&path=%2Fa%3Fx%3D1%26ed%3D2048&host=h.example"
        )
        assert found["ws-opts"] == {
            "path": "/a?x=1",
            "headers": {"Host": "h.example"},
            "max-early-data": 2048,
            "early-data-header-name": "Sec-WebSocket-Protocol",
        }

    @pytest.mark.parametrize(
        ("query", "host"),
        [
            ("type=ws&host=h.example&security=tls&sni=s.example", "h.example"),
            ("type=ws&security=tls&sni=s.example", "s.example"),
            ("type=ws&sni=s.example", "a.example"),
            ("type=httpupgrade", "a.example"),
        ],
    )
    def test_a_request_asks_for_the_host_that_xray_would(self, query: str, host: str) -> None:
        found = proxy(f"vless://{ID}@a.example:443?{query}")
        assert found["ws-opts"]["headers"] == {"Host": host}

    def test_a_name_of_grpc_is_escaped_as_xrays_server_has_it(self) -> None:
        names = {"svc": "svc", "a/b": "a%2Fb", "@C,@D": "@C%2C@D", "/a/b|c": "/a/b", "": "//Tun"}
        for given, written in names.items():
            found = proxy(f"vless://{ID}@a.example:443?type=grpc&serviceName={given}")
            assert found["grpc-opts"] == {"grpc-service-name": written}

    def test_without_a_server_name_the_transports_host_is_asked_for(self) -> None:
        assert (
            proxy(f"vless://{ID}@192.0.2.1:443?security=tls&type=ws&host=h.example")["servername"]
            == "h.example"
        )

    def test_xhttp_takes_over_what_mihomo_knows_of_extra(self) -> None:
        extra = '{"xPaddingBytes":"100-1000","noGRPCHeader":true,"headers":{"A":"b"},"xmux":{"maxConcurrency":"16-32","cMaxReuseTimes":null}}'
        found = proxy(
            f"vless://{ID}@a.example:443?security=tls&type=xhttp&path=%2Fx&mode=packet-up&extra={extra}"
        )
        assert found["xhttp-opts"] == {
            "path": "/x",
            "mode": "packet-up",
            "x-padding-bytes": "100-1000",
            "no-grpc-header": True,
            "headers": {"A": "b"},
            "reuse-settings": {"max-concurrency": "16-32"},
        }

    @pytest.mark.parametrize("wrong", ['"5-1"', '"0-0"', "0", '"a"', "null", "{}"])
    def test_a_wrong_range_of_xhttp_is_left_out_for_it_would_cost_the_list(
        self, wrong: str
    ) -> None:
        extra = f'{{"scMaxEachPostBytes":{wrong},"scMinPostsIntervalMs":{wrong}}}'
        found = proxy(f"vless://{ID}@a.example:443?security=tls&type=xhttp&extra={extra}")
        assert found["xhttp-opts"] == {"path": "/", "mode": "auto"}

    @pytest.mark.parametrize(
        ("given", "period"),
        [("30", {"h-keep-alive-period": 30}), ('"5-6"', {"h-keep-alive-period": 5}), ("-1", {})],
    )
    def test_how_often_xhttp_says_that_it_lives_is_one_number(
        self, given: str, period: dict[str, int]
    ) -> None:
        extra = f'{{"xmux":{{"maxConcurrency":0,"hKeepAlivePeriod":{given}}}}}'
        found = proxy(f"vless://{ID}@a.example:443?security=tls&type=xhttp&extra={extra}")
        assert found["xhttp-opts"]["reuse-settings"] == {"max-concurrency": "0", **period}

    def test_xhttp_puts_its_parts_where_the_server_looks_for_them(self) -> None:
        extra = '{"xPaddingObfsMode":true,"xPaddingKey":"k","sessionPlacement":"header","seqKey":7,"uplinkChunkSize":"5-9","sessionIDTable":"base62","sessionIDLength":20}'
        found = proxy(f"vless://{ID}@a.example:443?security=tls&type=xhttp&extra={extra}")
        assert found["xhttp-opts"] == {
            "path": "/",
            "mode": "auto",
            "x-padding-obfs-mode": True,
            "x-padding-key": "k",
            "session-placement": "header",
            "uplink-chunk-size": "5-9",
            "session-table": "base62",
            "session-length": "20",
        }

    def test_hopping_ports_and_the_pin_of_hysteria2(self) -> None:
        found = proxy(f"hysteria2://pw@a.example:443?mport=443,5000-6000&pinSHA256={'AB' * 32}")
        assert (found["port"], found["ports"], found["fingerprint"]) == (
            443,
            "443,5000-6000",
            "ab" * 32,
        )

    def test_wireguard_has_one_address_of_each_kind(self) -> None:
        key = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8%3D"
        found = proxy(
            f"wireguard://{key}@a.example:1?publickey={key}&address=10.0.0.2,fd00::2/128&reserved=1,2,3"
        )
        assert (found["ip"], found["ipv6"], found["reserved"]) == (
            "10.0.0.2/32",
            "fd00::2/128",
            [1, 2, 3],
        )

    def test_a_plugin_of_shadowsocks(self) -> None:
        found = proxy(
            "ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin%3Btls%3Bhost%3Dh.example%3Bpath%3D%2Fp"
        )
        assert found["plugin"] == "v2ray-plugin"
        assert found["plugin-opts"] == {
            "mode": "websocket",
            "tls": True,
            "host": "h.example",
            "path": "/p",
            "mux": True,
        }

    def test_many_connections_in_one_are_off_where_the_link_says_so(self) -> None:
        found = proxy("ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin%3Bmux%3D0")
        assert (found["plugin-opts"]["mode"], found["plugin-opts"]["mux"]) == ("websocket", False)

    @pytest.mark.parametrize(
        "plugin", ["v2ray-plugin", "v2ray-plugin%3Btls", "obfs-local%3Bobfs%3Dhttp"]
    )
    def test_a_plugin_without_a_host_asks_for_its_own(self, plugin: str) -> None:
        found = proxy(f"ss://aes-128-gcm:pw@a.example:1?plugin={plugin}")
        assert found["plugin-opts"]["host"] == "cloudfront.com"

    def test_shadowsocks_may_carry_udp_inside_tcp(self) -> None:
        assert proxy("ss://aes-128-gcm:pw@a.example:1?uot=1")["udp-over-tcp"] is True
        assert "udp-over-tcp" not in proxy("ss://aes-128-gcm:pw@a.example:1")


@pytest.mark.parametrize(
    "link",
    [
        f"vless://{ID}@a.example:1?type=ws&path=%2F%2Fa",
        f"vless://{ID}@a.example:1?type=http&security=tls&path=%2Fa%3Fb",
        f"vless://{ID}@a.example:1?type=xhttp&security=tls&path=%2Fa%3Fb",
        f"vless://{ID}@a.example:1?type=grpc&security=tls&sni=s&authority=other",
        f"vless://{ID}@a.example:1?type=grpc&serviceName=%2Fa%2Fb&mode=multi",
        f"vless://{ID}@a.example:1?security=tls&disable_sni=1",
        f"vless://{ID}@a.example:1?security=tls&ech=nothing",
        f"vless://{ID}@a.example:1?security=tls&pcs=short",
        f"vless://{ID}@a.example:1?security=tls&vcn=other.example",
        f"vless://{ID}@a.example:1?fm=%7B%22tcp%22%3A%5B%7B%22type%22%3A%22sudoku%22%7D%5D%7D",
        f"vless://{ID}@a.example:1?type=xhttp&security=tls&extra=%7B%22unheardOf%22%3A1%7D",
        "hysteria2://pw@a.example:1?fm=%7B%22udp%22%3A%5B%7B%22type%22%3A%22xdns%22%7D%5D%7D",
        "socks5://u:p@a.example:1?security=tls&sni=other.example",
        "https://u:p@a.example:1?ech=AAAA",
        "ss://aes-128-gcm:pw@a.example:1?security=tls",
        "ss://aes-128-gcm:pw@a.example:1?type=grpc",
        "ss://aes-128-gcm:pw@a.example:1?type=ws&security=tls&host=h&sni=s",
        "ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin&type=ws",
        "ss://aes-128-gcm:pw@a.example:1?plugin=v2ray-plugin%3Bcert%3Dx",
        f"wireguard://{KEY}@a.example:1?publickey={KEY}&address=10.0.0.2,10.0.0.3",
        f"wireguard://{KEY}@a.example:1?publickey={KEY}&mtu=67",
        f"wireguard://{KEY}@a.example:1?publickey={KEY}&mtu=1279&address=fd00::2",
        f"vless://{ID}@a.example:1?type=kcp",
        f"vless://{ID}@a.example:1?type=quic",
        f"vless://{ID}@a.example:1?type=http",
        f"vmess://{ID}@a.example:1?type=xhttp&security=tls",
        "trojan://pw@a.example:1?type=xhttp",
        "trojan://pw@a.example:1?type=http",
        "trojan://pw@a.example:1?security=none",
        "trojan://pw@a.example:1?type=tcp&headerType=http",
        "ss://aes-128-gcm:pw@a.example:1?plugin=kcptun%3Bx%3Dy",
        f"vless://{ID}@a.example:1?type=xhttp&security=tls&extra=%7B%22downloadSettings%22%3A%7B%22a%22%3A1%7D%7D",
    ],
)
def test_servers_that_it_cannot_express_are_left_out(link: str) -> None:
    assert config(link)["proxies"] == []


@pytest.mark.parametrize("kind", ["udp", "wechat-video", "faketcp"])
def test_it_knows_the_transports_of_the_first_hysteria(kind: str) -> None:
    node: Node = links.parse(f"hysteria://a.example:1?protocol={kind}&upmbps=5&downmbps=9")
    assert mihomo.entry(node, "")["protocol"] == kind
