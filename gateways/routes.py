"""Which servers go through which gateway, and what a server is called there."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from subscriptions import links
from subscriptions.formats import sing_box, xray
from subscriptions.formats.common import Entry, Writer, expressed
from subscriptions.serving import catalogue
from subscriptions.serving.catalogue import DIRECT, Listing

from .models import Gateway, Inbound

# Where an agent finds its core's own interface: on the gateway's loopback.
API_PORT = 9095
# Ports of a protocol on a gateway of Xray, from the one that the operator has chosen.
PORTS = 500
# Hexadecimal digits of a fingerprint: enough for a thousand servers to differ.
_TAG = 12


class Way(msgspec.Struct, frozen=True):
    """A gateway as lists and configurations need it. ``sources``: ids; None = all of them. ``slots``: by server, for Xray.

    ``pins``: of the certificate that it has made itself, whole and its public key; None when it has one that apps trust.
    Empty, and so is ``reality_key``, until its agent has told them.
    """

    name: str
    host: str
    secret: str
    beside: bool
    direct: bool
    sources: frozenset[int] | None
    inbounds: tuple[tuple[str, int], ...]
    pins: tuple[str, str] | None = None
    reality_name: str = ""
    reality_key: str = ""
    engine: str = Gateway.Engine.SING_BOX
    slots: Mapping[str, int] = {}

    def outbound(self, node: links.Node) -> Entry | None:
        """The server in the words of the engine; None when it has none."""
        entry = _FORMATS[self.engine].entry
        return entry(node, tag(node)) if expressed(node, entry) else None

    def obstacle(self, node: links.Node) -> str:
        """The reason why a server is not reached: the engine lacks the ``protocol``, the ``transport`` or an ``option``, or there is no ``port``.

        "" for a server that is reached.
        """
        known = _FORMATS[self.engine]
        if expressed(node, known.entry):
            return "port" if self.slots.get(tag(node), 0) >= PORTS else ""
        if node.protocol not in known.protocols:
            return "protocol"
        return "option" if node.params.get("network", "tcp") in known.transports else "transport"

    def slot(self, server: str) -> int | None:
        """The server's place among the ports of a protocol; None as long as it has none."""
        found = self.slots.get(server)
        return found if found is not None and found < PORTS else None

    def port(self, first: int, server: str) -> int | None:
        """Where a server is reached; ``first``: the protocol's port. sing-box has one port for all servers."""
        if self.engine == Gateway.Engine.SING_BOX:
            return first
        slot = self.slot(server)
        return None if slot is None else first + slot

    def needs_certificate(self, protocol: str) -> bool:
        return protocol != Inbound.Protocol.SHADOWSOCKS and not self.speaks_reality(protocol)

    def speaks_reality(self, protocol: str) -> bool:
        return protocol == Inbound.Protocol.VLESS and bool(self.reality_name)

    def is_reachable(self, protocol: str) -> bool:
        """Whether apps can tell this gateway from somebody else."""
        if self.speaks_reality(protocol):
            return bool(self.reality_key)
        return protocol == Inbound.Protocol.SHADOWSOCKS or self.pins is None or all(self.pins)

    def carries(self, listing: Listing) -> bool:
        return any(self._takes(origin) for origin in listing.origins)

    def _takes(self, origin: int) -> bool:
        if origin == DIRECT:
            return self.direct
        return self.sources is None or origin in self.sources


def way(gateway: Gateway) -> Way:
    """Reads the gateway's inbounds and sources, prefetched or not."""
    sources = None if gateway.all_sources else frozenset(row.pk for row in gateway.sources.all())
    return Way(
        name=gateway.name,
        host=gateway.host,
        secret=gateway.secret,
        beside=gateway.beside,
        direct=gateway.direct,
        sources=sources,
        inbounds=tuple(_inbounds(gateway.inbounds.all())),
        pins=None if gateway.certificate else (gateway.certificate_pin, gateway.public_key_pin),
        reality_name=gateway.reality_server_name,
        reality_key=gateway.reality_public_key,
        engine=gateway.engine,
        slots=_slots(gateway),
    )


def _slots(gateway: Gateway) -> dict[str, int]:
    if gateway.engine != Gateway.Engine.XRAY:
        return {}
    return {row.tag: row.slot for row in gateway.servers.all() if row.slot is not None}


def _inbounds(rows: Iterable[Inbound]) -> Iterable[tuple[str, int]]:
    return ((row.protocol, row.port) for row in rows)


def all_ways() -> Sequence[Way]:
    rows = Gateway.objects.prefetch_related("inbounds", "sources", "servers").order_by("pk")
    return tuple(way(row) for row in rows)


def tag(node: links.Node) -> str:
    """The server's name on every gateway: the same while nothing changes that matters for a connection."""
    return f"s{links.fingerprint(node)[:_TAG]}"


def unreachable(way: Way) -> list[links.Node]:
    """The servers that were to go through this gateway, and that its engine cannot reach."""
    listings = catalogue.listed(catalogue.all_groups())
    nodes = (listing.node for listing in listings if way.carries(listing))
    return [node for node in nodes if way.obstacle(node)]


class _Format(NamedTuple):
    entry: Writer
    protocols: Collection[str]
    transports: Collection[str]


_FORMATS: Mapping[str, _Format] = {
    Gateway.Engine.SING_BOX: _Format(sing_box.entry, sing_box.PROTOCOLS, sing_box.TRANSPORTS),
    Gateway.Engine.XRAY: _Format(xray.outbound, xray.PROTOCOLS, xray.TRANSPORTS),
}
