"""Shadowrocket's own form of vless and vmess: base64 of ``cipher:id@host:port``, its words for the rest behind it."""

import json
from typing import NamedTuple

from .common import Fields, LinkError, clean_remark, filled, parse_fragment, parse_query
from .hosts import split_endpoint

_NETWORKS = {"websocket": "ws", "none": "", "http": "tcp"}


class Found(NamedTuple):
    """``user`` is ``cipher:id``; ``query`` says the same as the URL form of vless would."""

    user: str
    endpoint: tuple[str, str]
    remark: str
    query: dict[str, str]


def read(text: str, query: str, fragment: str) -> Found:
    user, _, endpoint = text.strip().rpartition("@")
    fields = Fields(parse_query(query))
    remark = clean_remark(fields.take("remarks", "remark") or parse_fragment(fragment))
    obfs = fields.take_word("obfs")
    values = {
        "type": _NETWORKS.get(obfs, obfs),
        "headerType": "http" if obfs == "http" else "",
        "security": _security(fields),
        "flow": "xtls-rprx-vision" if fields.take("xtls") == "2" else "",
        "sni": fields.take("peer"),
        "host": _host(fields.take("obfsParam")),
        "serviceName": fields.take("path") if obfs == "grpc" else "",
    }
    return Found(user, split_endpoint(endpoint), remark, fields.rest() | filled(**values))


def _security(fields: Fields) -> str:
    """It has no word for REALITY: that is TLS with a key."""
    security, key = fields.take_word("tls"), fields.take("pbk")
    fields.put("pbk", key)
    return "reality" if key else security


def _host(text: str) -> str:
    """A host, or a JSON object of headers."""
    if not text.startswith("{"):
        return text
    try:
        headers = json.loads(text)
    except (ValueError, RecursionError):
        raise LinkError("bad_json") from None
    found = {name.lower(): value for name, value in headers.items()}
    return str(found.get("host", ""))
