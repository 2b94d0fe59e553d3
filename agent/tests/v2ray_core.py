"""A real v2ray as a gateway whose users are named person@server, and a v2ray as their app."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from ports import free_port
from real_cores import running, v2ray, v2ray_api

from xpert_agent.sources.base import Key

PAIRS = (Key("alice", "srv-a"), Key("alice", "srv-b"), Key("bob", "srv-a"), Key("bob", "srv-b"))
SERVERS = ("srv-a", "srv-b")


class Gateway:
    """v2ray as server, one inbound per server; and a v2ray as client, one SOCKS port per pair."""

    def __init__(self, folder: Path) -> None:
        self.api = free_port()
        self._folder = folder
        self._inbounds = {server: free_port() for server in SERVERS}
        self.socks = {pair: free_port() for pair in PAIRS}
        self._ids = {person: str(uuid.uuid4()) for person in ("alice", "bob")}

    @contextmanager
    def server(self) -> Iterator[Popen[bytes]]:
        inbounds = [self._server_inbound(server) for server in SERVERS]
        rules = [_rule(server, server) for server in SERVERS] + [_rule("api", "api")]
        config = {
            "log": {"loglevel": "none"},
            "stats": {},
            "api": {"tag": "api", "services": ["StatsService"]},
            "policy": {"levels": {"0": {"statsUserUplink": True, "statsUserDownlink": True}}},
            "inbounds": [*inbounds, v2ray_api(self.api)],
            "outbounds": [{"tag": server, "protocol": "freedom"} for server in SERVERS],
            "routing": {"rules": rules},
        }
        command = v2ray(self._folder, "server", config)
        with running(command, self.api, *self._inbounds.values()) as process:
            yield process

    @contextmanager
    def client(self) -> Iterator[None]:
        config = {
            "log": {"loglevel": "none"},
            "inbounds": [
                {"tag": "@".join(pair), "listen": "127.0.0.1", "port": port, "protocol": "socks"}
                for pair, port in self.socks.items()
            ],
            "outbounds": [self._client_outbound(pair) for pair in PAIRS],
            "routing": {"rules": [_rule("@".join(pair), "@".join(pair)) for pair in PAIRS]},
        }
        with running(v2ray(self._folder, "client", config), *self.socks.values()):
            yield

    def _server_inbound(self, server: str) -> dict[str, Any]:
        clients = [{"id": one, "email": f"{name}@{server}"} for name, one in self._ids.items()]
        return {
            "tag": server,
            "listen": "127.0.0.1",
            "port": self._inbounds[server],
            "protocol": "vless",
            "settings": {"clients": clients, "decryption": "none"},
        }

    def _client_outbound(self, pair: Key) -> dict[str, Any]:
        users = [{"id": self._ids[pair.person], "encryption": "none"}]
        place = {"address": "127.0.0.1", "port": self._inbounds[pair.server], "users": users}
        return {"tag": "@".join(pair), "protocol": "vless", "settings": {"vnext": [place]}}


def _rule(inbound: str, outbound: str) -> dict[str, Any]:
    return {"type": "field", "inboundTag": [inbound], "outboundTag": outbound}
