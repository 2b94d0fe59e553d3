"""The configuration of sing-box that the panel gives a gateway, and parts of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from xpert_agent.gateway.documents import Json


def users(config: Json) -> frozenset[str]:
    """Everybody who is let in, as the core calls them."""
    return frozenset(
        user["name"] for inbound in config.get("inbounds", ()) for user in inbound.get("users", ())
    )


def at_port(config: Json, port: Callable[[int], int]) -> dict[str, Any]:
    """The same with the core's own interface at another port. `port`: the one for the one that was wanted."""
    services = [
        {**service, "listen_port": port(service["listen_port"])} for service in config["services"]
    ]
    return {**config, "services": services}


def with_own_keys(config: Json, _folder: Path, reality_key: str) -> dict[str, Any]:
    """The same with the key that only the gateway knows, where REALITY is spoken. sing-box runs in its folder."""
    inbounds = [_with_reality_key(one, reality_key) for one in config["inbounds"]]
    return {**config, "inbounds": inbounds}


def _with_reality_key(inbound: Json, private_key: str) -> Json:
    if "reality" not in inbound.get("tls", {}):
        return inbound
    tls = inbound["tls"]
    return {**inbound, "tls": {**tls, "reality": {**tls["reality"], "private_key": private_key}}}


def speaks_reality(config: Json) -> bool:
    return any("reality" in one.get("tls", {}) for one in config["inbounds"])


def certificate_path(config: Json) -> str:
    """The first one that people are shown; "" for none."""
    paths = (one.get("tls", {}).get("certificate_path", "") for one in config["inbounds"])
    return next(filter(None, paths), "")


def ways_in(config: Json) -> list[str]:
    """The tags of all inbounds."""
    return [one["tag"] for one in config.get("inbounds", ())]


def only_ways_in(config: Json, ways: Collection[str]) -> dict[str, Any]:
    """These inbounds and nothing behind them, to see whether sing-box takes them."""
    return {
        **config,
        "inbounds": [one for one in config["inbounds"] if one["tag"] in ways],
        "outbounds": [],
        "endpoints": [],
        "route": {**config["route"], "rules": [{"action": "reject"}]},
    }


def limited_to(config: Json, servers: Collection[str], ways: Collection[str]) -> dict[str, Any]:
    """The configuration of sing-box with these servers and inbounds alone, and nobody who would use another."""
    route = config["route"]
    return {
        **config,
        "inbounds": [_inbound(one, servers) for one in config["inbounds"] if one["tag"] in ways],
        "outbounds": [one for one in config["outbounds"] if one["tag"] in servers],
        "endpoints": [one for one in config["endpoints"] if one["tag"] in servers],
        "route": {
            **route,
            "rules": [one for one in route["rules"] if one.get("outbound", "") in {"", *servers}],
        },
    }


def _inbound(inbound: Json, servers: Collection[str]) -> dict[str, Any]:
    kept = [user for user in inbound["users"] if user["name"].partition("-")[2] in servers]
    return {**inbound, "users": kept}
