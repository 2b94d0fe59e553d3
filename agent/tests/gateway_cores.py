"""A panel's document for a gateway on loopback, external servers behind it, and people before it."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway_apps import Apps, gateway_of
from ports import free_port, is_open
from real_cores import SING_BOX
from singbox_core import Origin
from waiting import eventually

CIPHER = "2022-blake3-aes-128-gcm"
API_SECRET = "s3cret-of-the-core"


def key_of(name: str) -> str:
    return b64encode(sha256(name.encode()).digest()[:16]).decode()


def running(config: dict[str, Any], path: Path, port: int) -> subprocess.Popen[bytes]:
    """A sing-box from the moment in which it listens."""
    path.write_text(json.dumps(config))
    with path.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen([str(SING_BOX), "run", "-c", str(path)], stderr=log)
    eventually(lambda: is_open(port))
    return process


class Net(Apps):
    """External servers `s1` and `s2`, both of one sing-box; people `p1` and `p2`, each with an app of their own."""

    servers = ("s1", "s2")

    def __init__(self, folder: Path, origin: Origin) -> None:
        super().__init__(origin)
        self.api, self.entrance = free_port(), free_port()
        self.outer = {tag: free_port() for tag in self.servers}
        self._folder = folder
        self._processes = [running(self._external(), folder / "outer.json", self.outer["s1"])]

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait(10)

    def document(self, *people: str, servers: tuple[str, ...] = servers) -> dict[str, Any]:
        users = [f"{person}-{tag}" for person in people for tag in servers]
        return {
            **gateway_of(servers, "shadowsocks"),
            "sing_box": {
                "log": {"level": "warn"},
                "inbounds": [
                    {
                        "type": "shadowsocks",
                        "tag": "shadowsocks",
                        "listen": "127.0.0.1",
                        "listen_port": self.entrance,
                        "method": CIPHER,
                        "password": key_of("gateway"),
                        "users": [{"name": user, "password": key_of(user)} for user in users],
                    }
                ],
                "outbounds": [self._way_to(tag, self.outer[tag], key_of(tag)) for tag in servers],
                "endpoints": [],
                "route": {
                    "rules": [
                        *(
                            {
                                "auth_user": [f"{person}-{tag}" for person in people],
                                "action": "route",
                                "outbound": tag,
                            }
                            for tag in servers
                            if people
                        ),
                        {"action": "reject"},
                    ]
                },
                "services": [
                    {
                        "type": "api",
                        "listen": "127.0.0.1",
                        "listen_port": self.api,
                        "secret": API_SECRET,
                    }
                ],
                "experimental": {"clash_api": {}},
            },
        }

    def add_app(self, *users: str) -> None:
        """An app with a SOCKS port for each `person-server`."""
        ports = {user: free_port() for user in users}
        config = {
            "log": {"level": "error"},
            "inbounds": [
                {"type": "socks", "tag": user, "listen": "127.0.0.1", "listen_port": port}
                for user, port in ports.items()
            ],
            "outbounds": [
                self._way_to(f"to-{user}", self.entrance, f"{key_of('gateway')}:{key_of(user)}")
                for user in users
            ],
            "route": {
                "rules": [
                    {"inbound": [user], "action": "route", "outbound": f"to-{user}"}
                    for user in users
                ]
            },
        }
        path = self._folder / f"app-{users[0]}.json"
        self._processes.append(running(config, path, ports[users[-1]]))
        self.socks |= ports

    def _external(self) -> dict[str, Any]:
        return {
            "log": {"level": "error"},
            "inbounds": [
                {
                    "type": "shadowsocks",
                    "listen": "127.0.0.1",
                    "listen_port": port,
                    "method": CIPHER,
                    "password": key_of(tag),
                }
                for tag, port in reversed(self.outer.items())
            ],
            "outbounds": [{"type": "direct"}],
        }

    def _way_to(self, tag: str, port: int, password: str) -> dict[str, Any]:
        return {
            "type": "shadowsocks",
            "tag": tag,
            "server": "127.0.0.1",
            "server_port": port,
            "method": CIPHER,
            "password": password,
        }
