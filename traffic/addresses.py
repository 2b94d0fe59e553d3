"""Who is at the other end: the client's address behind as many proxies as are trusted."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

Address = IPv4Address | IPv6Address


def parse_address(text: str) -> Address | None:
    """An address as proxies write it: bare, in brackets, or with a port; None when it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def believed(header: str, depth: int) -> str:
    """The entry of a forwarded header that the outermost trusted proxy has written; empty when there is none."""
    entries = [entry.strip() for entry in header.split(",")]
    return entries[-depth] if 0 < depth <= len(entries) else ""


def client_address(meta: Mapping[str, Any], trusted_proxies: int) -> Address | None:
    """The client behind ``trusted_proxies`` proxies; the peer itself when they say nothing credible."""
    forwarded = believed(meta.get("HTTP_X_FORWARDED_FOR", ""), trusted_proxies)
    return parse_address(forwarded) or parse_address(meta.get("REMOTE_ADDR", ""))


def shortened(address: Address | None) -> str:
    """Enough to tell networks apart, too little to tell people apart: IPv4 to /24, IPv6 to /48."""
    if address is None:
        return ""
    bits = 8 if address.version == 4 else 80
    return str(type(address)(int(address) >> bits << bits))
