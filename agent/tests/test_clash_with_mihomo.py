"""The clash source against a real mihomo with two people and two servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import Popen
from time import sleep
from typing import Any

import pytest
from ports import free_port
from real_cores import (
    Client,
    Origin,
    mihomo,
    needs_mihomo,
    read_until,
    running,
    transfer,
    wait_until_it_carries,
)
from stand_ins import MemoryStore

from xpert_agent.sources import complete_options
from xpert_agent.sources.base import Counter, Key, Reading, SourceError
from xpert_agent.sources.clash import Clash
from xpert_agent.sources.controller import Controller

pytestmark = needs_mihomo
SECRET = "s3cret"
KEYS = {"alice": Key("alice", "srv-a"), "bob": Key("bob", "srv-b")}


class Desktop:
    """mihomo with SOCKS users alice and bob, who go through a server of their own each."""

    def __init__(self, folder: Path) -> None:
        self.port, self.controller, self._upstream = free_port(), free_port(), free_port()
        self._folder = folder
        self.first_origin = Origin()
        self.socket = folder / "mihomo.sock"

    @contextmanager
    def runs(self) -> Iterator[Popen[bytes]]:
        servers = [
            {"name": name, "type": "socks5", "server": "127.0.0.1", "port": self._upstream}
            for name in ("srv-a", "srv-b")
        ]
        config = {
            "mixed-port": self.port,
            "authentication": ["alice:pw", "bob:pw"],
            "external-controller": f"127.0.0.1:{self.controller}",
            "external-controller-unix": str(self.socket),
            "secret": SECRET,
            "proxies": servers,
            "rules": ["IN-USER,alice,srv-a", "IN-USER,bob,srv-b", "MATCH,DIRECT"],
        }
        with running(self._command("desktop", config), self.port, self.controller) as process:
            wait_until_it_carries(self.port, self.first_origin, "alice")
            self._wait_until_it_has_counted()
            yield process

    def _wait_until_it_has_counted(self) -> None:
        with closing(Controller(f"unix:{self.socket}")) as controller:
            while not all(_totals(controller.get_json("/connections"))):
                sleep(0.01)

    @contextmanager
    def upstream(self) -> Iterator[None]:
        """Both servers, which pass on to the origin."""
        config = {"mixed-port": self._upstream, "mode": "direct"}
        with running(self._command("upstream", config), self._upstream):
            yield

    def _command(self, name: str, config: dict[str, Any]) -> list[str]:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        quiet = {"log-level": "silent", "ipv6": False, "profile": {"store-selected": False}}
        return mihomo(folder, {**quiet, **config})

    @contextmanager
    def source(self, store: MemoryStore, **options: str) -> Iterator[Clash]:
        given = {"controller": f"127.0.0.1:{self.controller}", "secret": SECRET, **options}
        with closing(Clash(complete_options("clash", given), store)) as source:
            yield source


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    desktop = Desktop(tmp_path)
    with desktop.upstream(), closing(desktop.first_origin):
        yield desktop


@pytest.fixture
def origins() -> Iterator[dict[str, Origin]]:
    with closing(Origin()) as of_alice, closing(Origin()) as of_bob:
        yield {"alice": of_alice, "bob": of_bob}


def _totals(document: Any) -> tuple[int, int]:
    return document["uploadTotal"], document["downloadTotal"]


def _of(reading: Reading, person: str) -> Counter:
    return reading.counters[KEYS[person]]


def _show(desktop: Desktop, origin: Origin, user: str, source: Clash) -> None:
    """Lets the source see a connection, or else it knows nobody whom to give the rest to."""
    with closing(Client(desktop.port, origin.port, user)) as client:
        client.exchange(1, 1)
        read_until(source, lambda reading: KEYS[user] in reading.counters)


def _downloaded(reading: Reading) -> int:
    return sum(one.down for one in reading.counters.values())


def _download(desktop: Desktop, origin: Origin, user: str, times: int, size: int) -> None:
    for _ in range(times):
        transfer(desktop.port, origin, 0, size, user)


def test_open_connections_are_counted_to_the_byte_for_each_person(
    desktop: Desktop, origins: dict[str, Origin]
) -> None:
    with desktop.runs(), desktop.source(MemoryStore()) as source:
        source.read()
        with closing(Client(desktop.port, origins["alice"].port, "alice")) as alice:
            alice.exchange(200_000, 700_000)
            with closing(Client(desktop.port, origins["bob"].port, "bob")) as bob:
                bob.exchange(1_000, 3_000_000)
                told = {
                    KEYS[person]: Counter(origin.received, origin.sent)
                    for person, origin in origins.items()
                }
                reading = read_until(source, lambda reading: reading.counters == told)
    assert reading.counters == told


def test_short_connections_of_two_people_are_exact_in_total_and_each_gets_a_part(
    desktop: Desktop, origins: dict[str, Origin]
) -> None:
    with desktop.runs(), desktop.source(MemoryStore()) as source:
        source.read()
        for person, origin in origins.items():
            _show(desktop, origin, person, source)
        with ThreadPoolExecutor() as people:
            downloads = [
                people.submit(_download, desktop, origins["alice"], "alice", 80, 6_000_000),
                people.submit(_download, desktop, origins["bob"], "bob", 80, 2_000_000),
            ]
        assert [download.result() for download in downloads] == [None, None]
        flowed = sum(origin.sent for origin in origins.values())
        reading = read_until(source, lambda reading: _downloaded(reading) == flowed)
    assert _downloaded(reading) == flowed
    assert all(_of(reading, person).down > 1 for person in origins)


def test_one_person_is_exact_however_short_the_connections_are(
    desktop: Desktop, origins: dict[str, Origin]
) -> None:
    origin = origins["alice"]
    with desktop.runs(), desktop.source(MemoryStore()) as source:
        source.read()
        _show(desktop, origin, "alice", source)
        for number in range(100):
            transfer(desktop.port, origin, number * 100, number * 1000, "alice")
        told = {KEYS["alice"]: Counter(origin.received, origin.sent)}
        reading = read_until(source, lambda reading: reading.counters == told)
    assert reading.counters == told


def test_kills_of_core_and_agent_lose_and_double_nothing_that_was_told(
    desktop: Desktop, origins: dict[str, Origin]
) -> None:
    store, origin = MemoryStore(), origins["alice"]
    with desktop.runs(), desktop.source(store) as source:
        source.read()
        _show(desktop, origin, "alice", source)
        transfer(desktop.port, origin, 0, 3_000_000, "alice")
        read_until(source, lambda reading: _downloaded(reading) == origin.sent)
    history = desktop.first_origin.sent

    def flowed() -> int:
        return origin.sent + desktop.first_origin.sent - history

    for number in range(4):
        with desktop.runs():
            for _ in range(3):
                with desktop.source(store) as source:
                    transfer(desktop.port, origin, 10, 500_000 * (4 - number), "alice")
                    reading = read_until(source, lambda reading: _downloaded(reading) == flowed())
                assert _downloaded(reading) == flowed()


def test_a_core_that_is_stopped_is_told_and_found_again(desktop: Desktop) -> None:
    with desktop.source(MemoryStore()) as source:
        with desktop.runs():
            source.read()
        with pytest.raises(SourceError, match="does not answer"):
            source.read()
        with desktop.runs():
            source.read()


def test_the_unix_socket_needs_no_secret(desktop: Desktop, origins: dict[str, Origin]) -> None:
    options = {"controller": f"unix:{desktop.socket}", "secret": ""}
    with desktop.runs(), desktop.source(MemoryStore(), **options) as source:
        source.read()
        with closing(Client(desktop.port, origins["bob"].port, "bob")) as bob:
            bob.exchange(5, 6)
            told = {KEYS["bob"]: Counter(origins["bob"].received, 6)}
            reading = read_until(source, lambda reading: reading.counters == told)
    assert reading.counters == told


def test_connections_that_nobody_ever_saw_are_counted_by_the_log(tmp_path: Path) -> None:
    """Each is over within milliseconds, between two looks."""
    port, controller, upstream = free_port(), free_port(), free_port()
    quiet = {"log-level": "silent", "ipv6": False}
    server = {"name": "srv-a", "type": "socks5", "server": "127.0.0.1", "port": upstream}
    desktop = {
        **quiet,
        "mixed-port": port,
        "external-controller": f"127.0.0.1:{controller}",
        "proxies": [server],
        "rules": ["MATCH,srv-a"],
    }
    folders = tmp_path / "desktop", tmp_path / "upstream"
    for folder in folders:
        folder.mkdir()
    passing_on = mihomo(folders[1], {**quiet, "mixed-port": upstream, "mode": "direct"})
    with (
        running(passing_on, upstream),
        running(mihomo(folders[0], desktop), port, controller),
        closing(Origin()) as origin,
    ):
        wait_until_it_carries(port, origin)
        options = complete_options("clash", {"controller": f"127.0.0.1:{controller}"})
        with closing(Clash(options, MemoryStore())) as source:
            sleep(0.5)  # the connection that found mihomo ready is counted, and is history
            source.read()
            before = origin.received, origin.sent
            for _ in range(5):
                transfer(port, origin, 100_000, 1_000_000)
                sleep(0.3)
            carried = Counter(origin.received - before[0], origin.sent - before[1])
            key = Key("", "srv-a")
            reading = read_until(source, lambda one: one.counters.get(key) == carried)
    assert reading.counters == {key: carried}
