"""shadowsocks-libev: a server that reports by itself, and ss-manager, with real traffic."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ports import free_port, is_open
from waiting import eventually

from xpert_agent.sources.base import Source
from xpert_agent.sources.shadowsocks import ping

from .fakes import Journal, MemoryStore, opened
from .labs import Lab, Origin, Process, connect_by_socks, exchange, needs, origin

pytestmark = needs("ss-server", "ss-local", "ss-manager")

HOST = "vpn.example.com"
METHOD = "aes-256-gcm"
UP, DOWN = 200_000, 700_000
OVERHEAD = 0.01
"""The value is payload and the address that the client asks for."""


class Servers:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.port = free_port()

    def server(self, manager: str) -> Process:
        return self._lab.start(
            *("ss-server", "-s", "127.0.0.1", "-p", str(self.port), "-k", "secret", "-m", METHOD),
            *("--manager-address", manager),
        )

    def client(self, port: int = 0) -> tuple[str, int]:
        """A SOCKS proxy of a client of that server."""
        local = free_port()
        self._lab.start(
            *("ss-local", "-s", "127.0.0.1", "-p", str(port or self.port), "-k", "secret"),
            *("-m", METHOD, "-b", "127.0.0.1", "-l", str(local)),
        )
        eventually(lambda: is_open(local))
        return ("127.0.0.1", local)


@pytest.fixture
def servers(lab: Lab) -> Servers:
    return Servers(lab)


def carry(proxy: tuple[str, int], target: Origin, up: int = UP, down: int = DOWN) -> None:
    with connect_by_socks(proxy, "127.0.0.1", target.port) as connection:
        exchange(connection, up, down)


def is_payload(value: int, payload: int) -> bool:
    return payload <= value <= payload * (1 + OVERHEAD) + 200


def hear(source: Source, journal: Journal, port: int, at_least: int) -> int:
    """The booked bytes, once they are as many as expected."""

    def booked() -> int:
        return journal.read(source).get((str(port), f"{HOST}:{port}"), (0, 0))[1]

    eventually(lambda: booked() >= at_least, seconds=20)
    return booked()


def test_a_server_reports_by_itself_over_udp_and_a_restart_is_added(
    servers: Servers, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpert_agent.sources.shadowsocks.FIRST_LOOK", -1.0)
    manager = f"127.0.0.1:{free_port()}"
    source, journal = opened("shadowsocks", store, host=HOST, listen=manager), Journal()
    try:
        journal.read(source)
        server = servers.server(manager)
        proxy = servers.client()
        with origin() as target:
            carry(proxy, target)
            first = hear(source, journal, servers.port, UP + DOWN)
            assert is_payload(first, target.received + target.sent)
            server.kill()
            servers.server(manager)
            eventually(lambda: is_open(servers.port))
            carry(proxy, target, up=10, down=DOWN)
            second = hear(source, journal, servers.port, first + 10 + DOWN)
            assert is_payload(second, target.received + target.sent)
        assert journal.sums[str(servers.port), f"{HOST}:{servers.port}"][0] == 0
    finally:
        source.close()


def test_a_server_reports_to_a_unix_socket(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpert_agent.sources.shadowsocks.FIRST_LOOK", -1.0)
    manager = str(tmp_path / "manager.sock")
    source, journal = opened("shadowsocks", host=HOST, listen=manager), Journal()
    try:
        journal.read(source)
        servers.server(manager)
        with origin() as target:
            carry(servers.client(), target)
            value = hear(source, journal, servers.port, UP + DOWN)
            assert is_payload(value, target.received + target.sent)
    finally:
        source.close()


def start_manager(lab: Lab, address: str) -> None:
    lab.start(
        *("ss-manager", "--manager-address", address, "-s", "127.0.0.1", "-m", METHOD),
        HOME=str(lab.folder),
    )


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_manager_is_asked_through_a_unix_socket_even_where_no_folder_can_be_written(
    lab: Lab, has_folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lab.folder / "manager.sock"
    start_manager(lab, str(path))
    eventually(path.is_socket)
    if not has_folder:
        monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert ping(str(path)) == [b"stat: {}"]


def test_a_manager_is_asked_for_all_its_ports(lab: Lab, servers: Servers) -> None:
    port = free_port()
    start_manager(lab, f"127.0.0.1:{port}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as adding:
        adding.settimeout(0.5)
        added = b'add: {"server_port":%d,"password":"secret"}' % servers.port

        def is_added() -> bool:
            adding.sendto(added, ("127.0.0.1", port))
            try:
                return adding.recv(100) == b"ok"
            except OSError:
                return False

        eventually(is_added)
    eventually(lambda: is_open(servers.port))
    source, journal = opened("shadowsocks", host=HOST, manager=f"127.0.0.1:{port}"), Journal()
    journal.read(source)
    with origin() as target:
        carry(servers.client(), target)
        value = hear(source, journal, servers.port, UP + DOWN)
        assert is_payload(value, target.received + target.sent)
