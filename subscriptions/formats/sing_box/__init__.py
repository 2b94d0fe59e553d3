"""A complete configuration for sing-box 1.12 and later, and apps based on it. Source: sing-box.sagernet.org/configuration."""

from collections.abc import Sequence

from subscriptions.formats.common import Entry, Written, compact, written
from subscriptions.links import Node

from .outbounds import PROTOCOLS, entry
from .streams import TRANSPORTS

__all__ = ["PROTOCOLS", "TRANSPORTS", "entry", "render"]

_SELECT, _AUTO, _DIRECT = "Proxy", "Auto", "direct"
_CHECK_URL = "https://www.gstatic.com/generate_204"
# Names are resolved through the tunnel, because the local resolver may lie.
_DNS = {
    "servers": [
        {"type": "https", "tag": "dns-remote", "server": "1.1.1.1", "detour": _SELECT},
        {"type": "local", "tag": "dns-local"},
    ],
    "final": "dns-remote",
}
# Apps on phones get traffic only from a TUN interface.
_INBOUND = {
    "type": "tun",
    "tag": "tun-in",
    "address": ["172.19.0.1/30", "fdfe:dcba:9876::1/126"],
    "auto_route": True,
    "strict_route": True,
}
_ROUTE = {
    "rules": [
        {"action": "sniff"},
        {"protocol": "dns", "action": "hijack-dns"},
        {"ip_is_private": True, "action": "route", "outbound": _DIRECT},
    ],
    "final": _SELECT,
    "default_domain_resolver": "dns-local",
    "auto_detect_interface": True,
}


def render(nodes: Sequence[Node], reserved: frozenset[str] = frozenset()) -> bytes:
    found = list(written(nodes, entry, reserved))
    # Wireguard is the one kind of server that is not an outbound.
    tunnels = [each.text for each in found if _is_endpoint(each)]
    servers = [each.text for each in found if not _is_endpoint(each)]
    outbounds = [
        *map(compact, _groups(found)),
        *servers,
        compact({"type": "direct", "tag": _DIRECT}),
    ]
    sections = [
        f'"log": {compact({"level": "warn"})}',
        f'"dns": {compact(_DNS)}',
        f'"inbounds": [{compact(_INBOUND)}]',
        f'"outbounds": {_list(outbounds)}',
        *([f'"endpoints": {_list(tunnels)}'] if tunnels else []),
        f'"route": {compact(_ROUTE)}',
    ]
    return ("{\n" + ",\n".join(sections) + "\n}\n").encode()


def _is_endpoint(each: Written) -> bool:
    return each.text.startswith('{"type": "wireguard"')


def _list(texts: Sequence[str]) -> str:
    return "[\n" + ",\n".join(texts) + "\n]"


def _groups(found: Sequence[Written]) -> list[Entry]:
    """A group for manual choice and one for the fastest server. sing-box refuses an empty group."""
    tags = [each.name for each in found]
    if not tags:
        return [{"type": "selector", "tag": _SELECT, "outbounds": [_DIRECT]}]
    fastest = {
        "type": "urltest",
        "tag": _AUTO,
        "outbounds": tags,
        "url": _CHECK_URL,
        "interval": "5m",
        "tolerance": 50,
    }
    return [{"type": "selector", "tag": _SELECT, "outbounds": [_AUTO, *tags]}, fastest]
