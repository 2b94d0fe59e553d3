"""Limits bind: whoever is over theirs is out within a minute, and the others notice one reload at most."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways import socks
from tests.gateways.lab import Lab, eventually
from tests.subscriptions.formats.cores import needs_sing_box
from tests.test_crash import database  # noqa: F401  a fixture

pytestmark = [pytest.mark.slow, needs_sing_box]
LABEL = 1
LIMIT = 2**20


@pytest.fixture
def lab(tmp_path: Path, database: dict[str, str]) -> Iterator[Lab]:  # noqa: F811
    lab = Lab(tmp_path, database, "shadowsocks")
    lab.panel.manage("create_subscriber", "dan", "--limit", "0.05GB")
    lab.start_agent()
    lab.start_apps()
    yield lab
    lab.close()


def connected(lab: Lab, person: str, bytes_down: int = 10) -> socket.socket:
    proxy = lab.apps[person, "vless"]
    return socks.stream(proxy, lab.origin.port, LABEL, 10, bytes_down, stays=True)


def is_let_in(lab: Lab, person: str) -> bool:
    try:
        connected(lab, person).close()
    except OSError:
        return False
    return True


def reloads(lab: Lab) -> int:
    return (lab.folder / "agent.log").read_text().count("INFO Reload")


def change(lab: Lab, person: str, **values: object) -> None:
    found = lab.panel.ask("GET", "subscribers", params={"token": person})["results"]
    lab.panel.ask("PATCH", f"subscribers/{found[0]['id']}", json=values)


def test_over_the_limit_means_out_within_a_minute(lab: Lab) -> None:
    change(lab, "ann", data_limit=LIMIT)
    with connected(lab, "ann", 2 * LIMIT) as gone, connected(lab, "bob") as stays:
        eventually(lambda: sum(map(sum, lab.panel.used("ann").values())) > LIMIT)
        known = time.monotonic()
        gone.settimeout(60)
        assert gone.recv(1) == b""
        assert time.monotonic() - known < 60
        stays.settimeout(0.1)
        with pytest.raises(TimeoutError):
            stays.recv(1)
    eventually(lambda: reloads(lab) == 1, known + 60 - time.monotonic())
    # The agent logs the reload before it begins; until then she may connect, and is put out within a second.
    eventually(lambda: not is_let_in(lab, "ann"), known + 60 - time.monotonic())
    eventually(lambda: is_let_in(lab, "bob"))
    assert reloads(lab) == 1


def test_switched_off_means_out_and_switched_on_means_in_again(lab: Lab) -> None:
    change(lab, "ann", is_active=False)
    eventually(lambda: not is_let_in(lab, "ann"))
    change(lab, "ann", is_active=True)
    eventually(lambda: is_let_in(lab, "ann"))
