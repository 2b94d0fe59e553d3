"""TLS and transports of sing-box."""

from collections.abc import Callable
from textwrap import wrap

from subscriptions.formats.common import (
    Entry,
    Inexpressible,
    alpn_of,
    ech_of,
    fingerprint_of,
    is_insecure,
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


def stream(node: Node) -> Entry:
    return {"tls": stream_tls(node), "transport": _transport(node)}


def tls(node: Node) -> Entry:
    """TLS without REALITY. sing-box can pin the public key of a certificate, but not a certificate.

    If a node has both pins, either of them is enough.
    """
    given = node.params
    if "security" not in given:
        return {}
    if given["security"] == "tls" and pins(node) and "pin_public_key" not in given:
        raise Inexpressible
    refuse_other_names(node)
    return {"enabled": True} | only(
        {
            "server_name": server_name(node),
            "insecure": is_insecure(node),
            "disable_sni": "disable_sni" in given,
            "alpn": alpn_of(node),
            "certificate_public_key_sha256": parts(given.get("pin_public_key")),
            "ech": _ech(node),
        }
    )


def plain_tls(node: Node) -> Entry:
    """The same for protocols that do not support REALITY."""
    if node.params.get("security") == "reality":
        raise Inexpressible
    return tls(node)


def _ech(node: Node) -> Entry:
    """ECH only with its configuration, because sing-box would query for one through the same tunnel."""
    ech = ech_of(node)
    if ech is None:
        return {}
    if not ech.config:
        raise Inexpressible
    lines = ["-----BEGIN ECH CONFIGS-----", *wrap(ech.config, 64), "-----END ECH CONFIGS-----"]
    return {"enabled": True, "config": lines}


def stream_tls(node: Node) -> Entry:
    """TLS over TCP, which may imitate a browser; REALITY must."""
    found = tls(node)
    if not found:
        return {}
    if fingerprint := fingerprint_of(node):
        found["utls"] = {"enabled": True, "fingerprint": fingerprint}
    if node.params["security"] == "reality":
        keys = {"public_key": node.params["pbk"], "short_id": node.params.get("sid")}
        found["reality"] = {"enabled": True} | only(keys)
    return found


def _transport(node: Node) -> Entry:
    network = node.params.get("network", "tcp")
    if network == "tcp" and node.params.get("header_type", "none") == "none":
        return {}
    write = _TRANSPORTS.get(network)
    if write is None:
        raise Inexpressible
    return only(write(node))


def _http_header(node: Node) -> Entry:
    """TCP with an HTTP header, only without TLS, with which sing-box would use HTTP/2."""
    if node.params["header_type"] != "http" or "security" in node.params:
        raise Inexpressible
    path = _path(node).partition(",")[0]
    return {"type": "http", "method": "GET", "path": path, "host": parts(node.params.get("host"))}


def _path(node: Node) -> str:
    """A path without query and fragment: sing-box escapes their marks, so the server would not find the path."""
    path = path_of(node)[0]
    if "?" in path or "#" in path:
        raise Inexpressible
    return path


def _ws(node: Node) -> Entry:
    found = web_socket(node) | {"path": _path(node)}
    return {"type": "ws"} | {name.replace("-", "_"): value for name, value in found.items()}


def _httpupgrade(node: Node) -> Entry:
    return {"type": "httpupgrade", "path": _path(node), "host": requested_host(node)}


def _grpc(node: Node) -> Entry:
    """The authority is always the TLS server name. A service name with a leading slash is a path, which only Xray supports."""
    given = node.params
    name = server_name(node) if "security" in given else ""
    service = given.get("service_name", "")
    if given.get("authority", name) != name or service.startswith("/"):
        raise Inexpressible
    return {"type": "grpc", "service_name": service}


def _h2(node: Node) -> Entry:
    if "security" not in node.params:
        raise Inexpressible
    return {"type": "http", "path": _path(node), "host": parts(requested_host(node))}


_TRANSPORTS: dict[str, Callable[[Node], Entry]] = {
    "tcp": _http_header,
    "ws": _ws,
    "httpupgrade": _httpupgrade,
    "grpc": _grpc,
    "http": _h2,
}
TRANSPORTS = frozenset(_TRANSPORTS)
