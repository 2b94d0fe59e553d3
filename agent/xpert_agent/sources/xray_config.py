"""Where the outbounds of an Xray or v2ray configuration lead."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpert_agent.sources.base import Endpoint

_NOWHERE = ("blackhole", "dns", "freedom", "loopback")
"""Protocols of outbounds that lead to no server."""


@dataclass(frozen=True)
class Outbounds:
    """What a configuration says about its outbounds."""

    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    nowhere: frozenset[str] = frozenset()
    """Tags of outbounds that lead to no server."""
    problems: tuple[str, ...] = ()


def outbounds(path: str) -> Outbounds:
    """The outbounds of the file at `path`; an empty path means none."""
    if not path:
        return Outbounds()
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        found = [outbound for outbound in document["outbounds"] if outbound.get("tag")]
        return Outbounds(
            dict(_endpoints(found)),
            frozenset(outbound["tag"] for outbound in found if outbound["protocol"] in _NOWHERE),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        name = Path(path).name
        return Outbounds(
            problems=(f"{name} is not readable JSON: outbounds have only their tags.",)
        )


def _endpoints(found: list[dict[str, Any]]) -> Iterator[tuple[str, Endpoint]]:
    for outbound in found:
        settings = outbound.get("settings") or {}
        # vnext: VMess and VLESS; servers: the others; neither: all of them, since Xray 25.
        places = settings.get("vnext") or settings.get("servers") or [settings]
        host, port = str(places[0].get("address", "")), str(places[0].get("port", ""))
        if host and port.isdigit():
            yield outbound["tag"], Endpoint(host, int(port), _protocol(outbound, settings))


def _protocol(outbound: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    name = str(outbound["protocol"])
    return "hysteria2" if name == "hysteria" and settings.get("version") == 2 else name
