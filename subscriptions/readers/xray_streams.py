"""Xray's ``streamSettings``: transport, TLS and REALITY."""

from collections.abc import Callable

from .settings import ReadError, Settings, compact_json, fingerprint
from .streams import HTTP_LIKE, named

_NETWORKS = {
    "": "", "tcp": "", "raw": "", "ws": "ws", "websocket": "ws", "httpupgrade": "httpupgrade", "grpc": "grpc",
    "xhttp": "xhttp", "splithttp": "xhttp", "kcp": "kcp", "mkcp": "kcp", "http": "http", "h2": "http",
}  # fmt: skip
# The names of the settings of each transport.
_NAMES = {
    "": ("rawSettings", "tcpSettings"), "ws": ("wsSettings",), "httpupgrade": ("httpupgradeSettings",),
    "grpc": ("grpcSettings",), "xhttp": ("xhttpSettings", "splithttpSettings"), "kcp": ("kcpSettings",),
    "http": ("httpSettings",),
}  # fmt: skip
_UNUSED = (
    "tlsSettings",
    "realitySettings",
    "sockopt",
    "quicSettings",
    "dsSettings",
    "hysteriaSettings",
)
# Headers that the server does not look at.
_COSMETIC = frozenset({"user-agent", "accept-encoding", "connection", "pragma", "accept"})
_TLS_OPTIONAL = (
    "show", "masterKeyLog", "enableSessionResumption", "rejectUnknownSni", "disableSystemRoot", "minVersion",
    "maxVersion", "cipherSuites", "curvePreferences", "echForceQuery",
)  # fmt: skip


def read(stream: Settings, server: str) -> dict[str, str]:
    network = _NETWORKS.get(stream.word("network", "method"))
    if network is None:
        raise ReadError("bad_network")
    transport = _TRANSPORTS[network](stream.part(*_NAMES[network]))
    found = security(stream) | transport | {"fm": compact_json(stream.take("finalmask"))}
    for names in _NAMES.values():
        stream.ignore(*names)
    return named(server, found | ({"network": network} if network else {}), HTTP_LIKE)


def security(stream: Settings) -> dict[str, str]:
    kind = stream.word("security")
    if kind not in {"", "none", "tls", "reality"}:
        raise ReadError("bad_security")
    found: dict[str, str] = {}
    if kind == "tls":
        found = _tls(stream.part("tlsSettings"))
    if kind == "reality":
        found = _reality(stream.part("realitySettings"))
    stream.ignore(*_UNUSED)
    return found


def _tls(options: Settings) -> dict[str, str]:
    options.ignore(*_TLS_OPTIONAL)
    return {
        "security": "tls",
        "sni": options.word("serverName"),
        "insecure": "1" if options.switch("allowInsecure") else "",
        "alpn": options.listed("alpn").lower(),
        "fp": fingerprint(options.text("fingerprint")),
        "pcs": options.text("pinnedPeerCertSha256"),
        "vcn": options.listed("verifyPeerCertByName"),
        "ech": options.text("echConfigList"),
    }


def _reality(options: Settings) -> dict[str, str]:
    options.ignore("show", "masterKeyLog", "allowInsecure", "alpn")
    return {
        "security": "reality",
        "sni": options.word("serverName"),
        "fp": fingerprint(options.text("fingerprint")) or "chrome",
        "pbk": options.text("publicKey", "password"),
        "sid": options.word("shortId"),
        "spx": options.text("spiderX"),
        "pqv": options.text("mldsa65Verify"),
    }


def _tcp(options: Settings) -> dict[str, str]:
    options.ignore("acceptProxyProtocol")
    header = options.part("header")
    kind = header.word("type")
    if kind in {"", "none"}:
        header.rest()
        return {}
    header.ignore("response")
    request = header.part("request")
    return {"header_type": kind} | _request(request)


def _request(request: Settings) -> dict[str, str]:
    request.ignore("version")
    if request.word("method") not in {"", "get"}:
        raise ReadError("inexact")
    path, headers = request.listed("path"), request.part("headers")
    host = headers.listed("Host", "host")
    if any(name.lower() not in _COSMETIC for name in headers.rest()):
        raise ReadError("unknown_setting")
    return {"path": "" if path == "/" else path, "host": host}


def _with_path(options: Settings) -> dict[str, str]:
    """Early data is in the path, as in a link."""
    options.ignore("acceptProxyProtocol", "heartbeatPeriod", "useBrowserForwarding")
    path, headers = options.text("path"), options.part("headers")
    host = options.text("host") or headers.listed("Host", "host")
    return {"path": "" if path == "/" else path, "host": host}


def _grpc(options: Settings) -> dict[str, str]:
    options.ignore(
        "idle_timeout", "health_check_timeout", "permit_without_stream", "initial_windows_size", "user_agent"
    )  # fmt: skip
    multi = options.switch("multiMode")
    return {
        "service_name": options.text("serviceName"),
        "authority": options.text("authority"),
        "mode": "multi" if multi else "",
    }


def _xhttp(options: Settings) -> dict[str, str]:
    """Settings beside ``extra`` mean the same as in it."""
    path, host, mode = options.text("path"), options.text("host"), options.word("mode")
    extra = options.take("extra")
    beside = options.rest()
    given = beside if extra is None else (beside | extra if isinstance(extra, dict) else extra)
    return {
        "path": "" if path == "/" else path,
        "host": host,
        "mode": "" if mode == "auto" else mode,
        "extra_json": compact_json(given),
    }


def _kcp(options: Settings) -> dict[str, str]:
    header = options.part("header")
    kind = header.word("type")
    options.ignore(
        "uplinkCapacity", "downlinkCapacity", "congestion", "readBufferSize", "writeBufferSize", "cwndMultiplier",
        "maxSendingWindow",
    )  # fmt: skip
    return {
        "mtu": str(options.number("mtu") or ""),
        "tti": str(options.number("tti") or ""),
        "seed": options.text("seed"),
        "header_type": "" if kind == "none" else kind,
    }


def _h2(options: Settings) -> dict[str, str]:
    options.ignore("read_idle_timeout", "health_check_timeout")
    path, host = options.text("path"), options.listed("host")
    if options.word("method") not in {"", "put"} or not host:
        raise ReadError("inexact")
    return {"path": "" if path == "/" else path, "host": host}


_TRANSPORTS: dict[str, Callable[[Settings], dict[str, str]]] = {
    "": _tcp,
    "ws": _with_path,
    "httpupgrade": _with_path,
    "grpc": _grpc,
    "xhttp": _xhttp,
    "kcp": _kcp,
    "http": _h2,
}
