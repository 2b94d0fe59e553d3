"""TLS and transports of sing-box."""

from collections.abc import Callable

from .settings import ReadError, Settings, fingerprint, with_early_data
from .streams import HTTP_LIKE, named, with_own_host

# Settings that the server does not see.
_OPTIONAL = (
    "fragment", "fragment_fallback_delay", "record_fragment", "kernel_tx", "kernel_rx", "min_version", "max_version",
    "cipher_suites", "curve_preferences", "handshake_timeout",
)  # fmt: skip
_PEM = "-----"
_USUAL_HEADER = "Sec-WebSocket-Protocol"


def read(entry: Settings, server: str) -> dict[str, str]:
    """TLS, REALITY and transport of vless, vmess and trojan."""
    security = tls(entry.part("tls"))
    found = security | _transport(entry.part("transport"), is_tls=bool(security))
    return named(server, with_own_host(server, found), HTTP_LIKE)


def over_tls(entry: Settings) -> dict[str, str]:
    """For protocols that exist only over TLS."""
    found = tls(entry.part("tls"))
    if not found:
        raise ReadError("inexact")
    return found


def over_quic(entry: Settings) -> dict[str, str]:
    """The same without a browser to imitate, which QUIC cannot."""
    found = over_tls(entry)
    if found["security"] != "tls":
        raise ReadError("inexact")
    return found


def tls(options: Settings) -> dict[str, str]:
    if not options.switch("enabled"):
        options.rest()
        return {}
    options.ignore(*_OPTIONAL)
    found = {
        "security": "tls",
        "sni": options.word("server_name"),
        "insecure": "1" if options.switch("insecure") else "",
        "disable_sni": "1" if options.switch("disable_sni") else "",
        "alpn": options.listed("alpn").lower(),
        "pin_public_key": options.listed("certificate_public_key_sha256"),
        "ech": _ech(options.part("ech")),
        "fp": _browser(options.part("utls")),
    }
    return found | _reality(options.part("reality"), found["fp"])


def _browser(options: Settings) -> str:
    enabled, browser = options.switch("enabled"), options.text("fingerprint")
    return (fingerprint(browser) or "chrome") if enabled else ""


def _reality(options: Settings, browser: str) -> dict[str, str]:
    enabled = options.switch("enabled")
    key, short_id = options.text("public_key"), options.word("short_id")
    if not enabled:
        return {}
    return {"security": "reality", "pbk": key, "sid": short_id, "fp": browser or "chrome"}


def _ech(options: Settings) -> str:
    """A configuration in base64 without its frame, or a query for the server's own name."""
    enabled, lines = options.switch("enabled"), options.texts("config")
    options.ignore("pq_signature_schemes_enabled", "dynamic_record_sizing_disabled")
    if not enabled:
        return ""
    joined = "\n".join(lines).split("\n")
    return "".join(line.strip() for line in joined if not line.startswith(_PEM)) or "1"


def _transport(options: Settings, *, is_tls: bool) -> dict[str, str]:
    kind = options.word("type")
    if not kind:
        return {}
    if kind not in _TRANSPORTS:
        raise ReadError("bad_network")
    return _TRANSPORTS[kind](options, is_tls)


def _ws(options: Settings, _is_tls: bool) -> dict[str, str]:
    size, header = options.number("max_early_data"), options.text("early_data_header_name")
    # Without a header the early data would be in the path.
    if size and not header:
        raise ReadError("inexact")
    path = with_early_data(options.text("path"), size)
    usual = header.lower() == _USUAL_HEADER.lower()
    found = _with_path("ws", path, options.part("headers").listed("Host", "host"))
    return found | {"early_header": header if size and not usual else ""}


def _httpupgrade(options: Settings, _is_tls: bool) -> dict[str, str]:
    host = options.text("host") or options.part("headers").listed("Host", "host")
    return _with_path("httpupgrade", options.text("path"), host)


def _with_path(network: str, path: str, host: str) -> dict[str, str]:
    return {"network": network, "path": "" if path == "/" else path, "host": host}


def _http(options: Settings, is_tls: bool) -> dict[str, str]:
    """HTTP/2 over TLS; without TLS a header of HTTP/1.1."""
    options.ignore("idle_timeout", "ping_timeout")
    method, path, host = options.word("method"), options.text("path"), options.listed("host")
    if method not in ({"", "put"} if is_tls else {"get"}):
        raise ReadError("inexact")
    if is_tls:
        # sing-box would choose a host of its own.
        if not host:
            raise ReadError("inexact")
        return _with_path("http", path, host)
    return {"header_type": "http", "path": "" if path == "/" else path, "host": host}


def _grpc(options: Settings, _is_tls: bool) -> dict[str, str]:
    options.ignore("idle_timeout", "ping_timeout", "permit_without_stream")
    return {"network": "grpc", "service_name": options.text("service_name")}


_TRANSPORTS: dict[str, Callable[[Settings, bool], dict[str, str]]] = {
    "ws": _ws,
    "httpupgrade": _httpupgrade,
    "http": _http,
    "grpc": _grpc,
}
