"""``vless://UUID@host:port?…#name``. Source: github.com/XTLS/Xray-core/discussions/716."""

import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import unquote

from operations.hosts import join_host_port

from . import shadowrocket, tls, transports
from .base64text import decode_bytes, decode_text
from .common import Fields, LinkError, Node, escape, filled, join, split
from .hosts import parse_host, parse_port, split_endpoint
from .ids import parse_id

# Random padding (probability, least and most bytes; the first at least 35), then keys of 32 or 1184 bytes.
_ENCRYPTION = re.compile(
    r"mlkem768x25519plus\.(?:native|xorpub|random)\.[01]rtt"
    r"(?:\.100-(?:3[5-9]|[4-9][0-9]|[0-9]{3,4})-(?:3[5-9]|[4-9][0-9]|[0-9]{3,4})(?:\.[0-9]{1,3}-[0-9]{1,4}-[0-9]{1,4})*)?"
    r"(?:\.[A-Za-z0-9_-]{43}|\.[A-Za-z0-9_-]{1579})+",
    re.ASCII,
)
_ML_KEM_LENGTH = 1579
_VISION = "xtls-rprx-vision"
_PACKET_ENCODINGS = {
    "packet": "packetaddr",
    "packetaddr": "packetaddr",
    "xudp": "xudp",
    "none": "none",
}


def parse(raw: str, rest: str) -> Node:
    if found := _in_base64(rest):
        # The id may have a cipher before it, which is ignored.
        return _node(raw, found.user.rpartition(":")[2], found.endpoint, found.remark, found.query)
    url = split(rest)
    return _node(
        raw, unquote(url.userinfo or ""), split_endpoint(url.endpoint), url.remark, url.query
    )


def emit(node: Node, remark: str) -> str:
    """The first three parameters are always written, because v2rayNG drops a link without a query."""
    params = node.params
    flow = params.get("flow", "") + ("-udp443" if "flow_udp443" in params else "")
    query = {
        "encryption": params.get("encryption", "none"),
        "flow": flow,
        **write_stream(params),
        **node.extra,
    }
    return join(
        f"vless://{escape(params['uuid'])}@{join_host_port(node.server, node.port)}", query, remark
    )


def read_stream(fields: Fields, security: str = "") -> dict[str, str]:
    """TLS and transport, also for vmess and trojan. ``security``: the protocol's default."""
    word = "tls" if transports.over_tls(fields) else security
    found = tls.read(fields, tls.take_security(fields, word))
    packets = fields.take_word("packetEncoding")
    if packets and packets not in _PACKET_ENCODINGS:
        fields.put("packetEncoding", packets)
    return (
        found | transports.read(fields) | filled(packet_encoding=_PACKET_ENCODINGS.get(packets, ""))
    )


def write_stream(params: Mapping[str, str]) -> dict[str, str]:
    found = (
        {"security": params.get("security", "none")} | tls.write(params) | transports.write(params)
    )
    return found | {"packetEncoding": params.get("packet_encoding", "")}


def _in_base64(rest: str) -> shadowrocket.Found | None:
    body, _, fragment = rest.partition("#")
    blob, _, query = body.partition("?")
    text = ""
    if "@" not in blob:
        with suppress(LinkError):
            text = decode_text(blob.removesuffix("/"))
    if text.lstrip().startswith("{"):  # the form of vmess, which no app reads for vless
        raise LinkError("bad_form")
    return shadowrocket.read(text, query, fragment) if "@" in text else None


def _node(
    raw: str, user: str, endpoint: tuple[str, str], remark: str, query: Mapping[str, str]
) -> Node:
    fields = Fields(query)
    stream = read_stream(fields)
    params = {
        "uuid": parse_id(user.strip()),
        **filled(encryption=_encryption(fields), **_flow(fields)),
        **stream,
    }
    host, port = parse_host(endpoint[0]), parse_port(endpoint[1], usual_port(stream))
    return Node(raw, "vless", host, port, remark, params, fields.rest())


def usual_port(stream: Mapping[str, str]) -> int | None:
    """The default port, which exists only for TLS."""
    return 443 if "security" in stream else None


def _encryption(fields: Fields) -> str:
    encryption = fields.take("encryption")
    if encryption.lower() in {"", "none"}:
        return ""
    if not _ENCRYPTION.fullmatch(encryption) or not all(map(_is_key, encryption.split("."))):
        raise LinkError("bad_encryption")
    return encryption


def _is_key(part: str) -> bool:
    """False for bytes as long as an ML-KEM-768 key with a 12-bit number above 3328, which no key has (FIPS 203, 7.2)."""
    if len(part) != _ML_KEM_LENGTH:
        return True
    key = decode_bytes(part)[:1152]
    triples = zip(key[::3], key[1::3], key[2::3], strict=True)
    return all(
        low | (middle & 15) << 8 < 3329 and middle >> 4 | high << 4 < 3329
        for low, middle, high in triples
    )


def _flow(fields: Fields) -> dict[str, str]:
    """mihomo supports ``…-udp443``, sing-box does not. Older flows are not supported anywhere."""
    flow = fields.take_word("flow")
    if flow not in {"", "none", _VISION, f"{_VISION}-udp443"}:
        raise LinkError("bad_flow")
    if flow in {"", "none"}:
        return {}
    return {"flow": _VISION, "flow_udp443": "" if flow == _VISION else "1"}
