"""The configuration of Xray: a way in for each server and protocol, at a port of its own.

Xray counts by user. While it runs, its users can be changed, but its rules cannot: with a way in for each server, the
rules name no people.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gateways import credentials
from gateways.models import Gateway, Inbound
from gateways.people import User
from gateways.routes import API_PORT, Way
from subscriptions import links

API = "api"
# Nobody has the credentials of this user. Without users, Shadowsocks would let in whoever knows the server's key.
NOBODY = "nobody"

Json = dict[str, Any]


def config(
    gateway: Gateway,
    way: Way,
    reached: Mapping[str, links.Node],
    users: Mapping[str, Sequence[User]],
) -> Json:
    """Servers that have no port yet are not in it. The first outbound takes what has no rule."""
    placed = {tag: node for tag, node in reached.items() if way.slot(tag) is not None}
    counts = {"statsUserUplink": True, "statsUserDownlink": True}
    return {
        # The log of accesses would say what people ask for.
        "log": {"access": "none", "loglevel": "warning"},
        "stats": {},
        "api": {"tag": API, "services": ["HandlerService", "StatsService"]},
        "policy": {"levels": {"0": counts}},
        "inbounds": [*_inbounds(gateway, way, placed, users), _API],
        "outbounds": [_REJECTED, *(way.outbound(node) for node in placed.values())],
        "routing": {"domainStrategy": "AsIs", "rules": list(_rules(way, placed))},
    }


_API = {
    "tag": API,
    "listen": "127.0.0.1",
    "port": API_PORT,
    "protocol": "dokodemo-door",
    "settings": {"address": "127.0.0.1"},
}
_REJECTED = {"tag": "rejected", "protocol": "blackhole"}


def _rules(way: Way, tags: Iterable[str]) -> Iterator[Json]:
    yield {"type": "field", "inboundTag": [API], "outboundTag": API}
    for tag in tags:
        inbounds = [f"{protocol}-{tag}" for protocol, _ in way.inbounds]
        yield {"type": "field", "inboundTag": inbounds, "outboundTag": tag}


def _inbounds(
    gateway: Gateway,
    way: Way,
    placed: Mapping[str, links.Node],
    users: Mapping[str, Sequence[User]],
) -> Iterator[Json]:
    for protocol, first in way.inbounds:
        stream = _stream(gateway, way, protocol)
        for tag in placed:
            everybody = [*users[tag], User(NOBODY, credentials.nobody(way.secret, tag))]
            yield {
                "tag": f"{protocol}-{tag}",
                "listen": "::",
                "port": way.port(first, tag),
                "protocol": protocol,
                "settings": _SETTINGS[protocol](way, everybody),
                **stream,
            }


def _stream(gateway: Gateway, way: Way, protocol: str) -> Json:
    if way.speaks_reality(protocol):
        return {"streamSettings": {"network": "tcp", "security": "reality", "realitySettings": _reality(way)}}  # fmt: skip
    if not way.needs_certificate(protocol):
        return {}
    certificate, private_key = gateway.certificate_files
    files = [{"certificateFile": certificate, "keyFile": private_key}]
    return {"streamSettings": {"network": "tcp", "security": "tls", "tlsSettings": {"certificates": files}}}  # fmt: skip


def _reality(way: Way) -> Json:
    """Its agent adds the private key."""
    return {
        "dest": f"{way.reality_name}:443",
        "serverNames": [way.reality_name],
        "shortIds": [credentials.short_id(way.secret)],
    }


def _shadowsocks(way: Way, users: Sequence[User]) -> Json:
    clients = [
        {"email": user.name, "password": credentials.shadowsocks_key(user.digest)} for user in users
    ]
    key = credentials.shadowsocks_server_key(way.secret)
    return {"method": credentials.CIPHER, "password": key, "clients": clients, "network": "tcp,udp"}


def _trojan(_way: Way, users: Sequence[User]) -> Json:
    return {
        "clients": [
            {"email": user.name, "password": credentials.password(user.digest)} for user in users
        ]
    }


def _vless(way: Way, users: Sequence[User]) -> Json:
    flow = {"flow": credentials.VISION} if way.reality_name else {}
    clients = [
        {"email": user.name, "id": credentials.uuid_of(user.digest), **flow} for user in users
    ]
    return {"clients": clients, "decryption": "none"}


_SETTINGS: dict[str, Callable[[Way, Sequence[User]], Json]] = {
    Inbound.Protocol.SHADOWSOCKS: _shadowsocks,
    Inbound.Protocol.TROJAN: _trojan,
    Inbound.Protocol.VLESS: _vless,
}
