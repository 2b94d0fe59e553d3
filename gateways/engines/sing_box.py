"""The configuration of sing-box 1.14 or newer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateways import credentials
from gateways.models import Gateway, Inbound
from gateways.people import User
from gateways.routes import API_PORT, Way
from subscriptions import links

# The system's resolver: for the names of external servers alone.
_RESOLVER = "system"

Json = dict[str, Any]


def config(
    gateway: Gateway,
    way: Way,
    reached: Mapping[str, links.Node],
    users: Mapping[str, Sequence[User]],
) -> Json:
    """One inbound per protocol for everybody; the name of a user says which server they are led to."""
    ways_out = [way.outbound(node) for node in reached.values()]
    everybody = [user for found in users.values() for user in found]
    tls = _tls(gateway)
    return {
        "log": {"level": "warn"},
        "dns": {"servers": [{"type": "local", "tag": _RESOLVER}]},
        "inbounds": [
            _inbound(way, protocol, port, everybody, tls) for protocol, port in way.inbounds
        ],
        "outbounds": [out for out in ways_out if out and out["type"] != "wireguard"],
        "endpoints": [out for out in ways_out if out and out["type"] == "wireguard"],
        "route": {
            "rules": [*_rules(users), {"action": "reject"}],
            "default_domain_resolver": _RESOLVER,
        },
        "services": [
            {
                "type": "api",
                "listen": "127.0.0.1",
                "listen_port": API_PORT,
                "secret": credentials.api_secret(way.secret),
            }
        ],
        # Without an address: it keeps track of connections, and nobody can call it.
        "experimental": {"clash_api": {}},
    }


def _tls(gateway: Gateway) -> Json:
    certificate, private_key = gateway.certificate_files
    return {"enabled": True, "certificate_path": certificate, "key_path": private_key}


def _reality(way: Way) -> Json:
    """Its agent adds the private key."""
    handshake = {"server": way.reality_name, "server_port": 443}
    return {
        "enabled": True,
        "server_name": way.reality_name,
        "reality": {
            "enabled": True,
            "handshake": handshake,
            "short_id": [credentials.short_id(way.secret)],
        },
    }


def _rules(users: Mapping[str, Sequence[User]]) -> list[Json]:
    """A rule without users would hold for everybody."""
    return [
        {"auth_user": [user.name for user in found], "action": "route", "outbound": tag}
        for tag, found in users.items()
        if found
    ]


def _inbound(way: Way, protocol: str, port: int, users: Sequence[User], tls: Json) -> Json:
    write = _WRITERS[protocol]
    bound = {"type": protocol, "tag": protocol, "listen": "::", "listen_port": port}
    return bound | write(way, users, tls)


def _shadowsocks(way: Way, users: Sequence[User], _tls: Json) -> Json:
    named = [
        {"name": user.name, "password": credentials.shadowsocks_key(user.digest)} for user in users
    ]
    key = credentials.shadowsocks_server_key(way.secret)
    return {"method": credentials.CIPHER, "password": key, "users": named}


def _with_password(_way: Way, users: Sequence[User], tls: Json) -> Json:
    named = [{"name": user.name, "password": credentials.password(user.digest)} for user in users]
    return {"users": named, "tls": tls}


def _vless(way: Way, users: Sequence[User], tls: Json) -> Json:
    named: list[Json] = [
        {"name": user.name, "uuid": credentials.uuid_of(user.digest)} for user in users
    ]
    if not way.reality_name:
        return {"users": named, "tls": tls}
    return {"users": [user | {"flow": credentials.VISION} for user in named], "tls": _reality(way)}


def _tuic(_way: Way, users: Sequence[User], tls: Json) -> Json:
    named = [
        {
            "name": user.name,
            "uuid": credentials.uuid_of(user.digest),
            "password": credentials.password(user.digest),
        }
        for user in users
    ]
    return {"users": named, "congestion_control": "bbr", "tls": tls | {"alpn": ["h3"]}}


_WRITERS: dict[str, Callable[[Way, Sequence[User], Json], Json]] = {
    Inbound.Protocol.SHADOWSOCKS: _shadowsocks,
    Inbound.Protocol.TROJAN: _with_password,
    Inbound.Protocol.VLESS: _vless,
    Inbound.Protocol.HYSTERIA2: _with_password,
    Inbound.Protocol.TUIC: _tuic,
}
