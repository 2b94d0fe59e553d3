"""Whoever is out is out within a minute, with either engine, and the others notice one reload at most."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from tests.gateways import socks
from tests.gateways.lab import CORES, Lab, eventually
from tests.subscriptions.formats.cores import needs_sing_box
from tests.test_crash import database  # noqa: F401  a fixture

pytestmark = [pytest.mark.slow, needs_sing_box]
LABEL = 1
LIMIT = 2**20
MINUTE = 60
WAYS = {"sing-box": "shadowsocks", "xray": "trojan"}
SERVERS = ("vless", "shadowsocks")
Record = Callable[[str, object], None]
PEOPLE = ("ann", "bob", "cat", "dan", "eve")
needs_v2ray = pytest.mark.skipif(
    CORES["xray"] is None, reason="v2ray is not installed: NOT checked"
)


@pytest.fixture(params=["sing-box", pytest.param("xray", marks=needs_v2ray)])
def lab(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database: dict[str, str],  # noqa: F811
) -> Iterator[Lab]:
    engine = request.param
    lab = Lab(tmp_path, database, WAYS[engine], engine=engine, servers=SERVERS, people=PEOPLE)
    try:
        # With so little left the gateway reports every 10 s.
        lab.panel.manage("create_subscriber", "zoe", "--limit", "0.05GB")
        lab.start_agent()
        lab.start_apps()
        yield lab
    finally:
        lab.close()


def connected(lab: Lab, person: str, server: str = "vless", bytes_down: int = 10) -> socket.socket:
    proxy = lab.apps[person, server]
    return socks.stream(proxy, lab.origin.port, LABEL, 10, bytes_down, stays=True)


def is_let_in(lab: Lab, person: str, server: str = "vless") -> bool:
    try:
        connected(lab, person, server).close()
    except OSError:
        return False
    return True


def is_open(connection: socket.socket) -> bool:
    """Tried by using it: a core may end a connection only then."""
    connection.settimeout(0.1)
    with suppress(TimeoutError):
        try:
            connection.sendall(b"more")
            return connection.recv(1) != b""
        except ConnectionError:
            return False
    return True


def reloads(lab: Lab) -> int:
    return (lab.folder / "agent.log").read_text().count("INFO Reload")


def act(lab: Lab, person: str, action: str, **values: object) -> dict[str, str]:
    """``action``: "" changes the subscriber."""
    found = lab.panel.ask("GET", "subscribers", params={"token": person})["results"][0]
    path = f"subscribers/{found['id']}/{action}".rstrip("/")
    answer: dict[str, str] = lab.panel.ask("POST" if action else "PATCH", path, json=values)
    return answer


def run(lab: Lab, script: str) -> None:
    imports = "from subscriptions.models import *; from traffic.models import *; "
    lab.panel.manage("shell", "-v0", "-c", imports + script)


def test_over_the_limit_means_out_within_a_minute_and_a_renewal_lets_in_again(
    lab: Lab, record_property: Record
) -> None:
    run(lab, f"Plan.objects.create(name='Month', days=30, data_limit={LIMIT})")
    act(lab, "ann", "apply-plan", plan="Month")
    with connected(lab, "bob") as stays, connected(lab, "ann", bytes_down=2 * LIMIT) as gone:
        eventually(lambda: sum(map(sum, lab.panel.used("ann").values())) > LIMIT)
        # She goes on with what she has open, which is what her core has to end.
        out = eventually(lambda: not is_open(gone), MINUTE)
        # Until sing-box is reloaded she may connect, and is put out within a second.
        refused = eventually(lambda: not is_let_in(lab, "ann"), MINUTE - out)
        others_stay = is_open(stays)
    assert others_stay or reloads(lab) == 1
    eventually(lambda: is_let_in(lab, "bob"))
    act(lab, "ann", "renew")
    back = eventually(lambda: is_let_in(lab, "ann"), MINUTE)
    record_property("seconds", {"cut off": out, "refused": out + refused, "in again": back})


def test_whoever_may_not_use_a_server_any_more_is_refused_within_a_minute(
    lab: Lab, record_property: Record
) -> None:
    run(lab, "Group.objects.create(name='Berlin').subscribers.set(Subscriber.objects.all())")
    run(lab, "DirectConfig.objects.get(protocol='vless').groups.set(Group.objects.all())")
    with connected(lab, "eve") as stays:
        act(lab, "ann", "", is_active=False)
        act(lab, "bob", "", expires_at=str(timezone.now() + timedelta(seconds=3)))
        token = act(lab, "cat", "new-token")["token"]
        act(lab, "dan", "", groups=[])
        out = eventually(lambda: not any(is_let_in(lab, one) for one in PEOPLE[:4]), MINUTE)
        # A core that is being restarted refuses everybody for a moment.
        eventually(lambda: is_let_in(lab, "dan", "shadowsocks"))
        assert not any(is_let_in(lab, one) for one in PEOPLE[:4])
        # Nobody goes on with what was open, so Xray needs no reload.
        assert reloads(lab) == 0 if lab.engine == "xray" else reloads(lab) <= 1
        assert is_open(stays) or reloads(lab) == 1
    act(lab, "ann", "", is_active=True)
    act(lab, "bob", "extend", days=30)
    act(lab, "dan", "", groups=["Berlin"])
    lab.start_apps(token)
    back = eventually(lambda: all(is_let_in(lab, one) for one in ("ann", "bob", token, "dan")), 2 * MINUTE)  # fmt: skip
    record_property("seconds", {"refused": out, "in again": back})


def test_a_server_that_leaves_the_group_is_closed_to_its_people_within_a_minute(
    lab: Lab, record_property: Record
) -> None:
    run(lab, "DirectConfig.objects.get(protocol='vless').groups.set([Group.objects.create(name='Other')])")  # fmt: skip
    closed = eventually(lambda: not any(is_let_in(lab, one) for one in PEOPLE), MINUTE)
    eventually(lambda: is_let_in(lab, "ann", "shadowsocks"))
    assert not any(is_let_in(lab, one) for one in PEOPLE)
    record_property("seconds", {"refused": closed})
