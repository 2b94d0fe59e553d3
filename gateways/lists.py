"""A person's list with gateways in it: under the servers' names, with credentials of that person's own."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from subscriptions import links
from subscriptions.links import Node
from subscriptions.serving.catalogue import Listing, Personaliser

from . import credentials, routes
from .models import Inbound
from .routes import Way

Params = Mapping[str, str]


class _Names:
    """Names of the entries of one server: its own for the first, then with the gateway or the protocol behind it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._taken: set[str] = set()
        self._gateways: set[str] = set()

    def direct(self) -> None:
        self._taken.add(self._name)

    def of(self, gateway: str, protocol: str) -> str:
        told = (protocol, f"{gateway} {protocol}") if gateway in self._gateways else (gateway,)
        self._gateways.add(gateway)
        wanted = [self._name, *(f"{self._name} · {text}" for text in told)]
        name = next((text for text in wanted if text not in self._taken), wanted[-1])
        self._taken.add(name)
        return name


def personalised(token: str, listings: Sequence[Listing], ways: Sequence[Way]) -> list[Node]:
    """What one person gets of ``listings``, in their order."""
    return [node for listing in listings for node in _entries(token, listing, ways)]


def _entries(token: str, listing: Listing, ways: Sequence[Way]) -> Iterator[Node]:
    through = [way for way in ways if way.carries(listing)]
    if not through:
        yield listing.node
        return
    names = _Names(listing.node.remark or links.invented_name(listing.node))
    if all(way.beside for way in through):
        names.direct()
        yield listing.node
    server = routes.tag(listing.node)
    for way in (way for way in through if not way.obstacle(listing.node)):
        digest = credentials.personal(way.secret, token, server)
        for protocol, port in _open_ports(way, server):
            yield _entry(way, protocol, port, digest, names.of(way.name, protocol))


def _open_ports(way: Way, server: str) -> Iterator[tuple[str, int]]:
    """By protocol."""
    for protocol, first in way.inbounds:
        port = way.port(first, server)
        if port is not None and way.is_reachable(protocol):
            yield protocol, port


def _entry(way: Way, protocol: str, port: int, digest: bytes, name: str) -> Node:
    params = _PARAMS[protocol](way, digest)
    node = Node("", protocol, way.host, port, name, params)
    return msgspec.structs.replace(node, raw=links.emit(node))


def _shadowsocks(way: Way, digest: bytes) -> Params:
    key = f"{credentials.shadowsocks_server_key(way.secret)}:{credentials.shadowsocks_key(digest)}"
    return {"method": credentials.CIPHER, "password": key}


def _tls(way: Way) -> Params:
    """Apps differ in what they can pin and what they call it."""
    if way.pins is None:
        return {"security": "tls"}
    whole, public_key = way.pins
    return {"security": "tls", "pin_sha256": whole, "pcs": whole, "pin_public_key": public_key}


def _password(way: Way, digest: bytes) -> Params:
    return {"password": credentials.password(digest), **_tls(way)}


def _vless(way: Way, digest: bytes) -> Params:
    uuid = {"uuid": credentials.uuid_of(digest)}
    if not way.reality_name:
        return {**uuid, **_tls(way)}
    return uuid | {
        "security": "reality",
        "sni": way.reality_name,
        "pbk": way.reality_key,
        "sid": credentials.short_id(way.secret),
        "fp": "chrome",
        "flow": credentials.VISION,
    }


def _tuic(way: Way, digest: bytes) -> Params:
    return {
        "uuid": credentials.uuid_of(digest),
        "password": credentials.password(digest),
        "congestion_control": "bbr",
        "alpn": "h3",
        **_tls(way),
    }


_PARAMS: dict[str, Callable[[Way, bytes], Params]] = {
    Inbound.Protocol.SHADOWSOCKS: _shadowsocks,
    Inbound.Protocol.TROJAN: _password,
    Inbound.Protocol.VLESS: _vless,
    Inbound.Protocol.HYSTERIA2: _password,
    Inbound.Protocol.TUIC: _tuic,
}

PERSONALISER = Personaliser(load=routes.all_ways, apply=personalised)
