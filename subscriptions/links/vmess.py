"""``vmess://``: base64 of v2rayN's JSON (its wiki, "Description of VMess share link"), of Shadowrocket's
``cipher:id@host:port``, or the URL form of vless. All are read as the last one."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from operations.hosts import join_host_port

from . import shadowrocket, vless
from .base64text import decode_bytes, decode_text, encode
from .common import (
    Fields,
    LinkError,
    Node,
    clean_remark,
    escape,
    filled,
    join,
    parse_fragment,
    parse_query,
    split,
)
from .hosts import parse_host, parse_port, split_endpoint
from .ids import parse_id

# Other ciphers become "auto", because the server accepts any cipher that the client chooses.
_CIPHERS = {
    "aes-128-gcm": "aes-128-gcm", "chacha20-poly1305": "chacha20-poly1305",
    "chacha20-ietf-poly1305": "chacha20-poly1305", "none": "none", "zero": "zero",
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
# Names that differ between the JSON and the URL. ``type``, ``host`` and ``path`` depend on the transport.
_RENAMED = {
    "scy": "encryption",
    "security": "encryption",
    "net": "type",
    "tls": "security",
    "aid": "aid",
}
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
# Parameters that v2rayN's JSON can hold. A node with others is written as a URL.
_IN_JSON = frozenset({
    "uuid", "cipher", "alter_id", "security", "sni", "alpn", "fp", "insecure", "pcs", "vcn",
    "network", "header_type", "host", "path", "service_name", "authority", "mode", "seed", "early_header",
})  # fmt: skip
_DEFAULTS = {"v": "2", "aid": "0", "scy": "auto", "net": "tcp", "type": "none"}
# mihomo accepts numbers as well as texts only for these.
_NUMBERS = frozenset({"v", "port", "aid"})
_STANDARD = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
# Names of the JSON that are unknown in a URL, and must not be read there.
_OF_JSON = frozenset({"v", "ps", "add", "port", "id", "scy", "net", "tls"})
# Names that also occur in upper case.
_LOWER = _OF_JSON | {"aid", "type", "host", "path", "sni", "alpn", "fp", "security"}
# Values of ``type`` where it is the mode of the transport. Some panels write other values, which are ignored.
_TYPES = {
    "grpc": {"gun", "multi", "guna"}, "gun": {"gun", "multi", "guna"},
    "xhttp": {"auto", "packet-up", "stream-up", "stream-one"},
    "splithttp": {"auto", "packet-up", "stream-up", "stream-one"},
}  # fmt: skip


def parse(raw: str, rest: str) -> Node:
    if rest.startswith("{"):
        text, _, fragment = rest.rpartition("}")
        return _parse_json(raw, text + "}", "", fragment.partition("#")[2])
    if _is_url(rest):
        url = split(rest)
        host, port = split_endpoint(url.endpoint)
        return _node(raw, unquote(url.userinfo or ""), (host, port), url.remark, url.query)
    body, _, fragment = rest.partition("#")
    blob, _, query = body.partition("?")
    if not blob.strip("/"):
        raise LinkError("empty")
    # A name that was cut within a character does not refuse the server; any other such value does.
    text = decode_bytes(unquote(blob.removesuffix("/"))).decode("utf-8-sig", errors="replace")
    if "@" not in text or text.lstrip().startswith("{"):
        return _parse_json(raw, text, query, fragment)
    found = shadowrocket.read(text, query, fragment)
    cipher, _, user = found.user.partition(":")
    return _node(raw, user, found.endpoint, found.remark, filled(encryption=cipher) | found.query)


def emit(node: Node, remark: str) -> str:
    """v2rayN's JSON, which all apps read; a URL if the JSON cannot hold the node. mihomo requires ``ps``."""
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
    return join(
        f"vmess://{escape(params['uuid'])}@{join_host_port(node.server, node.port)}", query, remark
    )


def alike(given: str, canonical: str) -> bool:
    """Whether both links are equal v2rayN JSON, apart from order, empty values and numbers written as texts."""
    try:
        return _said(given) == _said(canonical)
    except LinkError:
        return False


def _said(link: str) -> dict[str, Any]:
    blob = link.removeprefix("vmess://")
    # mihomo ignores any other base64.
    if blob == link or len(blob) % 4 or not _STANDARD.fullmatch(blob):
        raise LinkError("bad_base64")
    found = {
        name: str(value) if name in _NUMBERS else value
        for name, value in _object(decode_text(blob)).items()
    }
    # mihomo refuses the whole list for an empty ``aid``.
    return {
        name: value
        for name, value in found.items()
        if (value or name == "aid") and value != _DEFAULTS.get(name)
    }


def _is_url(rest: str) -> bool:
    return "@" in rest.partition("#")[0].partition("?")[0]


def _node(
    raw: str, user: str, endpoint: tuple[str, str], remark: str, query: Mapping[str, str]
) -> Node:
    fields = Fields(query)
    fields.take("flow")
    cipher = _CIPHERS.get(fields.take_word("encryption", "scy", "cipher"), "")
    stream = vless.read_stream(fields)
    params = {
        "uuid": parse_id(user.strip()),
        **filled(cipher=cipher, alter_id=_alter_id(fields.take_word("aid", "alterId"))),
        **stream,
    }
    host, port = parse_host(endpoint[0]), parse_port(endpoint[1], vless.usual_port(stream))
    return Node(raw, "vmess", host, port, remark, params, fields.rest())


def _alter_id(text: str) -> str:
    if text and (not _NUMBER.fullmatch(text) or int(text) > 65535):
        raise LinkError("bad_alter_id")
    return text.lstrip("0")


def _parse_json(raw: str, text: str, query: str, fragment: str) -> Node:
    found = _lowered({name: _text(value) for name, value in _object(text).items()})
    fields = Fields(found)
    user, host, port = fields.take("id"), fields.take("add"), fields.take("port")
    remark = clean_remark(
        fields.take("ps") or parse_fragment(fragment) or parse_query(query).get("remarks", "")
    )
    fields.take("v")
    return _node(raw, user, (host, port), remark, _query_of(fields.rest()))


def _lowered(found: Mapping[str, str]) -> dict[str, str]:
    """The values by lower-case name. A name that is already in lower case takes precedence."""
    lower = {
        name.lower(): value for name, value in found.items() if value and name.lower() in _LOWER
    }
    others = {name: value for name, value in found.items() if name.lower() not in _LOWER}
    return lower | {name: found[name] for name in lower if found.get(name)} | others


def _query_of(values: Mapping[str, str]) -> dict[str, str]:
    """The parameters of the URL form."""
    network = _network(values)
    names = _RENAMED | _BY_NETWORK.get(network, _OTHERWISE)
    if values.get("security", "").lower() in {"tls", "reality"}:  # otherwise the cipher
        names = names | {"security": "security"}
    known = {name: value for name, value in values.items() if not _is_habit(name, value, network)}
    # A name of the JSON takes precedence over the same one of the URL form.
    ordered = sorted(known.items(), key=lambda item: item[0] not in names)
    query: dict[str, str] = filled(type=network)
    for name, value in ordered:
        query.setdefault(names.get(name, name), value)
    return query


def _network(values: Mapping[str, str]) -> str:
    """The transport. Some links have no ``net``, but a type that implies it."""
    network = (values.get("net") or values.get("network", "")).lower()
    kind = values.get("type", "").lower()
    return network or (kind if kind in _BY_NETWORK or kind in {"ws", "httpupgrade", "h2"} else "")


def _is_habit(name: str, value: str, network: str) -> bool:
    """Whether a type has no meaning: "none", the transport's own name, or "auto"."""
    if name != "type":
        return False
    return value.lower() == "none" or value.lower() not in _TYPES.get(network, {value.lower()})


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
        **filled(
            insecure=params.get("insecure", ""),
            pcs=params.get("pcs", ""),
            vcn=params.get("vcn", ""),
            eh=params.get("early_header", ""),
        ),
        **node.extra,
    }


_DEFAULT_TYPES = {"grpc": "gun", "xhttp": "auto"}


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text.strip("\0"))
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
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, str | int | float) else ""
