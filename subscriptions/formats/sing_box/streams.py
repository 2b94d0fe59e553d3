"""TLS and transports of sing-box."""

from collections.abc import Callable

from subscriptions.formats.common import (
    Entry,
    Inexpressible,
    fingerprint_of,
    only,
    parts,
    path_of,
    server_name,
    web_socket,
)
from subscriptions.links import Node


def stream(node: Node) -> Entry:
    return {"tls": stream_tls(node), "transport": _transport(node)}


def tls(node: Node) -> Entry:
    given = node.params
    if "security" not in given:
        return {}
    return {"enabled": True} | only(
        {
            "server_name": server_name(node),
            "insecure": "insecure" in given,
            "disable_sni": "disable_sni" in given,
            "alpn": parts(given.get("alpn")),
        }
    )


def stream_tls(node: Node) -> Entry:
    """TLS over TCP, which may look like a browser's; REALITY has to."""
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
    """TCP that begins like HTTP; with TLS it would become HTTP/2 here."""
    if node.params["header_type"] != "http" or "security" in node.params:
        raise Inexpressible
    path = path_of(node)[0].partition(",")[0]
    return {"type": "http", "method": "GET", "path": path, "host": parts(node.params.get("host"))}


def _ws(node: Node) -> Entry:
    return {"type": "ws"} | {name.replace("-", "_"): value for name, value in web_socket(node).items()}


def _httpupgrade(node: Node) -> Entry:
    return {"type": "httpupgrade", "path": path_of(node)[0], "host": node.params.get("host")}


def _grpc(node: Node) -> Entry:
    return {"type": "grpc", "service_name": node.params.get("service_name")}


def _h2(node: Node) -> Entry:
    if "security" not in node.params:
        raise Inexpressible
    return {"type": "http", "path": path_of(node)[0], "host": parts(node.params.get("host"))}


_TRANSPORTS: dict[str, Callable[[Node], Entry]] = {
    "tcp": _http_header,
    "ws": _ws,
    "httpupgrade": _httpupgrade,
    "grpc": _grpc,
    "http": _h2,
}
