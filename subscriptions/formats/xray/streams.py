"""Xray's ``streamSettings``: transport, TLS and REALITY."""

import json
from collections.abc import Callable
from typing import Any

from subscriptions.formats.common import (
    Entry,
    Inexpressible,
    alpn_of,
    fingerprint_of,
    is_insecure,
    number,
    only,
    parts,
    path_of,
    pins,
    server_name,
)
from subscriptions.links import Node


def stream(node: Node) -> Entry:
    """``streamSettings`` with transport, TLS or REALITY, and masks."""
    given = node.params
    found = _transport(node)
    if given.get("security") == "reality":
        found |= {"security": "reality", "realitySettings": _reality(node)}
    elif "security" in given:
        found |= {
            "security": "tls",
            "tlsSettings": tls(node) | only({"fingerprint": fingerprint_of(node)}),
        }
    if mask := json_object(given.get("fm")):
        found["finalmask"] = mask
    return {"streamSettings": found}


def _reality(node: Node) -> Entry:
    given = node.params
    return only(
        {
            "serverName": server_name(node),
            "fingerprint": fingerprint_of(node),
            "publicKey": given["pbk"],
            "shortId": given.get("sid"),
            "spiderX": given.get("spx"),
            "mldsa65Verify": given.get("pqv"),
        }
    )


def tls(node: Node) -> Entry:
    """A pinned certificate replaces ``allowInsecure``, which newer cores refuse."""
    given = node.params
    if "disable_sni" in given or ("pin_public_key" in given and not pins(node)):
        raise Inexpressible
    return only(
        {
            "serverName": server_name(node),
            "allowInsecure": is_insecure(node),
            "alpn": alpn_of(node),
            "pinnedPeerCertSha256": ",".join(pins(node)),
            "verifyPeerCertByName": given.get("vcn"),
            "echConfigList": given.get("ech"),
        }
    )


def _transport(node: Node) -> Entry:
    """Early data stays in the path, where Xray reads it."""
    network = node.params.get("network", "tcp")
    write = _TRANSPORTS.get(network)
    if write is None:
        raise Inexpressible
    settings = only(write(node))
    return {"network": network} | ({f"{network}Settings": settings} if settings else {})


def _tcp(node: Node) -> Entry:
    kind = node.params.get("header_type", "none")
    if kind == "none":
        return {}
    if kind != "http":
        raise Inexpressible
    request = {
        "path": parts(node.params.get("path")) or ["/"],
        "headers": only({"Host": parts(node.params.get("host"))}),
    }
    return {"header": {"type": "http", "request": only(request)}}


def _with_path(node: Node) -> Entry:
    """WebSocket and HTTPUpgrade. Early data works only in its usual header."""
    if "early_header" in node.params and path_of(node)[1]:
        raise Inexpressible
    return {"path": node.params.get("path", "/"), "host": node.params.get("host")}


def _grpc(node: Node) -> Entry:
    given = node.params
    multi = given.get("mode") == "multi"
    return {
        "serviceName": given.get("service_name"),
        "authority": given.get("authority"),
        "multiMode": multi,
    }


def _xhttp(node: Node) -> Entry:
    return _with_path(node) | {
        "mode": node.params.get("mode"),
        "extra": json_object(node.params.get("extra_json")),
    }


def _kcp(node: Node) -> Entry:
    given = node.params
    kind = given.get("header_type")
    return {
        "mtu": number(given.get("mtu"), 576, 1460),
        "tti": number(given.get("tti"), 10, 100),
        "header": {"type": kind} if kind else None,
        "seed": given.get("seed"),
    }


def json_object(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


_TRANSPORTS: dict[str, Callable[[Node], Entry]] = {
    "tcp": _tcp,
    "ws": _with_path,
    "httpupgrade": _with_path,
    "grpc": _grpc,
    "xhttp": _xhttp,
    "kcp": _kcp,
}
TRANSPORTS = frozenset(_TRANSPORTS)
