"""Port hopping of hysteria: several ports behind one server.

The official form puts them where the port is. v2rayN and v2rayNG don't understand that; theirs stand in ``mport``.
"""

import re
from collections.abc import Mapping

from .common import Fields, filled
from .hosts import parse_ports

_SECONDS = re.compile(r"([1-9][0-9]{0,4})s?(?:-([1-9][0-9]{0,4})s?)?", re.ASCII)


def read(endpoint: str, fields: Fields) -> tuple[int, dict[str, str]]:
    """The first port, and all of them where there are several; ``endpoint``: what stands where the port is."""
    first = ports = parse_ports(endpoint)
    more = fields.take("mport")
    if more and ports.isdigit():
        ports = parse_ports(more)
        # One port there replaces the other.
        first = ports if ports.isdigit() else first
    interval = _interval(fields)
    port = int(re.split("[,-]", first)[0])
    return port, {} if ports.isdigit() else filled(ports=ports, hop_interval=interval)


def write(params: Mapping[str, str]) -> dict[str, str]:
    return {"mport": params.get("ports", ""), "mportHopInt": params.get("hop_interval", "")}


def _interval(fields: Fields) -> str:
    """Seconds, or a range of them. What is neither is kept, but nobody relies on it."""
    text = fields.take_word("mportHopInt", "hop-interval", "hop_interval", "hopInterval")
    found = _SECONDS.fullmatch(text)
    if text and not found:
        fields.put("mportHopInt", text)
    return "-".join(filter(None, found.groups())) if found else ""
