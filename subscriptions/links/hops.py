"""Port hopping of hysteria: several ports behind one server.

The official form lists them in place of the port. v2rayN and v2rayNG do not read that and use ``mport``.
"""

import re
from collections.abc import Mapping

from .common import Fields, filled
from .hosts import parse_ports

_SECONDS = re.compile(r"([1-9][0-9]{0,4})s?(?:-([1-9][0-9]{0,4})s?)?", re.ASCII)


def read(endpoint: str, fields: Fields) -> tuple[int, dict[str, str]]:
    """The first port, and the parameters if there are several. ``endpoint``: the text in place of the port."""
    first = ports = parse_ports(endpoint)
    more = fields.take("mport", "mports", "ports", "server-ports")
    if more and ports.isdigit():
        ports = parse_ports(more)
        # A single port there replaces the other.
        first = ports if ports.isdigit() else first
    interval = _interval(fields)
    port = int(re.split("[,-]", first)[0])
    return port, {} if ports.isdigit() else filled(ports=ports, hop_interval=interval)


def masked(params: Mapping[str, str], fields: Fields) -> dict[str, str]:
    """The ports of a mask, unless the link has its own. ``params``: the parameters of the mask."""
    if "ports" not in params:
        return {}
    fields.put("mportHopInt", params.get("hop_interval", ""))
    return filled(ports=params["ports"], hop_interval=_interval(fields))


def write(params: Mapping[str, str]) -> dict[str, str]:
    return {"mport": params.get("ports", ""), "mportHopInt": params.get("hop_interval", "")}


def _interval(fields: Fields) -> str:
    """Seconds or a range of seconds. Any other value is kept as unknown."""
    text = fields.take_word(
        "mportHopInt", "hop-interval", "mports-hop-interval", "ports-hop-interval"
    )
    found = _SECONDS.fullmatch(text)
    if text and not found:
        fields.put("mportHopInt", text)
    return "-".join(filter(None, found.groups())) if found else ""
