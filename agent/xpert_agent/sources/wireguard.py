"""WireGuard and AmneziaWG, by `wg show` and `awg show`.

Only `transfer` and `endpoints` are asked for: `dump` would print private and preshared keys.
On a server a peer is a person, and received bytes are what the person sends. On a client a
peer is the external server, and received bytes are what the person gets. The counters begin
at 0 when the interface is made again, and a peer's when it is removed and added.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from xpert_agent.mapping import parse_endpoint
from xpert_agent.sources.base import Counter, Endpoint, Key, Option, Reading, SourceError, Store
from xpert_agent.sources.commands import output
from xpert_agent.sources.tally import THIS_SERVER, Part, Tally

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class WireGuard:
    kind: ClassVar[str] = "wireguard"
    options: ClassVar[tuple[Option, ...]] = (
        Option("role", "server: every peer is a person; client: every peer is a server", "server"),
        Option("interface", "the interface", "wg0"),
        Option("remote", "a client's server, host:port; default: the peer's address", ""),
    )
    program: ClassVar[str] = "wg"

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._interface = options["interface"]
        self._role = options["role"]
        if self._role not in ("server", "client"):
            raise SourceError(f"The option “role” of {self.kind} is server or client.")
        self._remote = options["remote"]
        if self._remote and not _endpoint(self._remote, self.kind):
            raise SourceError(f"The option “remote” of {self.kind} is host:port.")
        self._tally = Tally(store)

    def read(self) -> Reading:
        transfer = parse_transfer(self._show("transfer"))
        names = self._server_names(transfer) if self._role == "client" else {}
        parts = {
            peer: _server(names[peer], seen) if names else _person(peer, seen)
            for peer, seen in transfer.items()
        }
        self._tally.observe_all(parts, epoch=_epoch(self._interface))
        endpoints = {name: _endpoint(name, self.kind) for name in names.values()}
        return self._tally.reading((), {name: e for name, e in endpoints.items() if e})

    def close(self) -> None:
        self._tally.save()

    def _show(self, what: str) -> str:
        return output([self.program, "show", self._interface, what])

    def _server_names(self, peers: Iterable[str]) -> dict[str, str]:
        """Peer -> the server's address, or the peer's key while it has none."""
        known = {} if self._remote else parse_endpoints(self._show("endpoints"))
        return {peer: self._remote or known.get(peer, peer) for peer in peers}


class AmneziaWg(WireGuard):
    kind: ClassVar[str] = "amneziawg"
    program: ClassVar[str] = "awg"


def parse_transfer(text: str) -> dict[str, Counter]:
    """Peer -> bytes received (`up`) and sent (`down`), as the interface's own machine sees them."""
    return {
        peer: Counter(up=int(received), down=int(sent))
        for peer, received, sent in _rows(text, columns=3)
    }


def parse_endpoints(text: str) -> dict[str, str]:
    """Peer -> its address and port; a peer that was never heard of has none."""
    return {peer: address for peer, address in _rows(text, columns=2) if address != "(none)"}


def _rows(text: str, columns: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        row = line.split("\t")
        if len(row) != columns:
            raise SourceError("`show` prints something else than a row per peer.")
        yield row


def _person(peer: str, seen: Counter) -> Part:
    return Part(Key(peer, THIS_SERVER), seen)


def _server(name: str, seen: Counter) -> Part:
    return Part(Key("", name), Counter(up=seen.down, down=seen.up))


def _endpoint(address: str, kind: str) -> Endpoint | None:
    return parse_endpoint(f"{address}/{kind}")


def _epoch(interface: str) -> str:
    """Changes when the interface is made again, also by a reboot."""
    try:
        index = socket.if_nametoindex(interface)
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    except OSError as error:
        raise SourceError(f"There is no interface “{interface}”.") from error
    return f"{boot}:{index}"
