"""``fm``: Xray's finalmask, a JSON object with masks for TCP and UDP and settings of QUIC.

Source: xtls.github.io/config/transports/finalmask. Settings that other apps have parameters for are read as those.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from .common import LinkError, filled
from .hosts import parse_ports

# Masks of the client only: the server works without them.
_OPTIONAL = frozenset({"fragment", "noise"})
_SPEED = re.compile(r"([0-9]{1,10})(?:\.0*)? *([kmgt]?)b?(?:ps)?", re.ASCII)
_PER_MBIT = {"": 10**6, "k": 10**3, "m": 1}


def masked(text: str) -> bool:
    """Whether the server requires traffic with these masks."""
    found = json.loads(text) if text else {}
    lists = [value for value in found.values() if isinstance(value, list)]
    kinds = [
        mask.get("type") if isinstance(mask, dict) else None for each in lists for mask in each
    ]
    return any(kind not in _OPTIONAL for kind in kinds)


def read(text: str) -> dict[str, str]:
    """The obfuscation, ports and speeds of hysteria2 under their usual names, and everything else as ``fm``."""
    found: dict[str, Any] = json.loads(text) if text else {}
    quic = found.get("quicParams")
    params = _salamander(found) | (_of_quic(quic) if isinstance(quic, dict) else {})
    if not quic:
        found.pop("quicParams", None)
    rest = json.dumps(found, separators=(",", ":"), sort_keys=True) if found else ""
    return filled(**params, fm=rest)


def _salamander(found: dict[str, Any]) -> dict[str, str]:
    match found.get("udp"):
        case [{"type": "salamander", "settings": {"password": str(password), **more}}] if (
            password and not more
        ):
            del found["udp"]
            return {"obfs": "salamander", "obfs_password": password}
    return {}


def _of_quic(quic: dict[str, Any]) -> dict[str, str]:
    hop = quic.pop("udpHop", None)
    speeds = {"up": _mbit(quic.pop("brutalUp", "")), "down": _mbit(quic.pop("brutalDown", ""))}
    return filled(**speeds) | (_hops(hop) if isinstance(hop, dict) else {})


def _hops(hop: Mapping[str, Any]) -> dict[str, str]:
    ports, interval = hop.get("ports") or hop.get("port"), hop.get("interval")
    if not ports:
        return {}
    if not isinstance(ports, str | int):
        raise LinkError("bad_port")
    return {"ports": parse_ports(str(ports)), "hop_interval": str(interval or "")}


def _mbit(value: Any) -> str:
    """Bits per second, with or without a unit, as Mbit/s; empty if it is less than one."""
    found = _SPEED.fullmatch(str(value).strip().lower())
    if not found:
        return ""
    number, unit = int(found[1]), found[2]
    speed = (
        number // _PER_MBIT[unit] if unit in _PER_MBIT else number * {"g": 10**3, "t": 10**6}[unit]
    )
    return str(speed) if speed else ""
