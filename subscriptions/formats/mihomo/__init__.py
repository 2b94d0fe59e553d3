"""YAML for mihomo and the Clash family. Source: wiki.metacubex.one/config.

Each proxy is one line of JSON, which is also YAML. So every text is in double quotes, and a
password ``1e5`` stays a text.
"""

import json
from collections.abc import Sequence

from subscriptions.formats.common import Entry, Written, compact, written
from subscriptions.links import Node

from .proxies import entry

__all__ = ["entry", "render"]

_SELECT, _AUTO = "Proxy", "Auto"
_CHECK_URL = "https://www.gstatic.com/generate_204"
_HEAD = {
    "mixed-port": 7890,
    "allow-lan": False,
    "mode": "rule",
    "log-level": "warning",
    "ipv6": True,
}


def render(nodes: Sequence[Node], reserved: frozenset[str] = frozenset()) -> bytes:
    proxies = list(written(nodes, entry, reserved))
    lines = [f"{key}: {json.dumps(value)}" for key, value in _HEAD.items()]
    lines += (
        ["proxies:", *(f"  - {proxy.text}" for proxy in proxies)] if proxies else ["proxies: []"]
    )
    lines += ["proxy-groups:", *(f"  - {compact(group)}" for group in _groups(proxies))]
    lines += ["rules:", f'  - "MATCH,{_SELECT}"', ""]
    return "\n".join(lines).encode()


def _groups(proxies: Sequence[Written]) -> list[Entry]:
    """A group for manual choice and one for the fastest server. Without servers all traffic goes out directly."""
    names = [proxy.name for proxy in proxies]
    if not names:
        return [{"name": _SELECT, "type": "select", "proxies": ["DIRECT"]}]
    fastest = {
        "name": _AUTO,
        "type": "url-test",
        "proxies": names,
        "url": _CHECK_URL,
        "interval": 300,
        "tolerance": 50,
    }
    return [{"name": _SELECT, "type": "select", "proxies": [_AUTO, *names]}, fastest]
