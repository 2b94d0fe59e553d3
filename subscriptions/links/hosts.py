"""Where a server is: host names, addresses, ports and ranges of ports."""

import ipaddress
import re
from contextlib import suppress
from urllib.parse import unquote

import idna

from .common import MAX_LIST, LinkError

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
# What resolvers take for an IPv4 address although it does not look like one: 2130706433, 0x7f000001.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)
# Of what is no ASCII alone: so browsers write a host name, and Go reads no other.
_ESCAPED = re.compile(r"(?:[^%]|%[89A-Fa-f][0-9A-Fa-f])*")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


def split_endpoint(endpoint: str) -> tuple[str, str]:
    """Host and port of ``host:port`` or ``[IPv6]:port``, still in brackets; the port is empty when there is none."""
    if not endpoint.startswith("["):
        host, _, port = endpoint.partition(":")
        if ":" in port:
            raise LinkError("bad_host")
        return host, port
    host, closed, port = endpoint.partition("]")
    if port and not port.startswith(":"):
        raise LinkError("bad_host")
    return host + closed, port[1:]


def join_endpoint(server: str, port: int) -> str:
    """The reverse: an IPv6 address goes into brackets."""
    return f"[{server}]:{port}" if ":" in server else f"{server}:{port}"


def parse_host(text: str) -> str:
    """Host name in ASCII lower case without a trailing dot, IPv4, or IPv6 as RFC 5952 writes it."""
    text = text.strip()
    if not text:
        raise LinkError("missing_host")
    if _ESCAPED.fullmatch(text):
        text = unquote(text)
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1])
    if ":" in text:
        return _ipv6(text)
    host = (text if text.isascii() else to_ace(text)).lower().removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(host)
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise LinkError("bad_host")
    return host


def ascii_name(text: str) -> str:
    """A name as it goes over the wire where that is possible, else as it is."""
    if not text.isascii():
        with suppress(LinkError):
            return to_ace(text)
    return text


def to_ace(text: str) -> str:
    try:
        return idna.encode(text[:512], uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise LinkError("bad_host") from None


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise LinkError("bad_host") from None


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise LinkError("bad_host") from None
    if address.scope_id:
        raise LinkError("bad_host")
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else address.compressed


def parse_port(text: str, default: int | None = None) -> int:
    if not text and default is not None:
        return default
    if not text:
        raise LinkError("missing_port")
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise LinkError("bad_port")
    return int(text)


def parse_ports(text: str) -> str:
    """``443``, ``5000-6000`` or ``443,5000-6000`` (also with colons) in one spelling; a range of one is one port."""
    parts = text.split(",")
    if len(parts) > MAX_LIST:
        raise LinkError("bad_port")
    return ",".join(_parse_range(part.strip()) for part in parts)


def _parse_range(text: str) -> str:
    start, dash, end = text.replace(":", "-").partition("-")
    if not start or (dash and not end):
        raise LinkError("bad_port")
    low = parse_port(start)
    high = parse_port(end) if dash else low
    if high < low:
        raise LinkError("bad_port")
    return str(low) if high == low else f"{low}-{high}"
