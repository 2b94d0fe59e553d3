from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from waiting import eventually

from xpert_agent.sources import complete_options
from xpert_agent.sources.base import Endpoint, SourceError
from xpert_agent.sources.datagrams import Datagram
from xpert_agent.sources.shadowsocks import Shadowsocks, parse_stat, ping

from .fakes import Clock, Journal, MemoryStore, booked, opened

HOST = "vpn.example.com"


class Listener:
    """A `Shadowsocks` that is handed datagrams without a network, at a time that the test sets."""

    def __init__(self, store: MemoryStore) -> None:
        self.source = Shadowsocks(complete_options("shadowsocks", {"host": HOST}), store)
        self.clock = Clock()
        self.source._tally.clock = self.clock

    def hear(self, text: str) -> None:
        self.source._take([Datagram(text.encode() + b"\0", None)])

    @property
    def sums(self) -> dict[str, int]:
        """Port -> bytes; all of them are download."""
        counters = booked(self.source._tally.reading())
        assert all(up == 0 for up, _ in counters.values())
        return {port: down for (port, _), (_, down) in counters.items()}


@pytest.fixture
def server(store: MemoryStore) -> Listener:
    listener = Listener(store)
    listener.source._tally.began = listener.clock.now
    return listener


def test_a_person_is_a_port_and_the_one_number_is_download(server: Listener) -> None:
    server.hear('stat: {"8388":500}')
    server.hear('stat: {"8388":900515}')
    reading = server.source._reading([])
    assert booked(reading) == {("8388", f"{HOST}:8388"): (0, 900_015)}
    assert reading.endpoints == {f"{HOST}:8388": Endpoint(HOST, 8388, "shadowsocks")}


def test_what_ran_before_we_listened_is_a_baseline_and_a_new_server_counts_whole(
    server: Listener,
) -> None:
    server.hear('stat: {"8388":500}')
    server.clock.now += 31
    server.hear('stat: {"8389":700}')
    assert server.sums == {"8389": 700}


def test_a_restart_is_seen_although_it_has_passed_the_old_value_by_the_next_reading(
    server: Listener,
) -> None:
    for value in (1000, 1500, 0, 900, 2000):
        server.hear(f'stat: {{"8388":{value}}}')
    assert server.sums == {"8388": 500 + 2000}


def test_a_killed_agent_takes_up_what_flowed_meanwhile(
    store: MemoryStore, server: Listener
) -> None:
    server.hear('stat: {"8388":1000}')
    server.source._tally.save()
    after = Listener(store)
    after.hear('stat: {"8388":1500}')
    assert after.sums == {"8388": 500}


@pytest.mark.parametrize(
    "data",
    [b"", b"stat: []", b"stat: {", b"ok", b'stat: {"a":1}', b'stat: {"1":"x"}', b'x: {"1":2}'],
)
def test_other_datagrams_are_ignored(data: bytes) -> None:
    assert parse_stat(data) == {}


def test_silence_is_told(server: Listener) -> None:
    server.hear('stat: {"8388":1000}')
    server.clock.now += 60
    assert server.source._problems() == []
    server.clock.now += 1
    assert "has reported to 127.0.0.1:6100 for 61 s" in server.source._problems()[0]


@pytest.mark.parametrize("listen", ["0.0.0.0:6100", "192.0.2.1:6100", "example.com:6100", "[::]:1"])
def test_it_listens_on_loopback_only_because_anybody_could_send(listen: str) -> None:
    with pytest.raises(SourceError, match=r"127\.0\.0\.1 only"):
        opened("shadowsocks", host=HOST, listen=listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "socket"])
def test_it_listens_on_a_real_socket(listen: str, tmp_path: Path, store: MemoryStore) -> None:
    where = str(tmp_path / "manager.sock") if listen == "socket" else listen
    source = Shadowsocks(complete_options("shadowsocks", {"host": HOST, "listen": where}), store)
    try:
        source.read()
        kept = store.saves
        address: Any = where if listen == "socket" else source._server._socket.getsockname()  # type: ignore[union-attr]
        family = source._server._socket.family  # type: ignore[union-attr]
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b'stat: {"8388":1}\0', address)
    finally:
        eventually(lambda: source._tally.has_seen("8388"))
        source.close()
    assert store.saves == kept + 1
    assert not Path(where).exists()


def test_it_begins_again_after_the_port_was_taken(store: MemoryStore) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        source = opened("shadowsocks", store, host=HOST, listen=listen)
        with pytest.raises(SourceError, match="Cannot listen"):
            source.read()
    assert booked(source.read()) == {}
    source.close()


@pytest.fixture
def manager() -> Iterator[tuple[str, list[bytes]]]:
    """An ss-manager that splits its answer, and what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(5)

        def serve() -> None:
            for value in (100, 150):
                data, sender = listening.recvfrom(4096)
                asked.append(data)
                listening.sendto(b'stat: {"8388":%d}' % value, sender)
                listening.sendto(b'stat: {"8389":%d}' % (value * 2), sender)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", asked
        thread.join(5)


def test_a_manager_is_pinged_and_its_passwords_are_never_listed(
    manager: tuple[str, list[bytes]], journal: Journal
) -> None:
    address, asked = manager
    source = opened("shadowsocks", host=HOST, manager=address)
    journal.read(source)
    assert journal.read(source) == {
        ("8388", f"{HOST}:8388"): (0, 50),
        ("8389", f"{HOST}:8389"): (0, 100),
    }
    assert asked == [b"ping", b"ping"]


def test_a_manager_that_does_not_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ss-manager does not answer"):
        ping(str(tmp_path / "absent"))


def test_a_socket_on_which_somebody_listens_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "manager.sock")
    first = opened("shadowsocks", host=HOST, listen=path)
    first.read()
    with pytest.raises(SourceError, match="Cannot listen"):
        opened("shadowsocks", host=HOST, listen=path).read()
    assert Path(path).is_socket()
    first.close()


def test_a_socket_that_a_killed_agent_has_left_is_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "manager.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(path)
    source = opened("shadowsocks", host=HOST, listen=path)
    source.read()
    source.close()
