"""``ss://``: SIP002 (shadowsocks.org/doc/sip002.html), and the older form that is entirely base64.

mihomo and sing-box refuse the whole list for one unknown cipher or wrong key.
"""

from urllib.parse import quote, unquote

from operations.hosts import join_host_port

from . import plugins, tls, vless
from .base64text import decode_text, encode_urlsafe, parse_key
from .common import Fields, LinkError, Node, escape, filled, join, parse_password, split
from .hosts import parse_host, parse_port, split_endpoint

# Parameters of which each means more than plain TCP.
_STREAM = frozenset({"security", "network", "header_type", "fm"})
_KEY_SIZES = {
    "2022-blake3-aes-128-gcm": 16,
    "2022-blake3-aes-256-gcm": 32,
    "2022-blake3-chacha20-poly1305": 32,
    "2022-blake3-aes-128-ccm": 16,
    "2022-blake3-aes-256-ccm": 32,
}
_CIPHERS = frozenset({
    "aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "aes-128-ccm", "aes-192-ccm", "aes-256-ccm",
    "aes-128-gcm-siv", "aes-256-gcm-siv", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305",
    "chacha8-ietf-poly1305", "xchacha8-ietf-poly1305", "none",
    # Stream ciphers, which are broken but still in use.
    "aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr", "aes-256-ctr",
    "rc4-md5", "chacha20", "chacha20-ietf", "xchacha20",
    *_KEY_SIZES,
})  # fmt: skip
_ALIASES = {
    "plain": "none",
    "chacha20-poly1305": "chacha20-ietf-poly1305",
    "xchacha20-poly1305": "xchacha20-ietf-poly1305",
    "aead-chacha20-poly1305": "chacha20-ietf-poly1305",
    "aead-xchacha20-poly1305": "xchacha20-ietf-poly1305",
    "aead-aes-128-gcm": "aes-128-gcm",
    "aead-aes-192-gcm": "aes-192-gcm",
    "aead-aes-256-gcm": "aes-256-gcm",
}
# Plugins that Shadowrocket writes in its own form, which other apps do not read.
_ENCODED_PLUGINS = (
    "v2ray-plugin",
    "shadow-tls",
    "gost",
    "gost-plugin",
    "kcptun",
    "cloak",
    "xray-plugin",
)


def parse(raw: str, rest: str) -> Node:
    url = split(_unpacked(rest))
    userinfo = parse_password(url.userinfo)
    if ":" not in userinfo:
        userinfo = decode_text(userinfo)
    cipher, _, password = userinfo.partition(":")
    host, port = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    params = _parse_user(cipher, password) | filled(
        plugin=_plugin(fields), uot=_udp_over_tcp(fields)
    )
    stream = _stream(fields)
    port_number = parse_port(port, vless.usual_port(stream))
    return Node(
        raw,
        "shadowsocks",
        parse_host(host),
        port_number,
        url.remark,
        params | stream,
        fields.rest(),
    )


def emit(node: Node, remark: str) -> str:
    """SIP002, where the user is base64 except for the 2022 ciphers."""
    method, password = node.params["method"], node.params.get("password", "")
    user = (
        f"{method}:{escape(password)}"
        if method in _KEY_SIZES
        else encode_urlsafe(f"{method}:{password}")
    )
    plugin = node.params.get("plugin", "")
    head = f"ss://{user}@{join_host_port(node.server, node.port)}{'/' if plugin else ''}"
    stream = vless.write_stream(node.params) if _STREAM & node.params.keys() else {}
    query = {"plugin": plugin, "uot": node.params.get("uot", ""), **stream, **node.extra}
    return join(head, query, remark)


def _unpacked(rest: str) -> str:
    """The older form converted to SIP002. Its password is not encoded and may hold anything but a line break."""
    body, _, fragment = rest.partition("#")
    blob, _, query = body.partition("?")
    if "@" in blob or not blob.strip("/"):
        return rest
    user, at, endpoint = decode_text(unquote(blob.removesuffix("/"))).rpartition("@")
    if not at:
        raise LinkError("bad_form")
    # The encoded part may hold a query too.
    mark = "&" if "?" in endpoint else "?"
    return f"{quote(user, safe=':')}@{endpoint.strip()}{mark}{query}#{fragment}"


def _parse_user(cipher: str, password: str) -> dict[str, str]:
    method = cipher.strip().lower()
    method = _ALIASES.get(method.replace("_", "-"), method)
    if method not in _CIPHERS:
        raise LinkError("bad_cipher")
    if method != "none":
        parse_password(password)
    if size := _KEY_SIZES.get(method):
        # Several keys separated by colons mean several users on one port, which only AES supports.
        keys = parse_password(password).split(":") if "aes" in method else [password]
        password = ":".join(parse_key(key, size) for key in keys)
    return {"method": method} | filled(password=password)


def _plugin(fields: Fields) -> str:
    if any([fields.take(name) for name in _ENCODED_PLUGINS]):  # noqa: C419  all are taken
        raise LinkError("unsupported")
    text = fields.take("plugin", "plugin-name")
    name = plugins.name_of(text) or _obfs_plugin(fields)
    beside = {
        word: fields.take(*spellings) for word, spellings in plugins.BESIDE.get(name, {}).items()
    }
    more = fields.take("plugin-opts")
    return plugins.parse(";".join(filter(None, [text or name, more])), filled(**beside))


def _obfs_plugin(fields: Fields) -> str:
    """The plugin that Surge and Quantumult X mean by ``obfs=``. If it names a WebSocket, it is a transport."""
    return "obfs-local" if fields.peek("obfs").lower() in {"http", "tls"} else ""


def _udp_over_tcp(fields: Fields) -> str:
    """``1``, or ``2`` for the second version."""
    version = fields.take("udp-over-tcp-version")
    text = fields.take_word("uot", "udp-over-tcp")
    if "2" in {text, version} and text != "0":
        return "2"
    return tls.flag(text)


def _stream(fields: Fields) -> dict[str, str]:
    """TLS and transport as in vless. 3x-ui, Marzban and scripts write them, and Xray supports them."""
    fields.take("outline")
    # It disguises the beginning of a connection, and the server does not need it.
    fields.take("prefix")
    fields.take("encryption")
    return vless.read_stream(fields)
