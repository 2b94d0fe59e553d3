"""The configuration of Xray that the panel gives a gateway, and parts of it. Pure.

Each server has an inbound of its own for each protocol, `vless-s0a1b…`, and so each user is one
person on one server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xpert_agent.gateway.documents import Json

Clients = Mapping[str, Json]
"""By user."""

API = "api"
"""The tag of the core's own interface."""
NOBODY = "nobody"
"""A user whose credentials nobody has: without any user, an inbound of Shadowsocks would let everybody in."""


class Way(NamedTuple):
    protocol: str
    server: str


def ways(config: Json) -> Iterator[tuple[Way, Json]]:
    """The inbounds for people."""
    for inbound in config.get("inbounds", ()):
        if inbound["tag"] != API:
            protocol, _, server = inbound["tag"].partition("-")
            yield Way(protocol, server), inbound


def ways_in(config: Json) -> list[str]:
    """The protocols."""
    return sorted({way.protocol for way, _ in ways(config)})


def clients(inbound: Json) -> Clients:
    """Those of people."""
    found = inbound["settings"]["clients"]
    return {one["email"]: one for one in found if one["email"] != NOBODY}


def users(config: Json) -> frozenset[str]:
    """Everybody who is let in."""
    return frozenset(user for _, inbound in ways(config) for user in clients(inbound))


def api_port(config: Json) -> int:
    return next(int(one["port"]) for one in config["inbounds"] if one["tag"] == API)


def at_port(config: Json, port: Callable[[int], int]) -> dict[str, Any]:
    """The same with the core's own interface at another port. `port`: the one for the one that was wanted."""
    inbounds = [
        {**one, "port": port(one["port"])} if one["tag"] == API else one
        for one in config["inbounds"]
    ]
    return {**config, "inbounds": inbounds}


def only_ways_in(config: Json, protocols: Collection[str]) -> dict[str, Any]:
    """The inbounds of these protocols and nothing behind them."""
    return {**limited_to(config, _servers(config), protocols), "outbounds": config["outbounds"][:1]}


def limited_to(
    config: Json, servers: Collection[str], protocols: Collection[str]
) -> dict[str, Any]:
    """The same with these servers and protocols alone. The first outbound takes what has no rule: it rejects."""
    kept = {
        inbound["tag"]: inbound
        for way, inbound in ways(config)
        if way.protocol in protocols and way.server in servers
    }
    return {
        **config,
        "inbounds": [one for one in config["inbounds"] if one["tag"] == API or one["tag"] in kept],
        "outbounds": [
            one
            for number, one in enumerate(config["outbounds"])
            if number == 0 or one["tag"] in servers
        ],
        "routing": {**config["routing"], "rules": list(_rules(config, kept))},
    }


def _rules(config: Json, inbounds: Collection[str]) -> Iterator[Json]:
    for rule in config["routing"]["rules"]:
        tags = [tag for tag in rule["inboundTag"] if tag == API or tag in inbounds]
        if tags:
            yield {**rule, "inboundTag": tags}


def _servers(config: Json) -> set[str]:
    return {way.server for way, _ in ways(config)}


def with_people_of(config: Json, other: Json) -> dict[str, Any]:
    """`config` with the people of `other`, on the inbounds that both have."""
    settings = {inbound["tag"]: inbound["settings"] for _, inbound in ways(other)}
    inbounds = [
        {**one, "settings": settings.get(one["tag"], one["settings"])} for one in config["inbounds"]
    ]
    return {**config, "inbounds": inbounds}


def with_own_keys(config: Json, folder: Path, reality_key: str) -> dict[str, Any]:
    """The same with the key that only the gateway knows, and with whole paths of certificates."""
    inbounds = [_with_own_keys(one, folder, reality_key) for one in config["inbounds"]]
    return {**config, "inbounds": inbounds}


def _with_own_keys(inbound: Json, folder: Path, reality_key: str) -> Json:
    stream = dict(inbound.get("streamSettings", {}))
    if "realitySettings" in stream:
        stream["realitySettings"] = {**stream["realitySettings"], "privateKey": reality_key}
    if "tlsSettings" in stream:
        certificates = stream["tlsSettings"]["certificates"]
        absolute = [
            {name: str(folder / path) for name, path in one.items()} for one in certificates
        ]
        stream["tlsSettings"] = {**stream["tlsSettings"], "certificates": absolute}
    return {**inbound, "streamSettings": stream} if stream else inbound


def speaks_reality(config: Json) -> bool:
    return any("realitySettings" in one.get("streamSettings", {}) for _, one in ways(config))


def certificate_path(config: Json) -> str:
    """The first one that people are shown; "" for none."""
    for _, inbound in ways(config):
        for one in inbound.get("streamSettings", {}).get("tlsSettings", {}).get("certificates", ()):
            return str(one["certificateFile"])
    return ""
