"""nftables in a namespace that routes between a home network and servers on the internet."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from xpert_agent.sources.base import SourceError

from .fakes import Journal, MemoryStore, booked, opened
from .labs import Lab, Network, Origin, exchange, needs, needs_namespaces

pytestmark = [needs("nft"), needs_namespaces()]

SERVER, OTHER = "203.0.113.5", "203.0.113.6"
SERVER_6 = "2001:db8:2::5"
UP, DOWN = 200_000, 700_000
DROPPING = """\
table inet firewall {
  chain forward {
    type filter hook forward priority filter;
    ip saddr 192.168.0.20 drop
  }
}
"""
OFFLOADING = """\
table inet firewall {
  flowtable offload {
    hook ingress priority filter
    devices = { lo }
  }
}
"""
HEADERS = 0.03
"""IP and TCP headers, and acknowledgements: at most this share of the bytes."""


class Home:
    """Two devices, a router, and a machine with two servers' addresses."""

    def __init__(self, lab: Lab) -> None:
        self.router, self.internet = lab.network("router"), lab.network("internet")
        self.devices = [lab.network("phone"), lab.network("tablet")]
        for number, device in enumerate(self.devices):
            net = f"192.168.{number}"
            lab.cable(self.router, f"{net}.1/24", device, f"{net}.20/24")
            device.run("ip", "route", "add", "default", "via", f"{net}.1")
            lab.cable(
                self.router, f"2001:db8:1:{number}::1/64", device, f"2001:db8:1:{number}::20/64"
            )
            device.run("ip", "route", "add", "default", "via", f"2001:db8:1:{number}::1")
        lab.cable(self.router, "203.0.113.1/24", self.internet, f"{SERVER}/24")
        lab.cable(self.router, "2001:db8:2::1/64", self.internet, f"{SERVER_6}/64")
        link = json.loads(self.internet.run("ip", "-j", "route", "get", "203.0.113.1"))[0]["dev"]
        self.internet.run("ip", "address", "add", f"{OTHER}/24", "dev", link)
        self.internet.run("ip", "route", "add", "default", "via", "203.0.113.1")
        self.internet.run("ip", "route", "add", "default", "via", "2001:db8:2::1")
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.origins = {
            address: self.internet.inside(partial(Origin, address))
            for address in (SERVER, OTHER, SERVER_6)
        }

    def close(self) -> None:
        for origin in self.origins.values():
            origin.close()

    def place(self, address: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"{host}:{self.origins[address].port}/vless"

    def exchange(self, device: Network, address: str, up: int = UP, down: int = DOWN) -> None:
        def work() -> None:
            where = (address, self.origins[address].port)
            with socket.create_connection(where, 10) as connection:
                exchange(connection, up, down)

        device.inside(work)


@pytest.fixture
def home(lab: Lab) -> Iterator[Home]:
    making = Home(lab)
    yield making
    making.close()


def is_wire(counted: int, payload: int, other: int) -> bool:
    """Whether these are the wire's bytes for a payload (and acknowledgements of the other way)."""
    return payload < counted < payload * (1 + HEADERS) + other * HEADERS + 2_000


class Router:
    """The source, as an agent on the router reads it."""

    def __init__(self, home: Home, store: MemoryStore, **options: str) -> None:
        given = {"count": f"{home.place(SERVER)}, {home.place(SERVER_6)}", **options}
        self.home = home
        self.journal = Journal()
        self.source = opened("nftables", store, **given)

    def read(self) -> dict[tuple[str, str], tuple[int, int]]:
        return dict(self.home.router.inside(lambda: self.journal.read(self.source)))

    def close(self) -> None:
        self.home.router.inside(self.source.close)

    def tables(self) -> str:
        return self.home.router.run("nft", "list", "tables")


@pytest.fixture
def router(home: Home, store: MemoryStore) -> Router:
    return Router(home, store)


def test_each_device_and_server_counts_the_bytes_on_the_wire(home: Home, router: Router) -> None:
    assert router.read() == {}
    home.exchange(home.devices[0], SERVER)
    home.exchange(home.devices[1], SERVER, up=50_000, down=100_000)
    home.exchange(home.devices[1], SERVER_6)
    home.exchange(home.devices[0], OTHER)
    counted = router.read()
    assert set(counted) == {
        ("192.168.0.20", home.place(SERVER)),
        ("192.168.1.20", home.place(SERVER)),
        ("2001:db8:1:1::20", home.place(SERVER_6)),
    }
    for key, sizes in zip(sorted(counted), ((UP, DOWN), (50_000, 100_000), (UP, DOWN))):
        up, down = counted[key]
        assert is_wire(up, sizes[0], sizes[1]), (key, up)
        assert is_wire(down, sizes[1], sizes[0]), (key, down)


def test_what_the_firewall_drops_is_not_counted(home: Home, router: Router) -> None:
    router.read()
    home.router.run("nft", "-f", "-", given=DROPPING)
    with pytest.raises(OSError, match="timed out"):
        home.devices[0].inside(
            lambda: socket.create_connection((SERVER, home.origins[SERVER].port), 1.5)
        )
    assert router.read() == {}


def test_a_killed_agent_finds_its_table_counting_on(
    home: Home, router: Router, store: MemoryStore
) -> None:
    router.read()
    home.exchange(home.devices[0], SERVER)
    before = router.read()
    home.exchange(home.devices[0], SERVER)
    after = Router(home, store)  # the first one was killed: nobody has closed it
    after.journal = router.journal
    key = ("192.168.0.20", home.place(SERVER))
    grown = [new - old for new, old in zip(after.read()[key], before[key])]
    assert is_wire(grown[0], UP, DOWN)
    assert is_wire(grown[1], DOWN, UP)


def test_a_stop_takes_the_last_bytes_and_removes_the_table(
    home: Home, router: Router, store: MemoryStore
) -> None:
    router.read()
    home.exchange(home.devices[0], SERVER)
    router.close()
    assert "xpert" not in router.tables()
    after = Router(home, store)
    after.journal = router.journal
    assert is_wire(after.read()["192.168.0.20", home.place(SERVER)][0], UP, DOWN)


def test_a_table_that_somebody_removed_is_made_again(home: Home, router: Router) -> None:
    router.read()
    home.exchange(home.devices[0], SERVER)
    before = router.read()["192.168.0.20", home.place(SERVER)]
    home.router.run("nft", "flush", "ruleset")
    assert router.read()["192.168.0.20", home.place(SERVER)] == before
    home.exchange(home.devices[0], SERVER)
    after = router.read()["192.168.0.20", home.place(SERVER)]
    assert is_wire(after[1] - before[1], DOWN, UP)


def test_a_table_of_another_program_is_not_touched(home: Home, router: Router) -> None:
    home.router.run("nft", "add", "table", "inet", "xpert")
    with pytest.raises(SourceError, match="is not the agent's"):
        router.read()
    router.close()
    assert router.tables() == "table inet xpert\n"


def test_other_tables_are_left_alone(home: Home, router: Router) -> None:
    home.router.run("nft", "add", "table", "inet", "firewall")
    router.read()
    router.close()
    assert router.tables() == "table inet firewall\n"


def test_a_check_beside_a_running_agent_shows_its_counters_and_leaves_its_table(
    home: Home, router: Router
) -> None:
    class Forgetful(MemoryStore):
        def save(self, state: dict[str, object]) -> None:
            """Keeps nothing."""

    router.read()
    home.exchange(home.devices[0], SERVER)
    checking = Router(home, Forgetful(), count=home.place(OTHER))
    shown = booked(home.router.inside(checking.source.read))
    checking.close()
    assert [person for person, _ in shown] == ["192.168.0.20"]
    home.exchange(home.devices[0], SERVER)
    up, _ = router.read()["192.168.0.20", home.place(SERVER)]
    assert is_wire(up, 2 * UP, 2 * DOWN)


def test_a_new_address_of_the_server_is_counted_from_the_next_reading_on(
    home: Home, store: MemoryStore
) -> None:
    port = home.origins[OTHER].port
    router = Router(home, store, count=f"vpn.example.com:{port}/vless")
    answers = {"vpn.example.com": [SERVER]}
    resolver = router.source._resolver  # type: ignore[attr-defined]
    resolver._lookup = answers.__getitem__
    router.read()
    answers["vpn.example.com"] = [OTHER]
    resolver.refresh()
    router.read()
    home.exchange(home.devices[0], OTHER)
    assert set(router.read()) == {("192.168.0.20", f"vpn.example.com:{port}/vless")}
    router.close()


def test_two_servers_at_one_address_are_told_as_one(home: Home, store: MemoryStore) -> None:
    port = home.origins[SERVER].port
    both = [f"{SERVER}:{port}/trojan", f"{SERVER}:{port}/vless"]
    router = Router(home, store, count=",".join(both))
    router.read()
    home.exchange(home.devices[0], SERVER)
    reading = home.router.inside(router.source.read)
    assert set(booked(reading)) == {("192.168.0.20", " or ".join(both))}
    assert reading.problems == (
        f"{both[0]} and {both[1]} share {SERVER}: their traffic is reported as one.",
    )


def test_servers_at_one_address_are_told_apart_by_tcp_and_udp(
    home: Home, store: MemoryStore
) -> None:
    port = home.origins[SERVER].port
    names = {"tcp": f"{SERVER}:{port}/vless", "udp": f"{SERVER}:{port}/hysteria2"}
    router = Router(home, store, count=" ".join(names.values()))
    router.read()
    home.exchange(home.devices[0], SERVER)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(bytes(1000), (SERVER, port))

    home.devices[0].inside(send)
    counted = router.read()
    assert counted["192.168.0.20", names["udp"]] == (1028, 0)
    assert is_wire(counted["192.168.0.20", names["tcp"]][0], UP, DOWN)


def test_flow_offloading_is_told(home: Home, router: Router) -> None:
    assert home.router.inside(router.source.read).problems == ()
    try:
        home.router.run("nft", "-f", "-", given=OFFLOADING)
    except AssertionError:
        pytest.skip("this kernel has no flow offloading")
    assert "Flow offloading is on" in home.router.inside(router.source.read).problems[0]
