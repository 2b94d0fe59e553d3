"""Share links: one module per protocol. Pure. A text gives a ``Node`` or a ``LinkError``, never anything else."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote

from operations.hosts import join_host_port

from . import (
    anytls,
    http,
    hysteria,
    hysteria2,
    shadowsocks,
    socks,
    ssr,
    trojan,
    tuic,
    vless,
    vmess,
    wireguard,
)
from .common import (
    FOREIGN_SCHEMES,
    LINK_BEGINS,
    TRAILING,
    LinkError,
    Node,
    clean_remark,
    has_control_characters,
    holds_link,
)
from .unread import decides

__all__ = [
    "AROUND",
    "LINK_BEGINS",
    "MAX_LENGTH",
    "LinkError",
    "Node",
    "clean_remark",
    "decides",
    "emit",
    "fingerprint",
    "holds_link",
    "invented_name",
    "outgoing",
    "parse",
]

MAX_LENGTH = 4096


class _Protocol(NamedTuple):
    """``parse`` takes the link and its part after ``scheme://``; ``emit`` takes a node and its name."""

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
    _Protocol(
        "wireguard", ("wireguard", "wg", "awg", "amneziawg"), wireguard.parse, wireguard.emit
    ),
    _Protocol("anytls", ("anytls",), anytls.parse, anytls.emit),
    _Protocol("socks", ("socks", "socks5", "socks5h"), socks.parse, socks.emit),
    _Protocol("http", ("http", "https"), http.parse, http.emit),
)
_PARSERS = {scheme: protocol.parse for protocol in PROTOCOLS for scheme in protocol.schemes}
_EMITTERS = {protocol.name: protocol.emit for protocol in PROTOCOLS}
# A value that panels choose at random for each link, and a label.
_CHANCE = frozenset({"spx", "group"})
# Parameters that a link may have or omit without a difference for any app.
_HARMLESS = re.compile(
    r"|(?:encryption|security|headerType)=none|type=tcp|security=tls|path=%2F|mode=(?:gun|auto)|congestion_control=cubic"
    r"|udp_relay_mode=native|protocol=udp|(?:allowInsecure|insecure|allow_insecure)=0|[A-Za-z_-]+="
)
# A name that needs no further escapes, because apps escape spaces, bars and letters themselves.
_SAFE_NAME = re.compile(r"""(?:[^%#"<>\\^`{}]|%[0-9A-Fa-f]{2})*""")
# Invisible characters and quotes, which often come with a copied link.
_MARKS = "\ufeff\0 \t\r\n\u00a0\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069"
AROUND = _MARKS + "\"'`“”„‘’«»"
_BEFORE = re.compile(f"[{AROUND}]+")
_BEHIND = re.compile(f"[{_MARKS}]+$")
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "‘": "’", "«": "»"}
# If a password holds an unescaped #, its second half, the server and the port look like the name.
_SERVER_IN_NAME = re.compile(r"\S*@[^\s/?#@]+:[0-9]{1,5}/?[?#]", re.ASCII)


def parse(text: str) -> Node:
    """The server of a share link; raises LinkError. Spaces, invisible characters and quotes around it are ignored."""
    link = _bare(text[: 2 * MAX_LENGTH])
    _check_text(link)
    scheme, found, rest = link.partition("://")
    scheme = scheme.lower()
    if not found or scheme not in _PARSERS:
        raise LinkError("unsupported" if found and scheme in FOREIGN_SCHEMES else _kind(link))
    node = _PARSERS[scheme](f"{scheme}://{rest}", rest)
    _check_values(node)
    _check_name(link.partition("#")[2])
    return node


def emit(node: Node, remark: str | None = None) -> str:
    """The share link as most apps read it, with another name if one is given.

    Parsing it gives the same server. A node without a name is named by its protocol and address, because apps show
    a link without a name as an empty line, or drop it.
    """
    name = clean_remark(node.remark if remark is None else remark)
    return _EMITTERS[node.protocol](node, name or invented_name(node))


def outgoing(node: Node, remark: str | None = None) -> str:
    """The link for apps: the original link if it differs from ``emit`` only in ways that apps ignore.

    So a good link keeps the order and the explicit defaults that the operator wrote.
    """
    canonical = emit(node, remark)
    if vmess.alike(node.raw, canonical):
        return node.raw
    body, named, name = canonical.partition("#")
    given, _, given_name = node.raw.partition("#")
    # A base64 link holds the name inside, and mihomo accepts no other name after it.
    if not named or not _alike(given, body):
        return canonical
    same = clean_remark(unquote(given_name)) == clean_remark(
        unquote(name)
    ) and _SAFE_NAME.fullmatch(given_name)
    return node.raw if same else f"{given}#{name}"


def _alike(given: str, canonical: str) -> bool:
    head, _, query = given.partition("?")
    canonical_head, _, canonical_query = canonical.partition("?")
    items = query.split("&")
    names = {item.partition("=")[0] for item in items}
    # v2rayNG drops a vless link without a query.
    if (
        head != canonical_head
        or len(names) < len(items)
        or (not query and head.startswith("vless"))
    ):
        return False
    return all(map(_HARMLESS.fullmatch, set(items) ^ set(canonical_query.split("&"))))


def invented_name(node: Node) -> str:
    return clean_remark(f"{node.protocol} {join_host_port(node.server, node.port)}")


def fingerprint(node: Node) -> str:
    """SHA-256 in hexadecimal, which is equal for all spellings and names of one server."""
    params = sorted((name, value) for name, value in node.params.items() if name not in _CHANCE)
    found = [node.protocol, node.server, node.port, params, sorted(node.extra.items())]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _bare(text: str) -> str:
    """The link without surrounding characters."""
    before = _BEFORE.match(text)
    link = text[before.end() if before else 0 :]
    for quote in before[0] if before else "":
        link = _BEHIND.sub("", link).removesuffix(",").removesuffix(_QUOTES.get(quote, ""))
    return TRAILING.sub("", _BEHIND.sub("", link))


def _check_text(link: str) -> None:
    if not link:
        raise LinkError("empty")
    if len(link) > MAX_LENGTH:
        raise LinkError("too_long")
    if has_control_characters(link):
        raise LinkError("bad_text")
    if holds_link(link.partition("://")[2]):
        raise LinkError("two_links")


def _check_name(name: str) -> None:
    if _SERVER_IN_NAME.match(name) and not holds_link(unquote(name)):
        raise LinkError("bad_form")


def _check_values(node: Node) -> None:
    """Refuse line breaks and invalid UTF-8 in decoded values, because they would not survive a round trip."""
    values = [*node.params.values(), *node.extra, *node.extra.values()]
    if any("\ufffd" in value or has_control_characters(value) for value in values):
        raise LinkError("bad_text")


def _kind(text: str) -> str:
    """The error code for a line that is not a link, by what people usually paste instead."""
    if text.startswith(("#", "//", "STATUS=", "REMARKS=")):
        return "comment"
    return "html" if text.startswith("<") else "unknown_scheme"
