"""Whom the panel may contact on behalf of others: rules for URLs and for addresses. Pure; checked again at every hop.

``ipaddress`` alone is no guard: Python 3.11 calls multicast, 6to4 of loopback and more
"global" (docs: subscriptions), and ``getaddrinfo`` reads ``2130706433`` as 127.0.0.1. So
hosts are judged by the addresses they resolve to.
"""

import re
from base64 import b64encode
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, unquote, urljoin, urlsplit

import msgspec

from .links import LinkError
from .links.hosts import parse_host

Address = IPv4Address | IPv6Address

MAX_URL = 2048
PORTS = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_BAD_TEXT = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
_SAFE = "%/?:@!$&'()*+,;=~[]"
# The last label of what resolvers read as an IPv4 address: 127.1, 0x7f000001, 0177.0.0.1.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)
_LOCAL_NAMES = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "home.arpa")

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
# Global for Python 3.11, yet nothing of the public internet is there.
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "100::/64", "3fff::/20", "5f00::/16", "fec0::/10")
)
# Nobody's, so harmless in a list; but nothing is dialled there.
_EXAMPLES = tuple(
    ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
)


class Refused(ValueError):  # noqa: N818  an answer to what was asked, like LinkError
    """Why a URL is not fetched: ``code`` for programs; holds nothing of the URL."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Policy(msgspec.Struct, frozen=True):
    """What is allowed beyond https on a usual port of a public host name. ``private`` includes all but credentials."""

    http: bool = False
    ports: bool = False
    credentials: bool = False
    addresses: bool = False
    private: bool = False


class Target(msgspec.Struct, frozen=True):
    """A URL that passed. ``host``: as DNS takes it, IPv6 without brackets; ``target``: path and query, ASCII.

    ``authorization``: the header's value from credentials in the URL, or empty.
    """

    scheme: str
    host: str
    port: int
    target: str
    authorization: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def check_url(text: str, policy: Policy) -> Target:
    """The URL, cut apart; raises Refused. What is checked is what is then dialled: there is no second parser."""
    if not text or len(text) > MAX_URL or _BAD_TEXT.search(text):
        raise Refused("bad_url")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Refused("bad_url") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise Refused("bad_scheme")
    if scheme == "http" and not (policy.http or policy.private):
        raise Refused("http")
    userinfo, at, _ = parts.netloc.rpartition("@")
    if at and not policy.credentials:
        raise Refused("credentials")
    host = _host(parts.hostname or "", policy)
    path = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Target(scheme, host, _port(port, scheme, policy), path, _basic(userinfo) if at else "")


def redirected(target: Target, location: str, first: Target, policy: Policy) -> Target:
    """Where a redirect leads; raises Refused.

    Never from https to http. What was allowed for the sake of a private source is allowed
    at the place that the operator wrote, and nowhere else: a source must not lead around inside the network.
    """
    own = f"{target.scheme}://{target.host_header}{target.target}"
    try:
        url = urljoin(own, location)
    except ValueError:
        raise Refused("bad_url") from None
    found = check_url(url, msgspec.structs.replace(policy, credentials=True))
    if target.scheme == "https" and found.scheme == "http":
        raise Refused("downgrade")
    if not is_same_place(found, first):
        found = check_url(url, msgspec.structs.replace(policy, private=False, credentials=True))
    is_home = found.host == first.host and found.port in {first.port, 443}
    return msgspec.structs.replace(found, authorization=first.authorization if is_home else "")


def is_same_place(target: Target, first: Target) -> bool:
    """The same host, at the same port or after a step up to https."""
    return target.host == first.host and (target.port == first.port or target.port == _DEFAULT_PORTS["https"])


def is_public(address: Address) -> bool:
    """Whether a connection to this address leaves for the public internet and nothing else."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped or address in _NAT64:  # on a network with IPv6 alone that is how IPv4 looks
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        inner = _tunnelled(address)
        if inner is not None and not is_public(inner):
            return False
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


def may_be_dialled(address: Address, *, private: bool) -> bool:
    """``private``: in the operator's network as well, but never link-local: there clouds hand out their secrets."""
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
    is_odd = inner.is_link_local or inner.is_multicast or inner.is_unspecified or inner.is_reserved
    return is_public(address) or (private and (inner.is_loopback or not is_odd))


def parse_address(text: str) -> Address | None:
    """None for what is no address. Of a zone (``fe80::1%eth0``) the address counts."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_private_host(host: str) -> bool:
    """Whether a server in a list lies, by its name or address, inside somebody's own network or nowhere.

    Names are not resolved. Addresses kept free for documentation are nobody's: they may stand in a list.
    """
    address = parse_address(host)
    if address is None:
        return any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES) or "." not in host
    is_example = any(address in network for network in _EXAMPLES if network.version == address.version)
    return not is_example and not is_public(address)


def _host(text: str, policy: Policy) -> str:
    is_literal = ":" in text or _NUMBER.fullmatch(text.rstrip(".").rpartition(".")[2]) is not None
    if is_literal and not (policy.addresses or policy.private):
        raise Refused("ip_literal")
    try:
        host = parse_host(text)
    except LinkError:
        raise Refused("bad_host") from None
    address = parse_address(host)
    if address is not None and not may_be_dialled(address, private=policy.private):
        raise Refused("private_address")
    return host


def _port(port: int | None, scheme: str, policy: Policy) -> int:
    number = _DEFAULT_PORTS[scheme] if port is None else port
    is_high = number > 1023 and (policy.ports or policy.private)
    if number not in PORTS and not is_high:
        raise Refused("bad_port")
    return number


def _basic(userinfo: str) -> str:
    return f"Basic {b64encode(unquote(userinfo).encode()).decode()}"


def _tunnelled(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which a tunnel would take the packet."""
    if address.sixtofour:
        return address.sixtofour
    if address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.teredo[1] if address.teredo else None
