"""Shadowrocket's own form of vless and vmess: base64 of ``cipher:id@host:port``, followed by its own parameters."""

from typing import NamedTuple

from .common import Fields, clean_remark, filled, parse_fragment, parse_query
from .hosts import split_endpoint


class Found(NamedTuple):
    """``user`` is ``cipher:id``; ``query`` has the parameters of vless's URL form."""

    user: str
    endpoint: tuple[str, str]
    remark: str
    query: dict[str, str]


def read(text: str, query: str, fragment: str) -> Found:
    user, _, endpoint = text.strip().rpartition("@")
    fields = Fields(parse_query(query))
    remark = clean_remark(fields.take("remarks", "remark") or parse_fragment(fragment))
    values = {
        "security": _security(fields),
        "flow": "xtls-rprx-vision" if fields.take("xtls") == "2" else "",
        "serviceName": fields.take("path") if fields.peek("obfs").lower() == "grpc" else "",
    }
    return Found(user, split_endpoint(endpoint), remark, fields.rest() | filled(**values))


def _security(fields: Fields) -> str:
    """Shadowrocket writes REALITY as TLS with a key."""
    security, key = fields.take_word("tls"), fields.take("pbk")
    fields.put("pbk", key)
    return "reality" if key else security
