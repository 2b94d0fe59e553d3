"""Real cores before and behind a gateway: what the panel counts is what flowed at the origin, to the byte."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways import socks
from tests.gateways.lab import CORES, PEOPLE, SERVERS, Lab, eventually
from tests.subscriptions.formats.cores import needs_sing_box
from tests.test_crash import database  # noqa: F401  a fixture

pytestmark = [pytest.mark.slow, needs_sing_box]
ROUNDS, CONNECTIONS, AT_ONCE = 3, 500, 20


@pytest.fixture
def lab(tmp_path: Path, database: dict[str, str]) -> Iterator[Lab]:  # noqa: F811
    lab = Lab(tmp_path, database, "shadowsocks")
    # With so little left the gateway reports every 10 s.
    lab.panel.manage("create_subscriber", "dan", "--limit", "0.05GB")
    lab.start_agent()
    lab.start_apps()
    yield lab
    lab.close()


class Traffic:
    """Connections of everybody through every server, many at once; ``labels``: how the origin knows whose they are."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.labels = {key: number for number, key in enumerate(lab.apps, start=1)}
        self._lock = threading.Lock()

    def flow(self, draw: random.Random) -> None:
        orders = iter([self._order(draw) for _ in range(CONNECTIONS)])
        failed: list[BaseException] = []

        def work() -> None:
            while True:
                with self._lock:
                    order = next(orders, None)
                if order is None:
                    return
                try:
                    self._follow(*order)
                except OSError as error:
                    failed.append(error)

        threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A datagram may be lost on its way; the origin has not counted it either.
        assert len(failed) < CONNECTIONS / 50, failed

    def _order(self, draw: random.Random) -> tuple[tuple[str, str], bool, int, int]:
        key = draw.choice(list(self.labels))
        return key, draw.random() < 0.25, draw.randrange(5_000), draw.randrange(50_000)

    def _follow(self, key: tuple[str, str], is_udp: bool, up: int, down: int) -> None:
        proxy, label, origin = self._lab.apps[key], self.labels[key], self._lab.origin.port
        if is_udp:
            socks.datagrams(proxy, origin, label, [(20 + up % 1000, down % 1200)] * 3)
        else:
            socks.stream(proxy, origin, label, up, down).close()

    def at_origin(self) -> dict[str, dict[str, tuple[int, int]]]:
        found: dict[str, dict[str, tuple[int, int]]] = {person: {} for person in PEOPLE}
        for (person, server), label in self.labels.items():
            up, down = self._lab.origin.counted[label]
            found[person][server] = up, down
        return found


@pytest.fixture
def xray_lab(tmp_path: Path, database: dict[str, str]) -> Iterator[Lab]:  # noqa: F811
    # By Trojan: the UDP of these apps over VLESS is XUDP, which Xray has and v2ray has not.
    lab = Lab(tmp_path, database, "trojan", engine="xray", servers=SERVERS[:4])
    lab.panel.manage("create_subscriber", "dan", "--limit", "0.05GB")
    lab.start_agent()
    lab.start_apps()
    yield lab
    lab.close()


@pytest.mark.skipif(CORES["xray"] is None, reason="v2ray is not installed: NOT checked")
def test_bytes_through_a_gateway_of_xray_equal_the_origins(xray_lab: Lab) -> None:
    assert set(xray_lab.apps) == {(person, server) for person in PEOPLE for server in SERVERS[:4]}
    traffic = Traffic(xray_lab)
    traffic.flow(random.Random(3))
    eventually(
        lambda: {one: xray_lab.panel.used(one) for one in PEOPLE} == traffic.at_origin(), 120
    )
    assert "All sums agree" in xray_lab.panel.manage("check_traffic")


def test_bytes_of_each_person_on_each_server_equal_the_origins(lab: Lab) -> None:
    assert set(lab.apps) == {(person, server) for person in PEOPLE for server in SERVERS}
    traffic = Traffic(lab)
    for number in range(ROUNDS):
        traffic.flow(random.Random(number))
        eventually(lambda: {one: lab.panel.used(one) for one in PEOPLE} == traffic.at_origin())
    assert "All sums agree" in lab.panel.manage("check_traffic")
    told = lab.panel.process.log.read_text() + (lab.folder / "agent.log").read_text()
    told += (lab.state / "sing-box.json").read_text() + (lab.state / "journal.sqlite3").read_bytes().decode("latin-1")  # fmt: skip
    for token in PEOPLE:
        assert f'"{token}"' not in told
        assert lab.panel.keys["gw"] not in told
