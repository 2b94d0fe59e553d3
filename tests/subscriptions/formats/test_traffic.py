"""A request from end to end: a real server, our configuration in a real client, all on the loopback interface.

The page has a name that only the server can resolve, so no client reaches it without the server.
"""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import yaml

from subscriptions import formats, links
from subscriptions.links import Node
from tests.ports import free_ports
from tests.subscriptions.formats.cores import (
    MIHOMO,
    SING_BOX,
    V2RAY,
    needs_mihomo,
    needs_sing_box,
    needs_v2ray,
)
from tests.subscriptions.formats.running import fetch, running

pytestmark = [needs_sing_box, pytest.mark.slow]

ID = "11111111-2222-4333-8444-555555555555"
PAGE = "through the tunnel"
KEY = "AAECAwQFBgcICQoLDA0ODw=="
USER = {"uuid": ID}
WORD = {"password": "1e5"}
MASK = '{"udp":[{"type":"salamander","settings":{"password":"12e4"}}]}'
TLS = "security=tls&insecure=1&allowInsecure=1&allow_insecure=1&sni=localhost"


class Kind(NamedTuple):
    """An inbound of the server, and the link to it. ``{at}``: host and port; ``alpn``: what the server requires."""

    inbound: dict[str, Any]
    link: str
    tls: bool = False
    alpn: tuple[str, ...] = ()


KINDS = {
    "vless": Kind({"type": "vless", "users": [USER]}, f"vless://{ID}@{{at}}?type=tcp"),
    "vless over WebSocket with early data": Kind(
        {
            "type": "vless",
            "users": [USER],
            "transport": {
                "type": "ws",
                "path": "/a b",
                "max_early_data": 2048,
                "early_data_header_name": "Sec-WebSocket-Protocol",
            },
        },
        f"vless://{ID}@{{at}}?type=ws&path=%2Fa%2520b%3Fed%3D2048&host=cdn.example",
    ),
    "vless over HTTPUpgrade": Kind(
        {"type": "vless", "users": [USER], "transport": {"type": "httpupgrade", "path": "/up"}},
        f"vless://{ID}@{{at}}?type=httpupgrade&path=%2Fup&host=cdn.example",
    ),
    "vless over gRPC": Kind(
        {"type": "vless", "users": [USER], "transport": {"type": "grpc", "service_name": "svc"}},
        f"vless://{ID}@{{at}}?type=grpc&serviceName=svc&{TLS}",
        tls=True,
    ),
    "vless with Vision": Kind(
        {"type": "vless", "users": [USER | {"flow": "xtls-rprx-vision"}]},
        f"vless://{ID}@{{at}}?type=tcp&flow=xtls-rprx-vision&{TLS}",
        tls=True,
    ),
    "vmess": Kind(
        {"type": "vmess", "users": [USER]}, f"vmess://{ID}@{{at}}?type=tcp&encryption=aes-128-gcm"
    ),
    "vmess over HTTP/2": Kind(
        {
            "type": "vmess",
            "users": [USER],
            "transport": {"type": "http", "path": "/h2", "host": ["cdn.example"]},
        },
        f"vmess://{ID}@{{at}}?type=http&path=%2Fh2&host=cdn.example&{TLS}",
        tls=True,
    ),
    "trojan": Kind({"type": "trojan", "users": [WORD]}, f"trojan://1e5@{{at}}?{TLS}", tls=True),
    "trojan over WebSocket": Kind(
        {"type": "trojan", "users": [WORD], "transport": {"type": "ws", "path": "/t"}},
        f"trojan://1e5@{{at}}?type=ws&path=%2Ft&{TLS}",
        tls=True,
    ),
    "trojan over WebSocket in the words of 2020": Kind(
        {"type": "trojan", "users": [WORD], "transport": {"type": "ws", "path": "/t"}},
        "trojan://1e5@{at}?ws=1&wspath=%2Ft&peer=localhost&allowInsecure=true",
        tls=True,
    ),
    "vless over WebSocket, whose link offers HTTP/2": Kind(
        {"type": "vless", "users": [USER], "transport": {"type": "ws", "path": "/"}},
        f"vless://{ID}@{{at}}?Type=WS&alpn=h2%2Chttp%2F1.1&{TLS}",
        tls=True,
        alpn=("h2", "http/1.1"),
    ),
    "trojan over HTTPUpgrade, whose link offers HTTP/2": Kind(
        {"type": "trojan", "users": [WORD], "transport": {"type": "httpupgrade", "path": "/"}},
        f"trojan://1e5@{{at}}?type=http-upgrade&alpn=h2&{TLS}",
        tls=True,
        alpn=("h2", "http/1.1"),
    ),
    "shadowsocks": Kind(
        {"type": "shadowsocks", "method": "chacha20-ietf-poly1305", **WORD},
        "ss://chacha20-ietf-poly1305:1e5@{at}",
    ),
    "shadowsocks of 2022": Kind(
        {"type": "shadowsocks", "method": "2022-blake3-aes-128-gcm", "password": KEY},
        f"ss://2022-blake3-aes-128-gcm:{quote(KEY, safe='')}@{{at}}",
    ),
    "hysteria": Kind(
        {
            "type": "hysteria",
            "up_mbps": 50,
            "down_mbps": 50,
            "obfs": "ob",
            "users": [{"auth_str": "1e5"}],
        },
        f"hysteria://{{at}}?auth=1e5&upmbps=50&downmbps=50&obfs=xplus&obfsParam=ob&alpn=hysteria&{TLS}",
        tls=True,
    ),
    "hysteria2": Kind(
        {"type": "hysteria2", "users": [WORD], "obfs": {"type": "salamander", "password": "12e4"}},
        f"hysteria2://1e5@{{at}}?obfs=salamander&obfs-password=12e4&{TLS}",
        tls=True,
    ),
    "hysteria2 whose disguise is in a mask": Kind(
        {"type": "hysteria2", "users": [WORD], "obfs": {"type": "salamander", "password": "12e4"}},
        f"hysteria2://1e5@{{at}}?fm={quote(MASK)}&upmbps=50&downmbps=100&{TLS}",
        tls=True,
    ),
    "tuic": Kind(
        {"type": "tuic", "users": [USER | WORD]},
        f"tuic://{ID}:1e5@{{at}}?{TLS}",
        tls=True,
        alpn=("h3",),
    ),
    "anytls": Kind({"type": "anytls", "users": [WORD]}, f"anytls://1e5@{{at}}?{TLS}", tls=True),
    "socks": Kind(
        {"type": "socks", "users": [{"username": "007", **WORD}]}, "socks5://007:1e5@{at}"
    ),
    "http": Kind({"type": "http", "users": [{"username": "007", **WORD}]}, "http://007:1e5@{at}"),
}


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    # Python's default of 5 is soon full, and the sixth connection is refused.
    request_queue_size = 128


@contextmanager
def web_page() -> Iterator[int]:
    with Server(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def _key_pair() -> tuple[str, str]:
    """A key and a self-signed certificate for localhost."""
    made = subprocess.run(
        [str(SING_BOX), "generate", "tls-keypair", "localhost"],
        capture_output=True,
        text=True,
        check=True,
    )
    key, certificate = re.findall(r"-----BEGIN.*?-----END[^\n]*", made.stdout, re.DOTALL)
    return key, certificate


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Run one server with an inbound for each kind; yield the links."""
    folder = tmp_path_factory.mktemp("server")
    key, certificate = _key_pair()
    tls = {"enabled": True, "key": key.splitlines(), "certificate": certificate.splitlines()}
    ports = free_ports(len(KINDS))
    with web_page() as page:
        config = {
            "log": {"level": "error"},
            "inbounds": [
                kind.inbound
                | {"tag": name, "listen": "127.0.0.1", "listen_port": port}
                | _tls(kind, tls)
                for (name, kind), port in zip(KINDS.items(), ports, strict=True)
            ],
            "outbounds": [{"type": "direct", "tag": "direct"}],
            "route": {
                "rules": [
                    {
                        "domain": ["page.invalid"],
                        "action": "route",
                        "outbound": "direct",
                        "override_address": "127.0.0.1",
                        "override_port": page,
                    }
                ]
            },
        }
        path = folder / "server.json"
        path.write_text(json.dumps(config))
        over_tcp = [
            port
            for kind, port in zip(KINDS.values(), ports, strict=True)
            if kind.inbound["type"] not in {"hysteria", "hysteria2", "tuic"}
        ]
        with running([str(SING_BOX), "run", "-c", str(path)], over_tcp):
            yield [
                links.parse(f"{kind.link.format(at=f'127.0.0.1:{port}')}#{quote(name)}")
                for (name, kind), port in zip(KINDS.items(), ports, strict=True)
            ]


def _tls(kind: Kind, tls: dict[str, Any]) -> dict[str, Any]:
    return {"tls": tls | {"alpn": list(kind.alpn)}} if kind.tls else {}


def _leave_out_speed_tests(groups: list[dict[str, Any]], members: str) -> None:
    """Speed tests would request a page on the internet through all servers at once."""
    groups[0][members].remove("Auto")
    del groups[1]


def _through_mihomo(nodes: list[Node], folder: Path) -> dict[str, str]:
    """The page through each server in the configuration."""
    config = yaml.safe_load(formats.render("mihomo", nodes))
    names = [each["name"] for each in config["proxies"]]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    del config["mixed-port"]
    _leave_out_speed_tests(config["proxy-groups"], "proxies")
    config["listeners"] = [
        {"name": f"in {name}", "type": "mixed", "listen": "127.0.0.1", "port": port, "proxy": name}
        for name, port in ports.items()
    ]
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    with running([str(MIHOMO), "-d", str(folder), "-f", str(path)], list(ports.values())):
        return {name: fetch(port) for name, port in ports.items()}


def _through_sing_box(nodes: list[Node], folder: Path) -> dict[str, str]:
    config = json.loads(formats.render("sing-box", nodes))
    ours = {"selector", "urltest", "direct"}
    names = [each["tag"] for each in config["outbounds"] if each["type"] not in ours]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    _leave_out_speed_tests(config["outbounds"], "outbounds")
    config["inbounds"] = [
        {"type": "mixed", "tag": f"in {name}", "listen": "127.0.0.1", "listen_port": port}
        for name, port in ports.items()
    ]
    config["route"]["rules"] = [{"inbound": f"in {name}", "outbound": name} for name in names]
    config["route"]["auto_detect_interface"] = False
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    with running([str(SING_BOX), "run", "-c", str(path)], list(ports.values())):
        return {name: fetch(port) for name, port in ports.items()}


@needs_mihomo
def test_mihomo_gets_through_every_kind_of_server(servers: list[Node], tmp_path: Path) -> None:
    assert _through_mihomo(servers, tmp_path) == dict.fromkeys(KINDS, PAGE)


def test_sing_box_gets_through_every_kind_of_server(servers: list[Node], tmp_path: Path) -> None:
    assert _through_sing_box(servers, tmp_path) == dict.fromkeys(KINDS, PAGE)


@pytest.fixture
def shadowsocks_over_websocket(tmp_path: Path) -> Iterator[list[Node]]:
    """A V2Ray server as panels configure it, without and with TLS, and the links that panels write."""
    key, certificate = _key_pair()
    tls = {"certificates": [{"key": key.splitlines(), "certificate": certificate.splitlines()}]}
    streams = [
        {"network": "ws", "wsSettings": {"path": "/ws"}},
        {"network": "ws", "wsSettings": {"path": "/ws"}, "security": "tls", "tlsSettings": tls},
    ]
    ports = free_ports(len(streams))
    settings = {"method": "aes-128-gcm", "password": "1e5", "network": "tcp"}
    with web_page() as page:
        config = {
            "inbounds": [
                {
                    "listen": "127.0.0.1",
                    "port": port,
                    "protocol": "shadowsocks",
                    "settings": settings,
                    "streamSettings": stream,
                }
                for port, stream in zip(ports, streams, strict=True)
            ],
            "outbounds": [{"protocol": "freedom", "settings": {"redirect": f"127.0.0.1:{page}"}}],
        }
        path = tmp_path / "v2ray.json"
        path.write_text(json.dumps(config))
        link = "ss://aes-128-gcm:1e5@127.0.0.1:{}?type=ws&path=%2Fws&host=localhost&security={}#{}"
        with running([str(V2RAY), "-config", str(path)], ports):
            yield [
                links.parse(link.format(ports[0], "none", "plain")),
                links.parse(link.format(ports[1], "tls&allowInsecure=1", "TLS")),
            ]


@needs_v2ray
@needs_mihomo
def test_mihomo_gets_through_shadowsocks_over_websocket(
    shadowsocks_over_websocket: list[Node], tmp_path: Path
) -> None:
    found = _through_mihomo(shadowsocks_over_websocket, tmp_path)
    assert found == {"plain": PAGE, "TLS": PAGE}


@needs_v2ray
def test_sing_box_gets_through_shadowsocks_over_websocket_that_it_can_verify(
    shadowsocks_over_websocket: list[Node], tmp_path: Path
) -> None:
    assert _through_sing_box(shadowsocks_over_websocket, tmp_path) == {"plain": PAGE}
