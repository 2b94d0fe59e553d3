"""``ssr://`` base64url of ``host:port:protocol:method:obfs:base64url(password)/?remarks=base64url(name)&…``.

Only mihomo still supports it, and refuses the whole list for an unknown name.
"""

from contextlib import suppress

from .base64text import decode_bytes, decode_text, encode_urlsafe
from .common import Fields, LinkError, Node, clean_remark, escape, filled, parse_query
from .hosts import parse_host, parse_port

_CIPHERS = frozenset({
    "none", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr", "aes-256-ctr",
    "rc4-md5", "chacha20", "chacha20-ietf", "xchacha20",
})  # fmt: skip
_PROTOCOLS = frozenset(
    {
        "origin",
        "auth_sha1_v4",
        "auth_aes128_md5",
        "auth_aes128_sha1",
        "auth_chain_a",
        "auth_chain_b",
    }
)
_OBFS = frozenset({
    "plain", "http_simple", "http_post", "random_head", "tls1.2_ticket_auth", "tls1.2_ticket_fastauth",
})  # fmt: skip
_ENCODED = {"obfs_param": "obfsparam", "ssr_protocol_param": "protoparam", "group": "group"}


def parse(raw: str, rest: str) -> Node:
    blob = rest.partition("#")[0].strip("/")
    if not blob:
        raise LinkError("empty")
    text = decode_text(blob)
    server, _, query = text.partition("?")
    # Split from the right, because an IPv6 address has no brackets here.
    parts = server.removesuffix("/").rsplit(":", 5)
    if len(parts) != 6:
        raise LinkError("bad_form")
    host, port, protocol, cipher, obfs, password = parts
    fields = Fields(parse_query(query))
    remark = clean_remark(_name(fields.take_secret("remarks")))
    params = {
        "ssr_protocol": _known(protocol, _PROTOCOLS, "bad_protocol"),
        "method": _known(cipher, _CIPHERS, "bad_cipher"),
        "obfs": _known(obfs, _OBFS, "bad_obfs"),
        "password": _password(password),
        **filled(**{key: _decode(fields.take_secret(name)) for key, name in _ENCODED.items()}),
    }
    return Node(raw, "ssr", parse_host(host), parse_port(port), remark, params, fields.rest())


def emit(node: Node, remark: str) -> str:
    params = node.params
    password = encode_urlsafe(params["password"])
    parts = [
        node.server,
        str(node.port),
        params["ssr_protocol"],
        params["method"],
        params["obfs"],
        password,
    ]
    encoded = {name: encode_urlsafe(params.get(key, "")) for key, name in _ENCODED.items()}
    others = {escape(name): escape(value) for name, value in node.extra.items()}
    query = {**encoded, "remarks": encode_urlsafe(remark), **others}
    items = "&".join(f"{name}={value}" for name, value in query.items() if value)
    return "ssr://" + encode_urlsafe(f"{':'.join(parts)}/?{items}")


def _known(text: str, names: frozenset[str], code: str) -> str:
    """A name in lower case; ``_compatible`` concerns only the server."""
    name = text.strip().lower().removesuffix("_compatible")
    if name not in names:
        raise LinkError(code)
    return name


def _password(text: str) -> str:
    if not text:
        raise LinkError("missing_password")
    return decode_text(text)


def _name(text: str) -> str:
    """A badly encoded name does not refuse the server."""
    with suppress(LinkError):
        return decode_bytes(text).decode(errors="replace") if text else ""
    return text


def _decode(text: str) -> str:
    return decode_text(text) if text else ""
