"""Transports of vless, vmess and trojan: raw TCP, WebSocket, gRPC, XHTTP and others.

Source: github.com/XTLS/Xray-core/discussions/716. A parameter that the transport does not use is dropped.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from .common import Fields, LinkError, filled, fold
from .hosts import ascii_name
from .tls import is_reality, is_true

_NETWORKS = {
    "": "", "tcp": "", "raw": "", "original": "", "none": "", "ws": "ws", "websocket": "ws", "wss": "ws",
    "grpc": "grpc", "gun": "grpc", "httpupgrade": "httpupgrade", "xhttp": "xhttp", "splithttp": "xhttp",
    "kcp": "kcp", "mkcp": "kcp", "http": "http", "h2": "http", "quic": "quic",
}  # fmt: skip
# The names of Shadowrocket and Quantumult X; their "http" is a header over TCP.
_OBFS = _NETWORKS | {"overtls": "", "http": ""}
_NO_OBFS = frozenset({"", "none", "original", "overtls"})
# Names of transports that imply TLS.
_OVER_TLS = frozenset({"wss", "overtls"})
_NAMES = {
    "header_type": "headerType", "host": "host", "path": "path", "service_name": "serviceName",
    "authority": "authority", "mode": "mode", "extra_json": "extra", "seed": "seed", "mtu": "mtu", "tti": "tti",
    "early_header": "eh", "fm": "fm",
}  # fmt: skip
# Other names of the same parameters.
_HOSTS = ("host", "ws-host", "obfs-host", "websocket-host")
_PATHS = ("path", "ws-path", "obfs-uri", "obfs-path", "websocket-path", "websocket-service-name")
_SERVICES = ("serviceName", "grpc-service-name", "service")
_MODES = ("mode", "grpc-mode", "xhttp-mode")
_EARLY_DATA, _EARLY_HEADER = ("ed", "max-early-data"), ("eh", "early-data-header-name")
_USUAL_HEADER = "Sec-WebSocket-Protocol"
# XHTTP settings that belong into ``extra``; some panels write them as parameters of the link.
_FLAT = (
    "xPaddingBytes", "xPaddingObfsMode", "xPaddingKey", "xPaddingHeader", "xPaddingPlacement", "xPaddingMethod",
    "uplinkHTTPMethod", "sessionPlacement", "sessionKey", "sessionIDTable", "sessionIDLength", "seqPlacement", "seqKey",
    "uplinkDataPlacement", "uplinkDataKey", "uplinkChunkSize", "noGRPCHeader", "noSSEHeader", "scMaxEachPostBytes",
    "scMinPostsIntervalMs", "scMaxBufferedPosts", "scMaxConcurrentPosts", "scStreamUpServerSecs", "xmux",
    "downloadSettings", "headers",
)  # fmt: skip
_KCP_HEADERS = frozenset({"srtp", "utp", "wechat-video", "dtls", "wireguard", "dns"})
_XHTTP_MODES = frozenset({"auto", "packet-up", "stream-up", "stream-one"})
# Values in place of the mode that are not modes.
_AUTO = dict.fromkeys(("", "none", "xhttp", "splithttp"), "auto")
_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)
_RANGES = (
    "maxConcurrency",
    "maxConnections",
    "cMaxReuseTimes",
    "hMaxRequestTimes",
    "hMaxReusableSecs",
)
# The largest size of a POST, and the time between two.
_POSTS = ("scMaxEachPostBytes", "scMinPostsIntervalMs")
_MAX_SESSION_ID = 128
# The number of characters that a name stands for.
_SESSION_TABLES = {
    "ALPHABET": 26, "Alphabet": 52, "BASE36": 36, "Base62": 62, "HEX": 16, "alphabet": 26, "base36": 36, "hex": 16,
    "number": 10,
}  # fmt: skip
_RANGE = re.compile(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?|", re.ASCII)


def read(fields: Fields) -> dict[str, str]:
    """Take the parameters out of the fields."""
    network, header = _take_network(fields)
    found = _READERS[network](fields, header)
    for name in (*_UNUSED, *(() if network == "quic" else _OF_QUIC)):
        fields.take(name)
    return filled(network=network, fm=compact(fields.take("fm", "finalmask")), **found)


def over_tls(fields: Fields) -> bool:
    """Whether the name of the transport implies TLS."""
    names = ("type", *_OTHER_TYPES, "obfs")
    return any(fold(fields.peek(name)) in _OVER_TLS for name in names)


def _take_network(fields: Fields) -> tuple[str, str]:
    """The transport, and the header of raw TCP or mKCP."""
    network = _NETWORKS.get(fold(fields.take("type")))
    if network is None:
        raise LinkError("bad_network")
    network = _otherwise_named(fields, network)
    header = fields.take_word("headerType", "header")
    # An HTTP header over TCP and HTTP/2 are both called "http".
    if header == "http" and network == "http":
        return "", header
    return _take_obfs(fields, network, header)


def _otherwise_named(fields: Fields, network: str) -> str:
    """The transport from other parameters. A value that is unknown or contradicts ``type`` is put back."""
    given = fields.take(*_OTHER_TYPES)
    other = _NETWORKS.get(fold(given))
    if other is None or (network and other not in {"", network}):
        fields.put("network", given)
        return network
    return network or other


def _take_obfs(fields: Fields, network: str, header: str) -> tuple[str, str]:
    """The transport from other apps' ``obfs``. A value that contradicts ``type`` is put back."""
    websocket = is_true(fields.take_word("ws", "websocket"))
    obfs = fields.take("obfs")
    word = fold(obfs)
    wanted = _OBFS.get(word, "")
    if word not in _OBFS or (network and word not in _NO_OBFS and wanted != network):
        fields.put("obfs", obfs)
        return network, header
    if word == "http":
        return "", word
    return network or wanted or ("ws" if websocket else ""), header


def write(params: Mapping[str, str]) -> dict[str, str]:
    """The parameters under their names in a link."""
    return {"type": params.get("network", "tcp")} | {
        name: params[key] for key, name in _NAMES.items() if key in params
    }


def _read_tcp(fields: Fields, header: str) -> dict[str, str]:
    return {"header_type": "http"} | _host_and_path(fields, header) if header == "http" else {}


def _read_kcp(fields: Fields, header: str) -> dict[str, str]:
    found = {
        "seed": fields.take_secret("seed"),
        "mtu": parse_number(fields.take("mtu")),
        "tti": parse_number(fields.take("tti")),
    }
    return found | {"header_type": header if header in _KCP_HEADERS else ""}


def _read_grpc(fields: Fields, _header: str) -> dict[str, str]:
    mode = fields.take_word(*_MODES)
    found = {
        "service_name": fields.take(*_SERVICES),
        "authority": fields.take("authority", "grpc-authority"),
    }
    return found | {"mode": mode if mode in {"multi", "guna"} else ""}


def _read_xhttp(fields: Fields, header: str) -> dict[str, str]:
    mode = _AUTO.get(mode := fields.take_word(*_MODES), mode)
    if mode not in _XHTTP_MODES:
        raise LinkError("bad_mode")
    extra = _with_flat(compact(fields.take("extra")), fields)
    # Xray and mihomo refuse this combination, and mihomo refuses the whole list.
    if mode == "stream-one" and json.loads(extra or "{}").get("downloadSettings"):
        raise LinkError("bad_extra")
    return {"mode": "" if mode == "auto" else mode, "extra_json": extra} | _host_and_path(
        fields, header
    )


def _with_flat(extra: str, fields: Fields) -> str:
    """``extra`` with the flat settings added; its own values take precedence."""
    flat = {name: _json_value(fields.take(name)) for name in _FLAT}
    flat = {name: value for name, value in flat.items() if value not in ("", None)}
    return compact(json.dumps(flat | json.loads(extra or "{}"))) if flat else extra


def _json_value(text: str) -> Any:
    """A boolean, number or object, which a query can only hold as a text."""
    if text.startswith("{") or text in {"true", "false"} or text.isdecimal():
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return text


def _read_quic(_fields: Fields, header: str) -> dict[str, str]:
    return {"header_type": header if header in _KCP_HEADERS else ""}


def _host_and_path(fields: Fields, _header: str) -> dict[str, str]:
    path = fields.take(*_PATHS)
    given = [fields.take(*_HOSTS), fields.take("obfsParam"), fields.take("headers", "ws-headers")]
    host = next(filter(None, [_host_of(text, fields) for text in given]), "")
    # The first version of v2rayN's JSON had both in one field.
    if host.startswith("/") and ";" in host:
        path, _, host = host.partition(";")
    return {"host": ascii_name(host.strip()), "path": _normal_path(path) if path else ""}


def _host_of(text: str, fields: Fields) -> str:
    """The host, which may be in a JSON object of headers. Other headers are put back."""
    if not text.startswith("{"):
        return text
    try:
        headers = json.loads(text)
    except (ValueError, RecursionError):
        raise LinkError("bad_json") from None
    found = {name.lower(): value for name, value in headers.items()}
    if found.keys() - {"host"}:
        fields.put("headers", text)
    return str(found.get("host") or "")


def _read_ws(fields: Fields, header: str) -> dict[str, str]:
    """Some links have early data as a parameter instead of inside the path."""
    found = _host_and_path(fields, header)
    early, name = fields.take(*_EARLY_DATA), fields.take(*_EARLY_HEADER)
    if parse_number(early) and "ed=" not in found["path"]:
        path = found["path"] or "/"
        found["path"] = f"{path}{'&' if '?' in path else '?'}ed={early}"
    return found | {"early_header": "" if name.lower() == _USUAL_HEADER.lower() else name}


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


_OTHER_TYPES = ("network", "net", "transport")
# Parameters that are ignored if the link's transport does not use them.
_UNUSED = (
    *_HOSTS, *_PATHS, *_SERVICES, *_MODES, *_EARLY_DATA, *_EARLY_HEADER, *_FLAT[:-1], "headerType", "authority", "extra",
    "seed", "mtu", "tti", "obfsParam",
)  # fmt: skip


# QUIC keeps these in the link. No format supports this transport.
_OF_QUIC = ("quicSecurity", "key")


def _normal_path(path: str) -> str:
    """``/`` alone is the default."""
    path = path if path.startswith("/") else f"/{path}"
    return "" if path == "/" else path


def parse_number(text: str) -> str:
    """Decimal digits without leading zeros; zero and an empty text give an empty text."""
    text = text.strip()
    if text and not _NUMBER.fullmatch(text):
        raise LinkError("bad_number")
    return text.lstrip("0")


def compact(text: str) -> str:
    """A JSON object in one spelling. A form encoder may have turned each space into a plus."""
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
    """Check an object of extra settings. mihomo refuses the whole list for one bad value, even in a list of links."""
    reality = (
        found.get("realitySettings") if str(found.get("security")).lower() == "reality" else None
    )
    if isinstance(reality, dict):
        key, short_id = (str(reality.get(name, "")) for name in ("publicKey", "shortId"))
        if not is_reality(key, short_id.lower()):
            raise ValueError("reality")
    posts = {name: found.get(name) for name in _POSTS}
    numbers = [value for value in posts.values() if not isinstance(value, str)]
    if not all(map(_is_range, [*numbers, *map(found.get, _RANGES)])) or not _has_room(found):
        raise ValueError("range")
    # Xray writes its default as zero, which mihomo refuses.
    return {name: value for name, value in found.items() if name not in posts or value != 0}


def _is_range(value: Any) -> bool:
    """A whole number or a range. Other JSON types are accepted, because they do no harm."""
    if not isinstance(value, str | int | float):
        return True
    if not isinstance(value, str):
        return 0 <= value < 10**9 and value == int(value)
    limits = _RANGE.fullmatch(value)
    return limits is not None and (not limits[2] or int(limits[1]) <= int(limits[2]))


def _has_room(found: dict[str, Any]) -> bool:
    """Whether the given characters, if any, allow 2^31 session ids."""
    table, length = found.get("sessionIDTable") or "uuid", found.get("sessionIDLength") or "16-32"
    if table == "uuid":
        return True
    limits = _RANGE.fullmatch(str(length))
    if limits is None or not limits[1] or not isinstance(table, str):
        return False
    low, high = int(limits[1]), int(limits[2] or limits[1])
    size = _SESSION_TABLES.get(table, len(table))
    return table.isascii() and 1 <= low <= high <= _MAX_SESSION_ID and size**high >= 2**31
