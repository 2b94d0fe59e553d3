"""What carries vless, vmess and trojan: raw TCP, WebSocket, gRPC, XHTTP and their like.

Source: github.com/XTLS/Xray-core/discussions/716. A parameter that the transport does not use is dropped.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from .common import Fields, LinkError, filled
from .hosts import ascii_name
from .tls import is_reality

_NETWORKS = {
    "": "", "tcp": "", "raw": "", "original": "", "ws": "ws", "websocket": "ws", "grpc": "grpc", "gun": "grpc",
    "httpupgrade": "httpupgrade", "xhttp": "xhttp", "splithttp": "xhttp", "kcp": "kcp", "mkcp": "kcp",
    "http": "http", "h2": "http", "quic": "quic",
}  # fmt: skip
_NAMES = {
    "header_type": "headerType", "host": "host", "path": "path", "service_name": "serviceName",
    "authority": "authority", "mode": "mode", "extra_json": "extra", "seed": "seed", "mtu": "mtu", "tti": "tti",
    "fm": "fm",
}  # fmt: skip
_KCP_HEADERS = frozenset({"srtp", "utp", "wechat-video", "dtls", "wireguard", "dns"})
_XHTTP_MODES = frozenset({"auto", "packet-up", "stream-up", "stream-one"})
_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)
_RANGES = ("maxConcurrency", "maxConnections", "cMaxReuseTimes", "hMaxRequestTimes", "hMaxReusableSecs")
# The largest size of a post, and the time between two.
_POSTS = ("scMaxEachPostBytes", "scMinPostsIntervalMs")
_MAX_SESSION_ID = 128
# How many characters are meant by a name.
_SESSION_TABLES = {
    "ALPHABET": 26, "Alphabet": 52, "BASE36": 36, "Base62": 62, "HEX": 16, "alphabet": 26, "base36": 36, "hex": 16,
    "number": 10,
}  # fmt: skip
_RANGE = re.compile(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?|", re.ASCII)


def read(fields: Fields) -> dict[str, str]:
    """Takes the parameters out of the fields."""
    network = _NETWORKS.get(fields.take_word("type"))
    if network is None:
        raise LinkError("bad_network")
    header = fields.take_word("headerType")
    # An HTTP header over TCP and HTTP/2 are both called "http".
    if header == "http" and network == "http":
        network = ""
    found = _READERS[network](fields, header)
    for name in set(_NAMES.values()) - {"fm"}:
        fields.take(name)
    return filled(network=network, fm=_compact(fields.take("fm")), **found)


def write(params: Mapping[str, str]) -> dict[str, str]:
    """The parameters under their names in a link."""
    return {"type": params.get("network", "tcp")} | {name: params[key] for key, name in _NAMES.items() if key in params}


def _read_tcp(fields: Fields, header: str) -> dict[str, str]:
    return {"header_type": "http"} | _host_and_path(fields, header) if header == "http" else {}


def _read_kcp(fields: Fields, header: str) -> dict[str, str]:
    found = {
        "seed": fields.take("seed"),
        "mtu": parse_number(fields.take("mtu")),
        "tti": parse_number(fields.take("tti")),
    }
    return found | {"header_type": header if header in _KCP_HEADERS else ""}


def _read_grpc(fields: Fields, _header: str) -> dict[str, str]:
    mode = fields.take_word("mode")
    found = {"service_name": fields.take("serviceName"), "authority": fields.take("authority")}
    return found | {"mode": mode if mode in {"multi", "guna"} else ""}


def _read_xhttp(fields: Fields, header: str) -> dict[str, str]:
    mode = fields.take_word("mode") or "auto"
    if mode not in _XHTTP_MODES:
        raise LinkError("bad_mode")
    extra = _compact(fields.take("extra"))
    # Xray and mihomo refuse both together, mihomo with its whole list.
    if mode == "stream-one" and json.loads(extra or "{}").get("downloadSettings"):
        raise LinkError("bad_extra")
    return {"mode": "" if mode == "auto" else mode, "extra_json": extra} | _host_and_path(fields, header)


def _read_quic(_fields: Fields, header: str) -> dict[str, str]:
    return {"header_type": header if header in _KCP_HEADERS else ""}


def _host_and_path(fields: Fields, _header: str) -> dict[str, str]:
    path = fields.take("path")
    return {"host": ascii_name(fields.take("host")), "path": _normal_path(path) if path else ""}


def _read_ws(fields: Fields, header: str) -> dict[str, str]:
    """Some write early data beside the path, not into it."""
    found = _host_and_path(fields, header)
    early, name = fields.take("ed"), fields.take("eh")
    if name not in {"", "Sec-WebSocket-Protocol"}:
        fields.put("eh", name)
    if parse_number(early) and "ed=" not in found["path"]:
        path = found["path"] or "/"
        found["path"] = f"{path}{'&' if '?' in path else '?'}ed={early}"
    return found


_READERS: dict[str, Callable[[Fields, str], dict[str, str]]] = {
    "": _read_tcp,
    "ws": _read_ws,
    "httpupgrade": _read_ws,
    "xhttp": _read_xhttp,
    "grpc": _read_grpc,
    "kcp": _read_kcp,
    "http": _host_and_path,
    "quic": _read_quic,
}


def _normal_path(path: str) -> str:
    """``/`` alone is the default."""
    path = path if path.startswith("/") else f"/{path}"
    return "" if path == "/" else path


def parse_number(text: str) -> str:
    """Decimal digits without leading zeros; zero and nothing are nothing."""
    text = text.strip()
    if text and not _NUMBER.fullmatch(text):
        raise LinkError("bad_number")
    return text.lstrip("0")


def _compact(text: str) -> str:
    """A JSON object in one spelling. A form's encoder may have made a plus of each blank."""
    if not text.strip():
        return ""
    for candidate in (text, text.replace("+", " ")):
        with suppress(ValueError, RecursionError):
            found = json.loads(candidate, parse_constant=_refuse, object_hook=_checked)
            if isinstance(found, dict):
                return json.dumps(found, separators=(",", ":"), sort_keys=True) if found else ""
    raise LinkError("bad_extra")


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    """An object of the further settings; mihomo refuses its whole list for one such value, in a list of links too."""
    reality = found.get("realitySettings") if str(found.get("security")).lower() == "reality" else None
    if isinstance(reality, dict):
        key, short_id = (str(reality.get(name, "")) for name in ("publicKey", "shortId"))
        if not is_reality(key, short_id.lower()):
            raise ValueError("reality")
    posts = {name: found.get(name) for name in _POSTS}
    numbers = [value for value in posts.values() if not isinstance(value, str)]
    if not all(map(_is_range, [*numbers, *map(found.get, _RANGES)])) or not _has_room(found):
        raise ValueError("range")
    # Xray calls its default zero, which mihomo refuses.
    return {name: value for name, value in found.items() if name not in posts or value != 0}


def _is_range(value: Any) -> bool:
    """A whole number or a range of two. What is no text and no number at all does no harm."""
    if not isinstance(value, str | int | float):
        return True
    if not isinstance(value, str):
        return 0 <= value < 10**9 and value == int(value)
    limits = _RANGE.fullmatch(value)
    return limits is not None and (not limits[2] or int(limits[1]) <= int(limits[2]))


def _has_room(found: dict[str, Any]) -> bool:
    """Whether 2^31 session ids can be made of the characters that are given, if any are."""
    table, length = found.get("sessionIDTable") or "uuid", found.get("sessionIDLength") or "16-32"
    if table == "uuid":
        return True
    limits = _RANGE.fullmatch(str(length))
    if limits is None or not limits[1] or not isinstance(table, str):
        return False
    low, high = int(limits[1]), int(limits[2] or limits[1])
    size = _SESSION_TABLES.get(table, len(table))
    return table.isascii() and 1 <= low <= high <= _MAX_SESSION_ID and size**high >= 2**31
