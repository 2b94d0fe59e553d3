"""Complete Xray configurations, one per server with ``remarks``, which v2rayNG, v2rayN, Happ and Streisand import.

Sources: xtls.github.io/config; github.com/XTLS/Xray-core/discussions/4877. Each one is independent,
so that the others still work if an older core refuses one.
"""

from collections.abc import Sequence

from subscriptions.formats.common import Entry, Inexpressible, refuse_unread, written
from subscriptions.links import Node

from .outbounds import PROTOCOLS
from .streams import TRANSPORTS

__all__ = ["PROTOCOLS", "TRANSPORTS", "entry", "outbound", "render"]

_SNIFFING = {"enabled": True, "destOverride": ["http", "tls", "quic"]}
# The ports that v2rayNG and v2rayN expect.
_INBOUNDS = [
    {
        "tag": "socks",
        "listen": "127.0.0.1",
        "port": 10808,
        "protocol": "socks",
        "settings": {"auth": "noauth", "udp": True},
        "sniffing": _SNIFFING,
    },
    {
        "tag": "http",
        "listen": "127.0.0.1",
        "port": 10809,
        "protocol": "http",
        "sniffing": _SNIFFING,
    },
]
_OTHERS = [{"tag": "direct", "protocol": "freedom"}, {"tag": "block", "protocol": "blackhole"}]
_PRIVATE = [
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "::1/128", "fc00::/7", "fe80::/10",
]  # fmt: skip
_ROUTING = {
    "domainStrategy": "AsIs",
    "rules": [{"type": "field", "ip": _PRIVATE, "outboundTag": "direct"}],
}


def render(nodes: Sequence[Node], reserved: frozenset[str] = frozenset()) -> bytes:
    texts = [each.text for each in written(nodes, entry, reserved)]
    return ("[\n" + ",\n".join(texts) + "\n]\n").encode() if texts else b"[]\n"


def entry(node: Node, name: str) -> Entry:
    """A configuration that uses the node; raises Inexpressible."""
    proxy = outbound(node, "proxy")
    return {
        "remarks": name,
        "log": {"loglevel": "warning"},
        "dns": {"servers": ["1.1.1.1", "8.8.8.8"]},
        "inbounds": _INBOUNDS,
        "outbounds": [proxy, *_OTHERS],
        "routing": _ROUTING,
    }


def outbound(node: Node, tag: str) -> Entry:
    """The node alone; raises Inexpressible."""
    write = PROTOCOLS.get(node.protocol)
    if write is None:
        raise Inexpressible
    refuse_unread(node)
    return {"tag": tag, **write(node)}
