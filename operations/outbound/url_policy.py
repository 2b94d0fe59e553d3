"""Where the panel may connect on behalf of others: rules for URLs and addresses. Pure; checked again at every redirect.

``ipaddress.is_global`` is not used, because it counts multicast and more as global, and its results
differ between releases of Python, even between 3.11.2 and 3.11.7. ``getaddrinfo`` reads ``2130706433``
as 127.0.0.1, so hosts are judged by the addresses they resolve to.
"""

import re
from base64 import b64encode
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, unquote, urljoin, urlsplit

import msgspec

from operations.hosts import (
    BadHost,
    bracketed,
    is_numeric,
    join_host_port,
    normalised_host,
    unescaped,
)

Address = IPv4Address | IPv6Address

MAX_URL = 2048
PORTS = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_BAD_TEXT = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
_SAFE = "%/?:@!$&'()*+,;=~[]"
_LOCAL_NAMES = (
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "home.arpa",
)

_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


# Documentation addresses are harmless in a list, but never dialled.
_EXAMPLES = _networks(
    "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"
)
# Metadata services of clouds, which give out secrets: Azure, Alibaba, Oracle, AWS, Google, Oracle, Scaleway.
# Their other metadata addresses are link-local.
_METADATA = _networks(
    "168.63.129.16/32",
    "100.100.100.200/32",
    "192.0.0.192/32",
    "fd00:ec2::/32",
    "fd20:ce::/32",
    "fd00:c1::/32",
    "fd00:42::/32",
)
# The special-purpose registries of IANA (RFC 6890) for IPv4 and for global unicast IPv6.
_NOT_PUBLIC = (
    *_EXAMPLES,
    *_METADATA,
    *_networks(
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/3",
        "2001::/23",
    ),
)
# Networks where an operator's own servers may be.
_PRIVATE = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "::1/128",
    "fc00::/7",
)


class Refused(ValueError):  # noqa: N818  an answer to what was asked, like LinkError
    """A URL is refused. ``code`` gives the reason to programs and holds no part of the URL."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Policy(msgspec.Struct, frozen=True):
    """Exceptions from the rule "https on a usual port of a public host name". ``private`` implies all except credentials."""

    http: bool = False
    ports: bool = False
    credentials: bool = False
    addresses: bool = False
    private: bool = False


class Target(msgspec.Struct, frozen=True):
    """A URL that was accepted. ``host``: ASCII, IPv6 without brackets; ``target``: path and query in ASCII.

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
        is_usual = self.port == _DEFAULT_PORTS[self.scheme]
        return bracketed(self.host) if is_usual else join_host_port(self.host, self.port)


def check_url(text: str, policy: Policy) -> Target:
    """Parse a URL; raises Refused. There is no second parser, so the checked parts are the ones that are dialled."""
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
    path = quote(parts.path or "/", safe=_SAFE) + (
        f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    )
    return Target(scheme, host, _port(port, scheme, policy), path, _basic(userinfo) if at else "")


def redirected(target: Target, location: str, first: Target, policy: Policy) -> Target:
    """The target of a redirect; raises Refused.

    A redirect from https to http is refused. Permissions of a private source apply only to the host
    and port that the operator entered, because a source must not redirect inside the operator's network.
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
    """Whether both have the same host, and the same port or the default https port."""
    return target.host == first.host and (
        target.port == first.port or target.port == _DEFAULT_PORTS["https"]
    )


def is_public(address: Address) -> bool:
    """Whether a connection to this address goes to the public internet."""
    if isinstance(address, IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    return not _is_in(address, _NOT_PUBLIC)


def may_be_dialled(address: Address, *, private: bool) -> bool:
    """``private`` also allows the operator's network, but never the metadata services of clouds."""
    if is_public(address):
        return True
    bare = getattr(address, "ipv4_mapped", None) or address
    return private and _is_in(bare, _PRIVATE) and not _is_in(bare, _METADATA)


def parse_address(text: str) -> Address | None:
    """The address without its zone (``fe80::1%eth0``); None if the text is not an address."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_private_host(host: str) -> bool:
    """Whether the name or address of a server in a list belongs to a private network or to nothing.

    Names are not resolved. Documentation addresses are allowed in a list, because nobody owns them.
    """
    address = parse_address(host)
    if address is None:
        return (
            any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES)
            or "." not in host
        )
    return not _is_in(address, _EXAMPLES) and not is_public(address)


def _host(text: str, policy: Policy) -> str:
    is_literal = ":" in text or is_numeric(text)
    if is_literal and not (policy.addresses or policy.private):
        raise Refused("ip_literal")
    try:
        host = normalised_host(unescaped(text))
    except BadHost:
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


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside an IPv6 address: mapped, NAT64 or 6to4."""
    if address in _NAT64:  # IPv6-only networks represent IPv4 addresses this way
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_in(address: Address, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(address in network for network in networks)
