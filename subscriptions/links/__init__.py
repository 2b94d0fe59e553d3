"""Share links: one module a protocol. Pure; a text gives a ``Node`` or a ``LinkError``, never anything else."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote

from . import anytls, http, hysteria, hysteria2, shadowsocks, socks, ssr, trojan, tuic, vless, vmess, wireguard
from .common import LinkError, Node, clean_remark, has_control_characters

__all__ = [
    "MAX_LENGTH",
    "LinkError",
    "Node",
    "clean_remark",
    "emit",
    "fingerprint",
    "invented_name",
    "outgoing",
    "parse",
]

MAX_LENGTH = 4096


class _Protocol(NamedTuple):
    """``parse`` takes the link and what stands behind ``scheme://``; ``emit`` a node and its name."""

    name: str
    schemes: tuple[str, ...]
    parse: Callable[[str, str], Node]
    emit: Callable[[Node, str], str]


PROTOCOLS = (
    _Protocol("vless", ("vless",), vless.parse, vless.emit),
    _Protocol("vmess", ("vmess",), vmess.parse, vmess.emit),
    _Protocol("trojan", ("trojan", "trojan-go"), trojan.parse, trojan.emit),
    _Protocol("shadowsocks", ("ss",), shadowsocks.parse, shadowsocks.emit),
    _Protocol("ssr", ("ssr",), ssr.parse, ssr.emit),
    _Protocol("hysteria2", ("hysteria2", "hy2"), hysteria2.parse, hysteria2.emit),
    _Protocol("hysteria", ("hysteria",), hysteria.parse, hysteria.emit),
    _Protocol("tuic", ("tuic",), tuic.parse, tuic.emit),
    _Protocol("wireguard", ("wireguard", "wg"), wireguard.parse, wireguard.emit),
    _Protocol("anytls", ("anytls",), anytls.parse, anytls.emit),
    _Protocol("socks", ("socks", "socks5", "socks5h"), socks.parse, socks.emit),
    _Protocol("http", ("http", "https"), http.parse, http.emit),
)
_PARSERS = {scheme: protocol.parse for protocol in PROTOCOLS for scheme in protocol.schemes}
_EMITTERS = {protocol.name: protocol.emit for protocol in PROTOCOLS}
# What a panel makes up anew for each link, and a label.
_CHANCE = frozenset({"spx", "group"})
# What a link may say or leave out: no app understands it otherwise.
_HARMLESS = re.compile(
    r"|(?:encryption|security|headerType)=none|type=tcp|security=tls|path=%2F|mode=(?:gun|auto)|congestion_control=cubic"
    r"|udp_relay_mode=native|protocol=udp|mtu=1420|(?:allowInsecure|insecure|allow_insecure)=0|[A-Za-z_-]+="
)
# A name that need not be escaped any further: apps escape blanks, bars and letters themselves.
_SAFE_NAME = re.compile(r"""(?:[^%#"<>\\^`{}]|%[0-9A-Fa-f]{2})*""")
# Links of other apps, and addresses of lists: understood by few, so they are kept out of everybody's list.
_UNSUPPORTED = frozenset({
    "naive+https", "naive+quic", "mieru", "mierus", "juicity", "ssh", "snell", "v2rayn", "happ", "vpn", "ssconf",
    "hysteria2+realm",
})  # fmt: skip
# A page's address in a name is no second link.
_SECOND_LINK = re.compile(rf"\s(?:{'|'.join(_PARSERS.keys() - {'http', 'https'})})://", re.IGNORECASE)


def parse(text: str) -> Node:
    """The server that a share link names; raises LinkError. Blanks and a byte order mark around it don't matter."""
    link = text[: 2 * MAX_LENGTH].strip("\ufeff\0 \t\r\n")
    _check_text(link)
    scheme, found, rest = link.partition("://")
    scheme = scheme.lower()
    if not found or scheme not in _PARSERS:
        raise LinkError("unsupported" if found and scheme in _UNSUPPORTED else _kind(link))
    node = _PARSERS[scheme](f"{scheme}://{rest}", rest)
    _check_values(node)
    return node


def emit(node: Node, remark: str | None = None) -> str:
    """The share link as most apps read it, under another name if one is given.

    Parsed again it is the same server. A node without a name gets one of its protocol and address: apps show
    such a line empty, or drop it.
    """
    name = clean_remark(node.remark if remark is None else remark)
    return _EMITTERS[node.protocol](node, name or invented_name(node))


def outgoing(node: Node, remark: str | None = None) -> str:
    """The link for people's apps: as it was given where it differs from ``emit`` in nothing that matters to them.

    So an operator finds a good link as he wrote it, with its order and the defaults that it names.
    """
    canonical = emit(node, remark)
    if vmess.alike(node.raw, canonical):
        return node.raw
    body, named, name = canonical.partition("#")
    given, _, given_name = node.raw.partition("#")
    # In base64 the name is inside, and behind it mihomo takes no other.
    if not named or not _alike(given, body):
        return canonical
    same = clean_remark(unquote(given_name)) == clean_remark(unquote(name)) and _SAFE_NAME.fullmatch(given_name)
    return node.raw if same else f"{given}#{name}"


def _alike(given: str, canonical: str) -> bool:
    head, _, query = given.partition("?")
    canonical_head, _, canonical_query = canonical.partition("?")
    items = query.split("&")
    names = {item.partition("=")[0] for item in items}
    # v2rayNG drops a vless link without a query.
    if head != canonical_head or len(names) < len(items) or (not query and head.startswith("vless")):
        return False
    return all(map(_HARMLESS.fullmatch, set(items) ^ set(canonical_query.split("&"))))


def invented_name(node: Node) -> str:
    server = f"[{node.server}]" if ":" in node.server else node.server
    return clean_remark(f"{node.protocol} {server}:{node.port}")


def fingerprint(node: Node) -> str:
    """The same for two spellings of one server, whatever their names: SHA-256, hexadecimal."""
    params = sorted((name, value) for name, value in node.params.items() if name not in _CHANCE)
    found = [node.protocol, node.server, node.port, params, sorted(node.extra.items())]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _check_text(link: str) -> None:
    if not link:
        raise LinkError("empty")
    if len(link) > MAX_LENGTH:
        raise LinkError("too_long")
    if has_control_characters(link):
        raise LinkError("bad_text")
    if _SECOND_LINK.search(link):
        raise LinkError("two_links")


def _check_values(node: Node) -> None:
    """What was escaped may hold a line's end, or bytes that are no UTF-8: neither comes out as it went in."""
    values = [*node.params.values(), *node.extra, *node.extra.values()]
    if any("\ufffd" in value or has_control_characters(value) for value in values):
        raise LinkError("bad_text")


def _kind(text: str) -> str:
    """Why a line is no link: what else people paste."""
    if text.startswith(("#", "//", "STATUS=", "REMARKS=")):
        return "comment"
    return "html" if text.startswith("<") else "unknown_scheme"
