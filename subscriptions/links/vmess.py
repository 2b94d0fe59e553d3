"""``vmess://``: base64 of v2rayN's JSON (its wiki, "Description of VMess share link"), of Shadowrocket's
``cipher:id@host:port``, or the URL form of vless. All are read as the last one."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from . import shadowrocket, vless
from .base64text import decode_text, encode
from .common import Fields, LinkError, Node, clean_remark, escape, filled, join, parse_fragment, parse_query, split
from .hosts import join_endpoint, parse_host, parse_port, split_endpoint
from .ids import parse_id

_CIPHERS = {
    "": "", "auto": "", "aes-128-gcm": "aes-128-gcm", "chacha20-poly1305": "chacha20-poly1305",
    "chacha20-ietf-poly1305": "chacha20-poly1305", "none": "none", "zero": "zero",
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
# What the JSON calls otherwise than the URL. ``type``, ``host`` and ``path`` mean something else for each transport.
_RENAMED = {"scy": "encryption", "security": "encryption", "net": "type", "tls": "security", "aid": "aid"}
_BY_NETWORK = {
    "grpc": {"type": "mode", "path": "serviceName", "host": "authority"},
    "gun": {"type": "mode", "path": "serviceName", "host": "authority"},
    "xhttp": {"type": "mode", "host": "host", "path": "path"},
    "splithttp": {"type": "mode", "host": "host", "path": "path"},
    "kcp": {"type": "headerType", "path": "seed"},
    "mkcp": {"type": "headerType", "path": "seed"},
    "quic": {"type": "headerType", "path": "key", "host": "quicSecurity"},
}
_OTHERWISE = {"type": "headerType", "host": "host", "path": "path"}
# What v2rayN's JSON can say; a node with more goes out as a URL.
_IN_JSON = frozenset({
    "uuid", "cipher", "alter_id", "security", "sni", "alpn", "fp", "insecure", "pcs", "vcn",
    "network", "header_type", "host", "path", "service_name", "authority", "mode", "seed",
})  # fmt: skip
_DEFAULTS = {"v": "2", "aid": "0", "scy": "auto", "net": "tcp", "type": "none"}
# Of these alone mihomo takes numbers as well as texts.
_NUMBERS = frozenset({"v", "port", "aid"})
_STANDARD = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
# Its names that mean nothing in a URL: there they are unknown ones, which must not turn into these.
_OF_JSON = frozenset({"v", "ps", "add", "port", "id", "scy", "net", "tls"})


def parse(raw: str, rest: str) -> Node:
    if _is_url(rest):
        url = split(rest)
        host, port = split_endpoint(url.endpoint)
        return _node(raw, unquote(url.userinfo or ""), (host, port), url.remark, url.query)
    body, _, fragment = rest.partition("#")
    blob, _, query = body.partition("?")
    if not blob.strip("/"):
        raise LinkError("empty")
    text = decode_text(unquote(blob.removesuffix("/"))).removeprefix("\ufeff")
    if "@" not in text or text.lstrip().startswith("{"):
        return _parse_json(raw, text, query, fragment)
    found = shadowrocket.read(text, query, fragment)
    cipher, _, user = found.user.partition(":")
    return _node(raw, user, found.endpoint, found.remark, filled(encryption=cipher) | found.query)


def emit(node: Node, remark: str) -> str:
    """v2rayN's form, which all apps read; what it cannot say goes out as a URL. mihomo wants ``ps`` to be there."""
    params = node.params
    plain = params.get("security") != "reality" and params.get("network") != "quic"
    if plain and params.keys() <= _IN_JSON and not node.extra.keys() & _OF_JSON:
        return "vmess://" + encode(json.dumps(_write_json(node, remark), ensure_ascii=False))
    query = {
        "encryption": params.get("cipher", "auto"),
        "aid": params.get("alter_id", ""),
        **vless.write_stream(params),
        **node.extra,
    }
    return join(f"vmess://{escape(params['uuid'])}@{join_endpoint(node.server, node.port)}", query, remark)


def alike(given: str, canonical: str) -> bool:
    """Whether both links are v2rayN's JSON and say the same; order, empty values and numbers as such mean nothing."""
    try:
        return _said(given) == _said(canonical)
    except LinkError:
        return False


def _said(link: str) -> dict[str, Any]:
    blob = link.removeprefix("vmess://")
    # mihomo skips any other base64.
    if blob == link or len(blob) % 4 or not _STANDARD.fullmatch(blob):
        raise LinkError("bad_base64")
    found = {name: str(value) if name in _NUMBERS else value for name, value in _object(decode_text(blob)).items()}
    # mihomo refuses its whole list for an empty ``aid``.
    return {name: value for name, value in found.items() if (value or name == "aid") and value != _DEFAULTS.get(name)}


def _is_url(rest: str) -> bool:
    return "@" in rest.partition("#")[0].partition("?")[0]


def _node(raw: str, user: str, endpoint: tuple[str, str], remark: str, query: Mapping[str, str]) -> Node:
    fields = Fields(query)
    fields.take("flow")
    cipher = _CIPHERS.get(fields.take_word("encryption"))
    if cipher is None:
        raise LinkError("bad_cipher")
    params = {
        "uuid": parse_id(user.strip()),
        **filled(cipher=cipher, alter_id=_alter_id(fields.take_word("aid", "alterId"))),
        **vless.read_stream(fields),
    }
    return Node(raw, "vmess", parse_host(endpoint[0]), parse_port(endpoint[1]), remark, params, fields.rest())


def _alter_id(text: str) -> str:
    if text and (not _NUMBER.fullmatch(text) or int(text) > 65535):
        raise LinkError("bad_alter_id")
    return text.lstrip("0")


def _parse_json(raw: str, text: str, query: str, fragment: str) -> Node:
    found = {name: _text(value) for name, value in _object(text).items()}
    fields = Fields(found)
    user, host, port = fields.take("id"), fields.take("add"), fields.take("port")
    remark = clean_remark(fields.take("ps") or parse_fragment(fragment) or parse_query(query).get("remarks", ""))
    fields.take("v")
    names = _RENAMED | _BY_NETWORK.get(found.get("net", "").lower(), _OTHERWISE)
    # 3x-ui writes a type of "none" for every transport, and the mode of XHTTP beside it.
    values = {name: value for name, value in fields.rest().items() if (name, value.lower()) != ("type", "none")}
    # A name of the JSON goes before the same one of the URL form.
    ordered = sorted(values.items(), key=lambda item: item[0] not in names)
    query_of: dict[str, str] = {}
    for name, value in ordered:
        query_of.setdefault(names.get(name, name), value)
    return _node(raw, user, (host, port), remark, query_of)


def _write_json(node: Node, remark: str) -> dict[str, str]:
    params, network = node.params, node.params.get("network", "tcp")
    url = vless.write_stream(params)
    names = _BY_NETWORK.get(network, _OTHERWISE)
    by_name = {name: url.get(names.get(name, ""), "") for name in ("type", "host", "path")}
    return {
        "v": "2",
        "ps": remark,
        "add": node.server,
        "port": str(node.port),
        "id": params["uuid"],
        "aid": params.get("alter_id", "0"),
        "scy": params.get("cipher", "auto"),
        "net": "h2" if network == "http" else network,
        **by_name,
        "type": by_name["type"] or _DEFAULT_TYPES.get(network, "none"),
        "tls": params.get("security", ""),
        "sni": params.get("sni", ""),
        "alpn": params.get("alpn", ""),
        "fp": params.get("fp", ""),
        **filled(insecure=params.get("insecure", ""), pcs=params.get("pcs", ""), vcn=params.get("vcn", "")),
        **node.extra,
    }


_DEFAULT_TYPES = {"grpc": "gun", "xhttp": "auto"}


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise LinkError("bad_json") from None
    if not isinstance(found, dict):
        raise LinkError("bad_json")
    return found


def _text(value: Any) -> str:
    """A value as text: generators write numbers as strings and the reverse."""
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value).strip() if isinstance(value, str | int) else ""
