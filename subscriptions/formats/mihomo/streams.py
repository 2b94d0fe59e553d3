"""TLS and transports of mihomo. A transport that it does not know it takes for TCP, without a word."""

import json
import re
from collections.abc import Callable

from subscriptions.formats.common import (
    Entry,
    Inexpressible,
    fingerprint_of,
    number,
    only,
    parts,
    path_of,
    pinned,
    server_name,
    web_socket,
)
from subscriptions.links import Node

# Keys of Xray's ``extra`` under mihomo's names; texts and numbers, for mihomo reads both.
_XHTTP_EXTRA = {
    "xPaddingBytes": "x-padding-bytes",
    "scMaxEachPostBytes": "sc-max-each-post-bytes",
    "scMinPostsIntervalMs": "sc-min-posts-interval-ms",
    "uplinkChunkSize": "uplink-chunk-size",
    "sessionIDLength": "session-length",
}
# Where the parts of a request stand. A server that expects them elsewhere hangs up.
_XHTTP_PLACES = {
    "xPaddingKey": "x-padding-key", "xPaddingHeader": "x-padding-header",
    "xPaddingPlacement": "x-padding-placement", "xPaddingMethod": "x-padding-method",
    "sessionPlacement": "session-placement", "sessionKey": "session-key", "sessionIDTable": "session-table",
    "seqPlacement": "seq-placement", "seqKey": "seq-key",
    "uplinkHTTPMethod": "uplink-http-method",
    "uplinkDataPlacement": "uplink-data-placement", "uplinkDataKey": "uplink-data-key",
}  # fmt: skip
_XMUX = {
    "maxConcurrency": "max-concurrency",
    "maxConnections": "max-connections",
    "cMaxReuseTimes": "c-max-reuse-times",
    "hMaxRequestTimes": "h-max-request-times",
    "hMaxReusableSecs": "h-max-reusable-secs",
}
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)


def plain_tls(node: Node) -> Entry:
    return {"tls": "security" in node.params, "skip-cert-verify": "insecure" in node.params}


def quic_tls(node: Node) -> Entry:
    return {
        "sni": server_name(node),
        "alpn": parts(node.params.get("alpn")),
        "skip-cert-verify": "insecure" in node.params,
        "fingerprint": pinned(node),
    }


def stream_tls(node: Node) -> Entry:
    """TLS and REALITY of vless, vmess and trojan."""
    given = node.params
    if "security" not in given:
        return {}
    found: Entry = {
        "tls": True,
        "servername": server_name(node),
        "alpn": parts(given.get("alpn")),
        "skip-cert-verify": "insecure" in given,
        "client-fingerprint": fingerprint_of(node),
    }
    if given["security"] == "reality":
        return found | {"reality-opts": only({"public-key": given["pbk"], "short-id": given.get("sid")})}
    return found | {"fingerprint": pinned(node)}


def transport(node: Node) -> Entry:
    network = node.params.get("network", "tcp")
    if network == "tcp" and node.params.get("header_type", "none") == "none":
        return {}
    write = _TRANSPORTS.get(network)
    if write is None:
        raise Inexpressible
    return write(node)


def _http_header(node: Node) -> Entry:
    """TCP that begins like HTTP."""
    if node.protocol == "trojan" or node.params["header_type"] != "http":
        raise Inexpressible
    headers = only({"Host": parts(node.params.get("host"))})
    paths = parts(node.params.get("path")) or ["/"]
    return {"network": "http", "http-opts": only({"method": "GET", "path": paths, "headers": headers})}


def _ws(node: Node) -> Entry:
    return {"network": "ws", "ws-opts": web_socket(node)}


def _httpupgrade(node: Node) -> Entry:
    path, early = path_of(node)
    found = {
        "path": path,
        "headers": only({"Host": node.params.get("host")}),
        "v2ray-http-upgrade": True,
        "v2ray-http-upgrade-fast-open": early > 0,
    }
    return {"network": "ws", "ws-opts": only(found)}


def _grpc(node: Node) -> Entry:
    return {"network": "grpc", "grpc-opts": {"grpc-service-name": node.params.get("service_name", "")}}


def _h2(node: Node) -> Entry:
    if "security" not in node.params:
        raise Inexpressible
    return {"network": "h2", "h2-opts": only({"path": path_of(node)[0], "host": parts(node.params.get("host"))})}


def _xhttp(node: Node) -> Entry:
    """Only with vless: the other protocols would go out over bare TCP without a word."""
    mode = node.params.get("mode", "auto")
    if node.protocol != "vless" or mode not in {"auto", "packet-up", "stream-up", "stream-one"}:
        raise Inexpressible
    found = {"path": path_of(node)[0], "host": node.params.get("host"), "mode": mode}
    return {"network": "xhttp", "xhttp-opts": only(found | _xhttp_extra(node.params.get("extra_json", "{}")))}


def _xhttp_extra(text: str) -> Entry:
    extra = json.loads(text)
    if not isinstance(extra, dict) or extra.get("downloadSettings"):
        raise Inexpressible
    headers, xmux = extra.get("headers"), extra.get("xmux")
    places = {ours: extra[theirs] for theirs, ours in _XHTTP_PLACES.items() if isinstance(extra.get(theirs), str)}
    found = _ranges(extra, _XHTTP_EXTRA, least=1) | places
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
    return _ranges(xmux, _XMUX, least=0) | only({"h-keep-alive-period": period})


def _ranges(given: Entry, names: dict[str, str], least: int) -> Entry:
    """Numbers and ranges under mihomo's names; whatever else stands there would cost the whole list."""
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
