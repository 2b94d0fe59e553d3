"""A request from end to end: a real server, our configuration in a real client, all on the loopback interface.

The page is asked for under a name that only the server can place: no client gets there without it.
"""

import json
import random
import re
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import yaml

from subscriptions import formats, links
from subscriptions.links import Node

from .cores import MIHOMO, SING_BOX, needs_mihomo, needs_sing_box

pytestmark = needs_sing_box

ID = "11111111-2222-4333-8444-555555555555"
PAGE = "through the tunnel"
KEY = "AAECAwQFBgcICQoLDA0ODw=="
USER = {"uuid": ID}
WORD = {"password": "1e5"}
TLS = "security=tls&insecure=1&allowInsecure=1&allow_insecure=1&sni=localhost"


class Kind(NamedTuple):
    """An inbound of the server, and the link to it; ``{at}``: host and port; ``alpn``: on what the server insists."""

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
    "vmess": Kind({"type": "vmess", "users": [USER]}, f"vmess://{ID}@{{at}}?type=tcp&encryption=aes-128-gcm"),
    "vmess over HTTP/2": Kind(
        {"type": "vmess", "users": [USER], "transport": {"type": "http", "path": "/h2", "host": ["cdn.example"]}},
        f"vmess://{ID}@{{at}}?type=http&path=%2Fh2&host=cdn.example&{TLS}",
        tls=True,
    ),
    "trojan": Kind({"type": "trojan", "users": [WORD]}, f"trojan://1e5@{{at}}?{TLS}", tls=True),
    "trojan over WebSocket": Kind(
        {"type": "trojan", "users": [WORD], "transport": {"type": "ws", "path": "/t"}},
        f"trojan://1e5@{{at}}?type=ws&path=%2Ft&{TLS}",
        tls=True,
    ),
    "shadowsocks": Kind(
        {"type": "shadowsocks", "method": "chacha20-ietf-poly1305", **WORD}, "ss://chacha20-ietf-poly1305:1e5@{at}"
    ),
    "shadowsocks of 2022": Kind(
        {"type": "shadowsocks", "method": "2022-blake3-aes-128-gcm", "password": KEY},
        f"ss://2022-blake3-aes-128-gcm:{quote(KEY, safe='')}@{{at}}",
    ),
    "hysteria": Kind(
        {"type": "hysteria", "up_mbps": 50, "down_mbps": 50, "obfs": "ob", "users": [{"auth_str": "1e5"}]},
        f"hysteria://{{at}}?auth=1e5&upmbps=50&downmbps=50&obfs=xplus&obfsParam=ob&alpn=hysteria&{TLS}",
        tls=True,
    ),
    "hysteria2": Kind(
        {"type": "hysteria2", "users": [WORD], "obfs": {"type": "salamander", "password": "12e4"}},
        f"hysteria2://1e5@{{at}}?obfs=salamander&obfs-password=12e4&{TLS}",
        tls=True,
    ),
    "tuic": Kind({"type": "tuic", "users": [USER | WORD]}, f"tuic://{ID}:1e5@{{at}}?{TLS}", tls=True, alpn=("h3",)),
    "anytls": Kind({"type": "anytls", "users": [WORD]}, f"anytls://1e5@{{at}}?{TLS}", tls=True),
    "socks": Kind({"type": "socks", "users": [{"username": "007", **WORD}]}, "socks5://007:1e5@{at}"),
    "http": Kind({"type": "http", "users": [{"username": "007", **WORD}]}, "http://007:1e5@{at}"),
}


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    # Python's own 5 are soon full, and the sixth is turned away.
    request_queue_size = 128


@contextmanager
def web_page() -> Iterator[int]:
    with Server(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def free_ports(count: int) -> list[int]:
    """Free for TCP and UDP alike, and none that the system gives to clients: those come and go."""
    found: list[int] = []
    for port in random.sample(range(10_000, 32_000), 22_000):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as one:
                one.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


@contextmanager
def running(command: Sequence[str], ports: Sequence[int]) -> Iterator[None]:
    """A core, from the moment in which it answers at all ports (TCP)."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 30
        while not all(map(_answers, ports)):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"The core did not start: {process.communicate()[0][-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def fetch(port: int) -> str:
    """The page, through the proxy at this port. mihomo turns requests away for a moment after it has begun to listen."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{port}"}))
    deadline = time.monotonic() + 20
    while True:
        try:
            with opener.open("http://page.invalid/", timeout=10) as response:
                return str(response.read().decode())
        except OSError as error:
            if time.monotonic() > deadline:
                return repr(error)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """One server with an inbound for each kind; the links to them."""
    folder = tmp_path_factory.mktemp("server")
    made = subprocess.run(
        [str(SING_BOX), "generate", "tls-keypair", "localhost"], capture_output=True, text=True, check=True
    )
    key, certificate = re.findall(r"-----BEGIN.*?-----END[^\n]*", made.stdout, re.DOTALL)
    tls = {"enabled": True, "key": key.splitlines(), "certificate": certificate.splitlines()}
    ports = free_ports(len(KINDS))
    with web_page() as page:
        config = {
            "log": {"level": "error"},
            "inbounds": [
                kind.inbound | {"tag": name, "listen": "127.0.0.1", "listen_port": port} | _tls(kind, tls)
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
    """They would ask a page on the internet, through all servers at once."""
    groups[0][members].remove("Auto")
    del groups[1]


@needs_mihomo
def test_mihomo_gets_through_every_kind_of_server(servers: list[Node], tmp_path: Path) -> None:
    config = yaml.safe_load(formats.render("mihomo", servers))
    ports = dict(zip(KINDS, free_ports(len(KINDS)), strict=True))
    del config["mixed-port"]
    _leave_out_speed_tests(config["proxy-groups"], "proxies")
    config["listeners"] = [
        {"name": f"in {name}", "type": "mixed", "listen": "127.0.0.1", "port": port, "proxy": name}
        for name, port in ports.items()
    ]
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))
    with running([str(MIHOMO), "-d", str(tmp_path), "-f", str(path)], list(ports.values())):
        assert {name: fetch(port) for name, port in ports.items()} == dict.fromkeys(KINDS, PAGE)


def test_sing_box_gets_through_every_kind_of_server(servers: list[Node], tmp_path: Path) -> None:
    config = json.loads(formats.render("sing-box", servers))
    ports = dict(zip(KINDS, free_ports(len(KINDS)), strict=True))
    _leave_out_speed_tests(config["outbounds"], "outbounds")
    config["inbounds"] = [
        {"type": "mixed", "tag": f"in {name}", "listen": "127.0.0.1", "listen_port": port}
        for name, port in ports.items()
    ]
    config["route"]["rules"] = [{"inbound": f"in {name}", "outbound": name} for name in KINDS]
    config["route"]["auto_detect_interface"] = False
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with running([str(SING_BOX), "run", "-c", str(path)], list(ports.values())):
        assert {name: fetch(port) for name, port in ports.items()} == dict.fromkeys(KINDS, PAGE)
