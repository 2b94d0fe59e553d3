"""Hosts and ports in links. ``operations.hosts`` normalises the host names."""

import re
from contextlib import suppress

from operations.hosts import BadHost, join_host_port, normalised_host, to_ascii, unescaped

from .common import MAX_LIST, LinkError

__all__ = [
    "ascii_name",
    "join_host_port",
    "parse_host",
    "parse_port",
    "parse_ports",
    "split_endpoint",
]

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


def split_endpoint(endpoint: str) -> tuple[str, str]:
    """Host and port of ``host:port`` or ``[IPv6]:port``, still in brackets; an absent port is empty."""
    if not endpoint.startswith("["):
        host, _, port = endpoint.partition(":")
        if ":" in port:
            raise LinkError("bad_host")
        return host, port
    host, closed, port = endpoint.partition("]")
    if port and not port.startswith(":"):
        raise LinkError("bad_host")
    return host + closed, port[1:]


def parse_host(text: str) -> str:
    """The normalised host of a link, with escapes decoded as browsers do. Raises LinkError."""
    text = text.strip()
    if not text:
        raise LinkError("missing_host")
    try:
        return normalised_host(unescaped(text))
    except BadHost:
        raise LinkError("bad_host") from None


def ascii_name(text: str) -> str:
    """The ASCII form of a name if there is one, otherwise the name itself."""
    if not text.isascii():
        with suppress(BadHost):
            return to_ascii(text)
    return text


def parse_port(text: str, default: int | None = None) -> int:
    if not text and default is not None:
        return default
    if not text:
        raise LinkError("missing_port")
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise LinkError("bad_port")
    return int(text)


def parse_ports(text: str) -> str:
    """``443``, ``5000-6000`` or ``443,5000-6000`` (also with colons) in one spelling; a range of one port becomes that port."""
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
