"""TLS and transports of mihomo. An unknown transport, which mihomo silently treats as TCP, is refused."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from subscriptions.formats.mihomo.streams import XHTTP_EXTRA, XHTTP_PLACES, XMUX, service_path

from .settings import ReadError, Settings, compact_json, fingerprint, with_early_data
from .streams import named, with_own_host

_TLS = (
    "servername", "sni", "alpn", "skip-cert-verify", "client-fingerprint", "fingerprint", "disable-sni", "ech-opts",
    "reality-opts",
)  # fmt: skip
_TRANSPORT_OPTIONS = ("ws-opts", "http-opts", "h2-opts", "grpc-opts", "xhttp-opts")
# Headers that the server does not look at.
_COSMETIC = frozenset({"connection", "user-agent", "accept-encoding", "pragma", "accept"})
_USUAL_HEADER = "Sec-WebSocket-Protocol"
# The name that mihomo uses if there is none.
_GRPC_SERVICE = "GunService"
# Early data in the first request is on or off here; in a link it has a size.
_FAST_OPEN = 2560


def read(entry: Settings, server: str, protocol: str) -> dict[str, str]:
    """TLS, REALITY and transport of vless, vmess and trojan."""
    is_tls = entry.switch("tls") or protocol == "trojan"
    tls = _stream_tls(entry) if is_tls else unused(entry)
    network = entry.word("network")
    transport = _TRANSPORTS.get(network)
    # mihomo would use plain TCP.
    is_silent = network == "xhttp" and protocol != "vless"
    if transport is None or is_silent or (protocol == "trojan" and network == "http"):
        raise ReadError("bad_network")
    found = tls | transport(entry)
    if network == "h2" and not is_tls:
        raise ReadError("inexact")
    entry.ignore(*_TRANSPORT_OPTIONS)
    # Over a WebSocket mihomo asks for the certificate of the Host, as a link does.
    return named(server, with_own_host(server, found), frozenset({"http", "xhttp"}))


def tls_alone(entry: Settings) -> dict[str, str]:
    """TLS without a transport on top."""
    return {"security": "tls"} | _tls(entry)


def unused(entry: Settings) -> dict[str, str]:
    """Settings of TLS in an entry without TLS."""
    entry.ignore(*_TLS)
    return {}


def _stream_tls(entry: Settings) -> dict[str, str]:
    browser = fingerprint(entry.text("client-fingerprint"))
    if not entry.has("reality-opts"):
        return {"security": "tls", "fp": browser} | _tls(entry)
    keys = entry.part("reality-opts")
    keys.ignore("support-x25519mlkem768")
    found = {"pbk": keys.text("public-key"), "sid": keys.word("short-id")}
    return {"security": "reality"} | _tls(entry) | found | {"fp": browser or "chrome"}


def _tls(entry: Settings) -> dict[str, str]:
    return {
        "sni": entry.word("servername", "sni"),
        "alpn": entry.listed("alpn").lower(),
        "insecure": "1" if entry.switch("skip-cert-verify") else "",
        "disable_sni": "1" if entry.switch("disable-sni") else "",
        "pin_sha256": entry.word("fingerprint").replace(":", ""),
        "ech": _ech(entry.part("ech-opts")),
    }


def _ech(options: Settings) -> str:
    """A configuration, or a query for the server's own name. A link cannot name another one without a resolver."""
    if not options.switch("enable"):
        options.ignore("config", "query-server-name")
        return ""
    config = options.text("config")
    if not config and options.has("query-server-name"):
        raise ReadError("inexact")
    return config or "1"


def _tcp(_entry: Settings) -> dict[str, str]:
    return {}


def _ws(entry: Settings) -> dict[str, str]:
    options = entry.part("ws-opts")
    path, host = options.text("path"), _host(options)
    if options.switch("v2ray-http-upgrade"):
        size = _FAST_OPEN if options.switch("v2ray-http-upgrade-fast-open") else 0
        options.ignore("max-early-data", "early-data-header-name")
        return _with_path("httpupgrade", with_early_data(path, size), host)
    options.ignore("v2ray-http-upgrade-fast-open")
    size, header = options.number("max-early-data"), options.text("early-data-header-name")
    # Without a header the early data would be in the path.
    if size and not header:
        raise ReadError("inexact")
    usual = header.lower() == _USUAL_HEADER.lower()
    found = _with_path("ws", with_early_data(path, size), host)
    return found | {"early_header": header if size and not usual else ""}


def _with_path(network: str, path: str, host: str) -> dict[str, str]:
    return {"network": network, "path": "" if path == "/" else path, "host": host}


def _host(options: Settings) -> str:
    """The Host of a request. Any other header might matter, and a link has no place for it."""
    headers = options.part("headers")
    return headers.listed("Host", "host", "HOST")


def _http_header(entry: Settings) -> dict[str, str]:
    options = entry.part("http-opts")
    if options.word("method") not in {"", "get"}:
        raise ReadError("inexact")
    path, headers = options.listed("path"), options.part("headers")
    host = headers.listed("Host", "host")
    _drop_cosmetic(headers)
    found = {"header_type": "http", "host": host}
    return found | {"path": "" if path == "/" else path}


def _drop_cosmetic(headers: Settings) -> None:
    rest = headers.rest()
    if any(name.lower() not in _COSMETIC for name in rest):
        raise ReadError("unknown_setting")


def _h2(entry: Settings) -> dict[str, str]:
    options = entry.part("h2-opts")
    host = options.listed("host")
    # mihomo would choose a host of its own.
    if not host:
        raise ReadError("inexact")
    return _with_path("http", options.text("path"), host)


def _grpc(entry: Settings) -> dict[str, str]:
    options = entry.part("grpc-opts")
    sent = options.text("grpc-service-name") or _GRPC_SERVICE
    options.ignore(
        "grpc-user-agent", "ping-interval", "max-connections", "min-streams", "max-streams"
    )
    name = "" if sent == "//Tun" else unquote(sent)
    if service_path(name) != sent:
        raise ReadError("inexact")
    return {"network": "grpc", "service_name": name}


def _xhttp(entry: Settings) -> dict[str, str]:
    options = entry.part("xhttp-opts")
    path, host, mode = options.text("path"), options.text("host"), options.word("mode")
    extra = compact_json(_extra(options))
    found = _with_path("xhttp", path, host)
    return found | {"mode": "" if mode == "auto" else mode, "extra_json": extra}


def _extra(options: Settings) -> dict[str, Any]:
    names = XHTTP_EXTRA | XHTTP_PLACES
    found: dict[str, Any] = {theirs: options.text(ours) for theirs, ours in names.items()}
    found |= {
        "noGRPCHeader": options.switch("no-grpc-header"),
        "xPaddingObfsMode": options.switch("x-padding-obfs-mode"),
        "headers": options.part("headers").rest(),
        "xmux": _xmux(options.part("reuse-settings")),
    }
    return {name: value for name, value in found.items() if value}


def _xmux(options: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {theirs: options.text(ours) for theirs, ours in XMUX.items()}
    found["hKeepAlivePeriod"] = options.number("h-keep-alive-period")
    return {name: value for name, value in found.items() if value}


_TRANSPORTS: dict[str, Callable[[Settings], dict[str, str]]] = {
    "": _tcp,
    "tcp": _tcp,
    "ws": _ws,
    "http": _http_header,
    "h2": _h2,
    "grpc": _grpc,
    "xhttp": _xhttp,
}
