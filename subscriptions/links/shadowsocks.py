"""``ss://``: SIP002 (shadowsocks.org/doc/sip002.html) and the older form that is base64 as a whole.

One unknown cipher or wrong key makes mihomo and sing-box refuse the whole list.
"""

from urllib.parse import quote, unquote

from . import plugins, tls
from .base64text import decode_text, encode_urlsafe, parse_key
from .common import Fields, LinkError, Node, escape, filled, join, parse_password, split
from .hosts import join_endpoint, parse_host, parse_port, split_endpoint

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
    # Stream ciphers: broken, but still in use.
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
# Panels write the settings of other protocols into every link.
_MEANINGLESS = {"type": {"tcp", "raw"}, "security": {"none"}, "headerType": {"none"}, "encryption": {"none"}}


def parse(raw: str, rest: str) -> Node:
    url = split(_unpacked(rest))
    userinfo = parse_password(url.userinfo)
    if ":" not in userinfo:
        userinfo = decode_text(userinfo)
    cipher, _, password = userinfo.partition(":")
    host, port = split_endpoint(url.endpoint)
    fields = Fields(url.query)
    inside_tcp = tls.flag(fields.take_word("uot", "udp-over-tcp"))
    params = _parse_user(cipher, password) | filled(plugin=_plugin(fields), uot=inside_tcp)
    return Node(raw, "shadowsocks", parse_host(host), parse_port(port), url.remark, params, _rest(fields))


def emit(node: Node, remark: str) -> str:
    """SIP002. Its user is base64, but must not be for the ciphers of 2022."""
    method, password = node.params["method"], node.params.get("password", "")
    user = f"{method}:{escape(password)}" if method in _KEY_SIZES else encode_urlsafe(f"{method}:{password}")
    plugin = node.params.get("plugin", "")
    head = f"ss://{user}@{join_endpoint(node.server, node.port)}{'/' if plugin else ''}"
    return join(head, {"plugin": plugin, "uot": node.params.get("uot", ""), **node.extra}, remark)


def _unpacked(rest: str) -> str:
    """The older form written as SIP002; there the password is raw, and may hold anything but a line's end."""
    body, _, fragment = rest.partition("#")
    blob, _, query = body.partition("?")
    if "@" in blob or not blob.strip("/"):
        return rest
    user, at, endpoint = decode_text(unquote(blob.removesuffix("/"))).rpartition("@")
    if not at:
        raise LinkError("bad_form")
    return f"{quote(user, safe=':')}@{endpoint.strip()}?{query}#{fragment}"


def _parse_user(cipher: str, password: str) -> dict[str, str]:
    method = cipher.strip().lower()
    method = _ALIASES.get(method.replace("_", "-"), method)
    if method not in _CIPHERS:
        raise LinkError("bad_cipher")
    if method != "none":
        parse_password(password)
    if size := _KEY_SIZES.get(method):
        # Several keys with colons between them: several users behind one port, with AES alone.
        keys = parse_password(password).split(":") if "aes" in method else [password]
        password = ":".join(parse_key(key, size) for key in keys)
    return {"method": method} | filled(password=password)


def _plugin(fields: Fields) -> str:
    """Shadowrocket writes some plugins in a form of its own, which other apps do not read."""
    if fields.take("v2ray-plugin") or fields.take("shadow-tls"):
        raise LinkError("unsupported")
    return plugins.parse(fields.take("plugin"))


def _rest(fields: Fields) -> dict[str, str]:
    fields.take("outline")
    return {name: value for name, value in fields.rest().items() if value not in _MEANINGLESS.get(name, ())}
