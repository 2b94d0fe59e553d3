"""Normalised host names. Pure.

Links, reports, URLs and the admin all use this module, so that each server has one spelling.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import unquote

import idna

# The limit before normalisation. A name in another script may be longer than its ASCII form, but not by that much.
MAX_WRITTEN = 512
MAX_NAME = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
# Resolvers read these as IPv4 addresses although they do not look like one: 2130706433, 0x7f000001, 127.1.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)
# Only escapes beyond ASCII: browsers write host names like this, and Go reads no other escapes.
_ESCAPED = re.compile(r"(?:[^%]|%[89A-Fa-f][0-9A-Fa-f])*")


class BadHost(ValueError):  # noqa: N818  an answer to what was typed
    """The text is not a host name or address."""


def normalised_host(text: str) -> str:
    """Host name in lower case ASCII, IPv4, or IPv6 as RFC 5952 writes it without brackets; raises BadHost.

    One trailing dot is dropped. An IPv4-mapped IPv6 address becomes the IPv4 address. Other spellings of IPv4 (``0x7f000001``, ``127.1``) are refused, because resolvers disagree on them.
    """
    host = _normalised(text) if len(text) <= MAX_WRITTEN else None
    if host is None:
        raise BadHost("not a host name, an IPv4 or an IPv6 address")
    return host


def unescaped(host: str) -> str:
    """Decode percent-encoded letters beyond ASCII. Escapes of ASCII stay, so ``normalised_host`` refuses them."""
    return unquote(host) if _ESCAPED.fullmatch(host) else host


def to_ascii(name: str) -> str:
    """The ASCII form of an international name (IDNA 2008 with the mapping of UTS 46); raises BadHost."""
    try:
        return idna.encode(name[:MAX_WRITTEN], uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise BadHost("not an international name") from None


def is_numeric(host: str) -> bool:
    """Whether resolvers read the text as an IPv4 address in any spelling."""
    return _NUMBER.fullmatch(host.lower().removesuffix(".").rpartition(".")[2]) is not None


def bracketed(host: str) -> str:
    """The host as written before a port: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def join_host_port(host: str, port: int | str) -> str:
    """``host:port``, with IPv6 in brackets."""
    return f"{bracketed(host)}:{port}"


@lru_cache(maxsize=8192)
def _normalised(text: str) -> str | None:
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1])
    if ":" in text:
        return _ipv6(text)
    try:
        name = (text if text.isascii() else to_ascii(text)).lower().removesuffix(".")
    except BadHost:
        return None
    if is_numeric(name):
        return _ipv4(name)
    is_name = len(name) <= MAX_NAME and all(map(_LABEL.fullmatch, name.split(".")))
    return name if is_name else None


def _ipv4(text: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def _ipv6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    if address.scope_id:
        return None
    return str(address.ipv4_mapped or address.compressed)
