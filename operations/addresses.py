"""The client's address behind the trusted proxies."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
# Clients ask again and again, and each request needs its address several times.
_REMEMBERED = 1024


@lru_cache(_REMEMBERED)
def parse_address(text: str) -> Address | None:
    """Parses an address as proxies write it: bare, in brackets, or with a port; None if it is not an address."""
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
    """The entry that the outermost trusted proxy wrote into a forwarded header; empty if there is none."""
    entries = [entry.strip() for entry in header.split(",")]
    return entries[-depth] if 0 < depth <= len(entries) else ""


def client_address(meta: Mapping[str, Any], trusted_proxies: int) -> Address | None:
    """The client behind ``trusted_proxies`` proxies; the peer itself if they name no valid address."""
    forwarded = believed(meta.get("HTTP_X_FORWARDED_FOR", ""), trusted_proxies)
    return parse_address(forwarded) or parse_address(meta.get("REMOTE_ADDR", ""))


@lru_cache(_REMEMBERED)
def one_client(address: Address | None) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 connection."""
    if address is not None and address.version == 6:
        return str(ip_network(f"{address}/64", strict=False))
    return str(address or "unknown")


def shortened(address: Address | None) -> str:
    """The network of an address, which identifies no person: IPv4 to /24, IPv6 to /48."""
    if address is None:
        return ""
    bits = 8 if address.version == 4 else 80
    return str(type(address)(int(address) >> bits << bits))
