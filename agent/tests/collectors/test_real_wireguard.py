"""WireGuard with wireguard-go: two ends in two namespaces, and a tunnel between them."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

import pytest
from waiting import eventually

from xpert_agent.sources.base import Source
from xpert_agent.sources.tally import THIS_SERVER

from .fakes import Journal, MemoryStore, booked, opened
from .labs import Lab, Origin, exchange, needs, needs_namespaces, run

pytestmark = [needs("wireguard-go", "wg"), needs_namespaces()]

UP, DOWN = 300_000, 2_000_000


class End:
    """One end of the tunnel."""

    def __init__(self, lab: Lab, name: str, address: str) -> None:
        self.network = lab.network(name)
        self.interface = f"x{name[:2]}{os.urandom(3).hex()}"
        self.private = run("wg", "genkey").strip()
        self.public = run("wg", "pubkey", given=self.private + "\n").strip()
        self.address = address
        self._key = lab.folder / f"{name}.key"
        self._key.write_text(self.private)
        self._lab = lab
        self.up()

    def up(self) -> None:
        """Makes the interface, by a process of its own."""
        self.process = self._lab.start(
            "wireguard-go", "-f", self.interface, network=self.network, LOG_LEVEL="error"
        )
        eventually(lambda: Path(f"/var/run/wireguard/{self.interface}.sock").exists())
        self.network.run(
            "wg", "set", self.interface, "listen-port", "51820", "private-key", str(self._key)
        )
        self.network.run("ip", "address", "add", f"{self.address}/24", "dev", self.interface)
        self.network.run("ip", "link", "set", self.interface, "up")

    def peer(self, other: End, endpoint: str = "") -> None:
        where = ["endpoint", endpoint] if endpoint else []
        self.network.run(
            "wg",
            "set",
            self.interface,
            "peer",
            other.public,
            "allowed-ips",
            f"{other.address}/32",
            *where,
        )

    def forget(self, other: End) -> None:
        self.network.run("wg", "set", self.interface, "peer", other.public, "remove")

    def read(self, source: Source, journal: Journal) -> dict[tuple[str, str], tuple[int, int]]:
        return dict(self.network.inside(lambda: journal.read(source)))

    def shows(self) -> tuple[int, int]:
        """Received and sent, as `wg` itself shows it."""
        printed = self.network.run("wg", "show", self.interface, "transfer")
        received, sent = re.split(r"\s+", printed.strip())[1:]
        return int(received), int(sent)


class Tunnel:
    def __init__(self, lab: Lab) -> None:
        self.server = End(lab, "server", "10.77.0.1")
        self.client = End(lab, "client", "10.77.0.2")
        lab.cable(self.server.network, "192.0.2.1/24", self.client.network, "192.0.2.2/24")
        self.connect()
        self.origin = self.server.network.inside(lambda: Origin("10.77.0.1"))

    def connect(self) -> None:
        """Makes both ends' peers new, so that they greet each other at once."""
        self.client.forget(self.server)
        self.server.peer(self.client)
        self.client.peer(self.server, "192.0.2.1:51820")

    def exchange(self, up: int = UP, down: int = DOWN) -> None:
        def work() -> None:
            with socket.create_connection(("10.77.0.1", self.origin.port), 10) as connection:
                exchange(connection, up, down)

        self.client.network.inside(work)
        eventually(self._is_quiet)

    def _is_quiet(self) -> bool:
        before = self.server.shows(), self.client.shows()
        time.sleep(0.2)
        return before == (self.server.shows(), self.client.shows())


@pytest.fixture
def tunnel(lab: Lab) -> Tunnel:
    return Tunnel(lab)


def test_both_ends_tell_the_bytes_of_the_tunnel(tunnel: Tunnel, store: MemoryStore) -> None:
    at_server, at_client = Journal(), Journal()
    server = opened("wireguard", interface=tunnel.server.interface)
    client = opened("wireguard", store, role="client", interface=tunnel.client.interface)
    tunnel.server.read(server, at_server)
    tunnel.client.read(client, at_client)
    tunnel.exchange()

    ((key, (up, down)),) = tunnel.server.read(server, at_server).items()
    assert key == (tunnel.client.public, THIS_SERVER)
    assert (up, down) == tunnel.server.shows()
    assert (up > UP, down > DOWN) == (True, True)

    ((key, (sent, received)),) = tunnel.client.read(client, at_client).items()
    assert key == ("", "192.0.2.1:51820")
    assert (received, sent) == tunnel.client.shows()
    assert (UP < up <= sent, DOWN < received <= down) == (True, True)
    assert tunnel.client.private not in store.text


def test_an_interface_made_again_counts_from_zero(tunnel: Tunnel) -> None:
    journal = Journal()
    source = opened("wireguard", interface=tunnel.server.interface)
    tunnel.server.read(source, journal)
    tunnel.exchange(down=100_000)
    before = next(iter(tunnel.server.read(source, journal).values()))
    tunnel.server.process.stop()
    tunnel.server.up()
    tunnel.connect()
    tunnel.origin = tunnel.server.network.inside(lambda: Origin("10.77.0.1"))
    tunnel.exchange()
    up, down = next(iter(tunnel.server.read(source, journal).values()))
    received, sent = tunnel.server.shows()
    assert received > before[0], "it has passed its old value"
    assert (up - before[0], down - before[1]) == (received, sent)


def test_a_peer_removed_and_added_counts_from_zero(tunnel: Tunnel) -> None:
    journal = Journal()
    source = opened("wireguard", interface=tunnel.server.interface)
    tunnel.server.read(source, journal)
    tunnel.exchange()
    before = next(iter(tunnel.server.read(source, journal).values()))
    tunnel.server.forget(tunnel.client)
    tunnel.connect()
    tunnel.exchange(down=200_000)
    up, down = next(iter(tunnel.server.read(source, journal).values()))
    received, sent = tunnel.server.shows()
    assert (up - before[0], down - before[1]) == (received, sent)


def test_what_existed_is_shown_by_a_check(tunnel: Tunnel) -> None:
    tunnel.exchange()
    source = opened("wireguard", interface=tunnel.server.interface)
    shown = booked(tunnel.server.network.inside(source.read))
    assert shown == {(tunnel.client.public, THIS_SERVER): tunnel.server.shows()}
