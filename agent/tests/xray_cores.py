"""A panel's document for a gateway of Xray on loopback, external servers behind it, and people before it: all v2ray."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gateway_apps import Apps, gateway_of
from ports import free_port
from real_cores import running, v2ray, v2ray_api
from singbox_core import Origin

Json = dict[str, Any]


def id_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


class XrayNet(Apps):
    """External servers `s1` and `s2`, both of one v2ray. People come by VLESS and by Trojan."""

    servers = ("s1", "s2")

    def __init__(self, folder: Path, origin: Origin) -> None:
        super().__init__(origin)
        self.api = free_port()
        self.entrances = {
            (way, tag): free_port() for way in ("vless", "trojan") for tag in self.servers
        }
        self.outer = {tag: free_port() for tag in self.servers}
        self._folder = folder
        self._running = ExitStack()
        inbounds = [self._external(tag) for tag in self.servers]
        config = {
            "log": {"loglevel": "none"},
            "inbounds": inbounds,
            "outbounds": [{"protocol": "freedom"}],
        }
        self._running.enter_context(running(v2ray(folder, "outer", config), *self.outer.values()))

    def close(self) -> None:
        self._running.close()

    def document(self, *people: str, servers: tuple[str, ...] = servers) -> Json:
        return {
            **gateway_of(servers, "vless"),
            "own_certificate": "",
            "xray": self._config(people, servers),
        }

    def _config(self, people: tuple[str, ...], servers: tuple[str, ...]) -> Json:
        inbounds = [
            self._way_in(way, tag, people) for way in ("vless", "trojan") for tag in servers
        ]
        rules = [_rule(["api"], "api")]
        rules += [_rule([f"vless-{tag}", f"trojan-{tag}"], tag) for tag in servers]
        return {
            "log": {"access": "none", "loglevel": "warning"},
            "stats": {},
            "api": {"tag": "api", "services": ["HandlerService", "StatsService"]},
            "policy": {"levels": {"0": {"statsUserUplink": True, "statsUserDownlink": True}}},
            "inbounds": [*inbounds, v2ray_api(self.api)],
            "outbounds": [
                {"tag": "rejected", "protocol": "blackhole"},
                *(_vless_to(tag, self.outer[tag], id_of(tag)) for tag in servers),
            ],
            "routing": {"rules": rules},
        }

    def _way_in(self, way: str, tag: str, people: tuple[str, ...]) -> Json:
        users = [*(f"{person}-{tag}" for person in people), "nobody"]
        clients = [{**_credentials(way, user), "email": user} for user in users]
        settings: Json = {"clients": clients}
        return {
            "tag": f"{way}-{tag}",
            "listen": "127.0.0.1",
            "port": self.entrances[way, tag],
            "protocol": way,
            "settings": settings | ({"decryption": "none"} if way == "vless" else {}),
        }

    def add_app(self, *users: str, way: str = "vless") -> None:
        """An app with a SOCKS port for each `person-server`."""
        ports = {user: free_port() for user in users}
        config = {
            "log": {"loglevel": "none"},
            "inbounds": [
                {
                    "protocol": "socks",
                    "tag": user,
                    "listen": "127.0.0.1",
                    "port": port,
                    "settings": {"udp": True, "ip": "127.0.0.1"},
                }
                for user, port in ports.items()
            ],
            "outbounds": [self._to_gateway(user, way) for user in users],
            "routing": {"rules": [_rule([user], f"to-{user}") for user in users]},
        }
        command = v2ray(self._folder, f"app-{users[0]}-{way}", config)
        self._running.enter_context(running(command, *ports.values()))
        self.socks |= ports

    def _to_gateway(self, user: str, way: str) -> Json:
        port = self.entrances[way, user.partition("-")[2]]
        if way == "vless":
            return _vless_to(f"to-{user}", port, id_of(user))
        server = {"address": "127.0.0.1", "port": port, "password": id_of(user)}
        return {"tag": f"to-{user}", "protocol": way, "settings": {"servers": [server]}}

    def _external(self, tag: str) -> Json:
        return {
            "listen": "127.0.0.1",
            "port": self.outer[tag],
            "protocol": "vless",
            "settings": {"clients": [{"id": id_of(tag)}], "decryption": "none"},
        }


def _credentials(way: str, user: str) -> Json:
    return {"id": id_of(user)} if way == "vless" else {"password": id_of(user)}


def _vless_to(tag: str, port: int, identity: str) -> Json:
    users = [{"id": identity, "encryption": "none"}]
    place = {"address": "127.0.0.1", "port": port, "users": users}
    return {"tag": tag, "protocol": "vless", "settings": {"vnext": [place]}}


def _rule(inbounds: list[str], outbound: str) -> Json:
    return {"type": "field", "inboundTag": inbounds, "outboundTag": outbound}
