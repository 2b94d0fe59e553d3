"""TLS and transports of mihomo, which silently treats an unknown transport as TCP."""

import json
import re
from collections.abc import Callable
from urllib.parse import quote

from subscriptions.formats.common import (
    Entry,
    Inexpressible,
    alpn_of,
    ech_of,
    fingerprint_of,
    is_insecure,
    number,
    only,
    parts,
    path_of,
    pins,
    refuse_other_names,
    requested_host,
    server_name,
    web_socket,
)
from subscriptions.links import Node

# Keys of Xray's ``extra`` with mihomo's names. Values may be texts or numbers, because mihomo reads both.
XHTTP_EXTRA = {
    "xPaddingBytes": "x-padding-bytes",
    "scMaxEachPostBytes": "sc-max-each-post-bytes",
    "scMinPostsIntervalMs": "sc-min-posts-interval-ms",
    "uplinkChunkSize": "uplink-chunk-size",
    "sessionIDLength": "session-length",
}
# Where XHTTP places session id, sequence number and data. A server that expects them elsewhere closes the connection.
XHTTP_PLACES = {
    "xPaddingKey": "x-padding-key", "xPaddingHeader": "x-padding-header",
    "xPaddingPlacement": "x-padding-placement", "xPaddingMethod": "x-padding-method",
    "sessionPlacement": "session-placement", "sessionKey": "session-key", "sessionIDTable": "session-table",
    "seqPlacement": "seq-placement", "seqKey": "seq-key",
    "uplinkHTTPMethod": "uplink-http-method",
    "uplinkDataPlacement": "uplink-data-placement", "uplinkDataKey": "uplink-data-key",
}  # fmt: skip
XMUX = {
    "maxConcurrency": "max-concurrency",
    "maxConnections": "max-connections",
    "cMaxReuseTimes": "c-max-reuse-times",
    "hMaxRequestTimes": "h-max-request-times",
    "hMaxReusableSecs": "h-max-reusable-secs",
}
# All keys of Xray there. Those that are not above are for the server, or are written elsewhere.
_XHTTP_KNOWN = {
    *XHTTP_EXTRA, *XHTTP_PLACES, "xmux", "headers", "noGRPCHeader", "xPaddingObfsMode", "noSSEHeader",
    "scMaxBufferedPosts", "scMaxConcurrentPosts", "scStreamUpServerSecs", "mode", "host", "path",
}  # fmt: skip
# Characters that need no escape in a path segment.
_SERVICE_SAFE = "$&+:=@"
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)


def plain_tls(node: Node) -> Entry:
    """TLS of SOCKS and HTTP proxies."""
    if "security" not in node.params:
        return {}
    if "ech" in node.params:
        raise Inexpressible
    found = quic_tls(node)
    del found["alpn"]
    return found | {"tls": True}


def quic_tls(node: Node) -> Entry:
    """TLS without a transport on top: for QUIC, and for protocols with their own framing."""
    if node.params.get("security") == "reality":
        raise Inexpressible
    return {"sni": server_name(node)} | _tls(node)


def stream_tls(node: Node) -> Entry:
    """TLS and REALITY of vless, vmess and trojan."""
    given = node.params
    if "security" not in given:
        return {}
    found: Entry = {
        "tls": True,
        "servername": server_name(node),
        "client-fingerprint": fingerprint_of(node),
    }
    if given["security"] == "reality":
        keys = {"public-key": given["pbk"], "short-id": given.get("sid")}
        insecure = {"alpn": alpn_of(node), "skip-cert-verify": "insecure" in given}
        return found | insecure | {"reality-opts": only(keys)}
    return found | _tls(node)


def _tls(node: Node) -> Entry:
    """Options for certificates and the client hello. There can be one pin, and only tuic can omit the name."""
    pinned = pins(node)
    if len(pinned) > 1 or ("pin_public_key" in node.params and not pinned):
        raise Inexpressible
    if "disable_sni" in node.params and node.protocol != "tuic":
        raise Inexpressible
    refuse_other_names(node)
    return {
        "alpn": alpn_of(node),
        "skip-cert-verify": is_insecure(node),
        "fingerprint": "".join(pinned),
        "ech-opts": _ech(node),
    }


def _ech(node: Node) -> Entry:
    ech = ech_of(node)
    if ech is None:
        return {}
    return {"enable": True} | only({"config": ech.config, "query-server-name": ech.name})


def transport(node: Node) -> Entry:
    network = node.params.get("network", "tcp")
    if network == "tcp" and node.params.get("header_type", "none") == "none":
        return {}
    write = _TRANSPORTS.get(network)
    if write is None:
        raise Inexpressible
    return write(node)


def _http_header(node: Node) -> Entry:
    """TCP with an HTTP header."""
    if node.protocol == "trojan" or node.params["header_type"] != "http":
        raise Inexpressible
    headers = only({"Host": parts(node.params.get("host"))})
    paths = parts(bare_path(node))
    return {
        "network": "http",
        "http-opts": only({"method": "GET", "path": paths, "headers": headers}),
    }


def _ws(node: Node) -> Entry:
    return {"network": "ws", "ws-opts": web_socket(node) | {"path": _path(node)}}


def _path(node: Node) -> str:
    """The path; two slashes at its beginning would be read as a host."""
    path = path_of(node)[0]
    if path.startswith("//"):
        raise Inexpressible
    return path


def bare_path(node: Node) -> str:
    """The path for HTTP/2, which would escape a question mark, so that the server would not find the path."""
    path = _path(node)
    if "?" in path:
        raise Inexpressible
    return path


def _httpupgrade(node: Node) -> Entry:
    early = path_of(node)[1]
    found = {
        "path": _path(node),
        "headers": {"Host": requested_host(node)},
        "v2ray-http-upgrade": True,
        "v2ray-http-upgrade-fast-open": early > 0,
    }
    return {"network": "ws", "ws-opts": only(found)}


def _grpc(node: Node) -> Entry:
    given = node.params
    name = server_name(node) if "security" in given else ""
    service = given.get("service_name", "")
    # A custom path in multi mode has its own method name, which mihomo does not support.
    several = service.startswith("/") and given.get("mode") == "multi"
    if given.get("authority", name) != name or several:
        raise Inexpressible
    return {"network": "grpc", "grpc-opts": {"grpc-service-name": service_path(service)}}


def service_path(name: str) -> str:
    """The service name as Xray sends it. mihomo does not escape it. With a leading slash it is the whole path."""
    if not name:
        return "//Tun"
    path = name.partition("|")[0] if name.startswith("/") else name
    safe = _SERVICE_SAFE + ("/" if name.startswith("/") else "")
    return quote(path, safe=safe)


def _h2(node: Node) -> Entry:
    if "security" not in node.params:
        raise Inexpressible
    hosts = parts(requested_host(node))
    return {"network": "h2", "h2-opts": {"path": bare_path(node), "host": hosts}}


def _xhttp(node: Node) -> Entry:
    """Only for vless, because mihomo would silently use plain TCP for other protocols."""
    mode = node.params.get("mode", "auto")
    if node.protocol != "vless" or mode not in {"auto", "packet-up", "stream-up", "stream-one"}:
        raise Inexpressible
    found = {"path": bare_path(node), "host": node.params.get("host"), "mode": mode}
    return {
        "network": "xhttp",
        "xhttp-opts": only(found | _xhttp_extra(node.params.get("extra_json", "{}"))),
    }


def _xhttp_extra(text: str) -> Entry:
    extra = json.loads(text)
    if not isinstance(extra, dict) or extra.get("downloadSettings"):
        raise Inexpressible
    if any(value for name, value in extra.items() if name not in _XHTTP_KNOWN):
        raise Inexpressible
    headers, xmux = extra.get("headers"), extra.get("xmux")
    places = {
        ours: extra[theirs]
        for theirs, ours in XHTTP_PLACES.items()
        if isinstance(extra.get(theirs), str)
    }
    found = _ranges(extra, XHTTP_EXTRA, least=1) | places
    return found | {
        "no-grpc-header": extra.get("noGRPCHeader") is True,
        "x-padding-obfs-mode": extra.get("xPaddingObfsMode") is True,
        "headers": {key: value for key, value in headers.items() if isinstance(value, str)}
        if isinstance(headers, dict)
        else None,
        "reuse-settings": _reuse(xmux) if isinstance(xmux, dict) else None,
    }


def _reuse(xmux: Entry) -> Entry:
    period = number(str(xmux.get("hKeepAlivePeriod")), 0, 86_400)
    return _ranges(xmux, XMUX, least=0) | only({"h-keep-alive-period": period})


def _ranges(given: Entry, names: dict[str, str], least: int) -> Entry:
    """Numbers and ranges under mihomo's names. mihomo would refuse the whole list for any other value."""
    found = {ours: str(given[theirs]) for theirs, ours in names.items() if theirs in given}
    return {name: value for name, value in found.items() if _is_range(value, least)}


def _is_range(text: str, least: int) -> bool:
    found = _RANGE.fullmatch(text)
    return found is not None and max(least, int(found[1])) <= int(found[2] or found[1])


_TRANSPORTS: dict[str, Callable[[Node], Entry]] = {
    "tcp": _http_header,
    "ws": _ws,
    "httpupgrade": _httpupgrade,
    "grpc": _grpc,
    "http": _h2,
    "xhttp": _xhttp,
}
