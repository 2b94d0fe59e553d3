"""`xpert-agent gateway` with real sing-boxes on loopback: what it carries, counts, and lets in."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fake_panel import FakePanel
from gateway_cores import API_SECRET, Net
from gateway_runs import KEY, agent, booked, core_of, following, supervisor
from ports import is_open
from real_cores import SING_BOX, needs_sing_box
from singbox_core import Origin
from waiting import eventually

from xpert_agent.gateway import core as core_module
from xpert_agent.gateway import supervisor as supervising
from xpert_agent.gateway.certificates import CertificateError, certificate
from xpert_agent.gateway.core import COMES_UP, Core
from xpert_agent.gateway.halving import faulty
from xpert_agent.gateway.singbox_core import SingBox
from xpert_agent.gateway.singbox_documents import limited_to, users
from xpert_agent.gateway.supervisor import Supervisor
from xpert_agent.panel import Address, Panel, PanelError


@pytest.fixture
def panel() -> Iterator[FakePanel]:
    with closing(FakePanel(key=KEY)) as panel:
        yield panel


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with closing(Origin()) as origin, closing(Net(tmp_path, origin)) as net:
        yield net


@pytest.fixture
def core(tmp_path: Path) -> Iterator[SingBox]:
    with core_of(SingBox, SING_BOX, tmp_path) as core:
        yield core


def no_space(path: Path, text: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def restarted(panel: FakePanel, tmp_path: Path) -> Supervisor:
    """The agent begins again, and ends in order."""
    core = SingBox(str(SING_BOX), tmp_path / "state")
    made = following(panel, core)
    made.start()
    made.rest()
    made.stop()
    return made


# Pure


def test_servers_at_fault_are_found_by_halving() -> None:
    asked = []

    def complaint(some: object) -> str:
        asked.append(some)
        assert isinstance(some, (list, tuple))
        return "bad" if {"s3", "s7"} & set(some) else ""

    names = [f"s{n}" for n in range(16)]
    assert faulty(names, complaint) == {"s3": "bad", "s7": "bad"}
    assert len(asked) < 20


def test_nobody_is_led_to_a_server_that_is_left_out() -> None:
    net = object.__new__(Net)
    net.api = net.entrance = 1
    net.outer = {"s1": 1, "s2": 2}
    document = net.document("p1", "p2")["sing_box"]
    config = limited_to(document, ["s2"], ["shadowsocks"])
    assert [one["tag"] for one in config["outbounds"]] == ["s2"]
    assert [one.get("outbound") for one in config["route"]["rules"]] == ["s2", None]
    assert [one["name"] for one in config["inbounds"][0]["users"]] == ["p1-s2", "p2-s2"]
    assert users(document) == {"p1-s1", "p1-s2", "p2-s1", "p2-s2"}


# With a real core, step by step


@needs_sing_box
def test_whoever_is_out_is_cut_off_at_once_and_kept_out_after_the_next_reload(
    panel: FakePanel, net: Net, core: Core
) -> None:
    panel.gateway = net.document("p1", "p2")
    it = supervisor(panel, core)
    net.add_app("p1-s1", "p2-s1")
    panel.gateway = net.document("p2")
    with net.hold("p1-s1") as gone, net.hold("p2-s1") as stays:
        it.step(now := time.monotonic() + supervising.ASK)
        assert gone.recv(1) == b""
        stays.settimeout(0.2)
        with pytest.raises(socket.timeout):
            stays.recv(1)
    assert it.counts.reloads == 0
    it.step(now + supervising.GATHER)
    assert it.counts.reloads == 1
    net.dial("p2-s1", 10, 10).close()
    with pytest.raises(OSError):
        net.dial("p1-s1", 10, 10)


@needs_sing_box
def test_a_person_who_has_no_rule_reaches_nothing(panel: FakePanel, net: Net, core: Core) -> None:
    panel.gateway = net.document("p1")
    del panel.gateway["sing_box"]["route"]["rules"][0]
    supervisor(panel, core)
    net.add_app("p1-s1", "p1-s2")
    net.dial("p1-s2", 10, 10).close()
    with pytest.raises(OSError):
        net.dial("p1-s1", 10, 10)


@needs_sing_box
def test_changes_that_come_one_after_the_other_cost_one_reload(
    panel: FakePanel, net: Net, core: Core
) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    now = time.monotonic()
    for number, people in enumerate((("p1", "p2"), ("p1", "p2", "p3")), start=1):
        panel.gateway = net.document(*people)
        it.step(now + number * supervising.ASK)
    assert it.counts.reloads == 0
    it.step(now + supervising.ASK + supervising.GATHER)
    assert it.counts.reloads == 1
    it.step(now + 10 * supervising.ASK)
    assert it.counts.reloads == 1
    assert panel.fetches == [200, 200, 200, 304, 304]


def test_a_change_is_applied_within_a_minute() -> None:
    assert supervising.ASK + supervising.GATHER + supervising.TICK + COMES_UP < 60


@needs_sing_box
def test_a_server_that_sing_box_refuses_is_left_out_and_named(
    panel: FakePanel, net: Net, core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    panel.gateway = net.document("p1")
    panel.gateway["sing_box"]["outbounds"][1]["method"] = "nonsense"
    supervisor(panel, core)
    assert "s2.example.com:443/shadowsocks is left out" in caplog.text
    net.add_app("p1-s1")
    net.dial("p1-s1", 10, 10).close()


@needs_sing_box
def test_a_configuration_that_is_refused_is_never_applied(
    panel: FakePanel, net: Net, core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    net.add_app("p1-s1")
    panel.gateway = net.document("p1", "p2")
    panel.gateway["sing_box"]["inbounds"][0]["method"] = "nonsense"
    it.step(now := time.monotonic() + supervising.ASK)
    it.step(now + supervising.GATHER)
    assert "is not applied" in caplog.text
    assert it.counts.reloads == 0
    net.dial("p1-s1", 10, 10).close()


@needs_sing_box
def test_whoever_is_out_is_cut_off_also_while_a_configuration_is_refused(
    panel: FakePanel, net: Net, core: Core
) -> None:
    panel.gateway = net.document("p1", "p2")
    it = supervisor(panel, core)
    net.add_app("p1-s1")
    panel.gateway = net.document("p2")
    panel.gateway["sing_box"]["inbounds"][0]["method"] = "nonsense"
    it.step(now := time.monotonic() + supervising.ASK)
    it.step(now + supervising.GATHER)
    with net.hold("p1-s1") as gone:
        it.step(now + supervising.GATHER + supervising.TICK)
        assert gone.recv(1) == b""


@needs_sing_box
def test_what_cannot_be_written_is_tried_again(
    panel: FakePanel, net: Net, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    panel.gateway = net.document("p1", "p2")
    with monkeypatch.context() as full:
        for module in (supervising, core_module):
            full.setattr(module, "write_secret", no_space)
        it.step(now := time.monotonic() + supervising.ASK)
        it.step(now + supervising.GATHER)
    assert "No space left" in it.complaint
    assert core.is_configured
    it.step(now + supervising.GATHER + supervising.RETRY)
    assert (it.complaint, it.counts.reloads) == ("", 1)
    net.add_app("p2-s1")
    net.dial("p2-s1", 10, 10).close()


@needs_sing_box
def test_a_configuration_that_does_not_come_up_is_rolled_back(
    panel: FakePanel, net: Net, core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    net.add_app("p1-s1")
    panel.gateway = net.document("p1", "p2")
    # Somebody else listens there already: no check finds that.
    panel.gateway["sing_box"]["inbounds"][0]["listen_port"] = net.outer["s1"]
    it.step(now := time.monotonic() + supervising.ASK)
    it.step(now + supervising.GATHER)
    assert "Back to the configuration before" in caplog.text
    net.dial("p1-s1", 10, 10).close()


@needs_sing_box
def test_a_core_that_dies_is_started_again_later_each_time(
    panel: FakePanel, net: Net, core: Core
) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    now = time.monotonic()
    os.kill(core._pid, signal.SIGKILL)
    eventually(lambda: not core.is_running(), 30)
    it.step(now)
    for wait in (1.0, 2.0, 4.0, 8.0):
        os.kill(core._pid, signal.SIGKILL)
        eventually(lambda: not core.is_running(), 30)
        it.step(now + wait - 0.1)
        assert not core.is_running()
        now += wait
        it.step(now)
        assert core.is_running()
    eventually(lambda: is_open(net.entrance))
    assert it.counts.deaths == 5


@needs_sing_box
def test_a_core_that_died_with_its_agent_counts_as_dead_and_a_stopped_one_does_not(
    panel: FakePanel, net: Net, core: Core, tmp_path: Path
) -> None:
    panel.gateway = net.document("p1")
    supervisor(panel, core)
    os.kill(core._pid, signal.SIGKILL)
    eventually(lambda: not core.is_running(), 30)
    assert restarted(panel, tmp_path).counts.deaths == 1
    last = restarted(panel, tmp_path)
    assert (last.counts.deaths, last.counts.reloads) == (1, 0)


@needs_sing_box
def test_an_agent_takes_over_the_core_that_outlived_the_one_before(
    panel: FakePanel, net: Net, core: Core, tmp_path: Path
) -> None:
    panel.gateway = net.document("p1")
    supervisor(panel, core)
    again = SingBox(str(SING_BOX), tmp_path / "state")
    assert again.is_running()
    assert again._pid == core._pid


@needs_sing_box
def test_while_the_panel_is_down_the_gateway_goes_on_with_what_it_has(
    panel: FakePanel, net: Net, core: Core
) -> None:
    panel.gateway = net.document("p1")
    supervisor(panel, core)
    core.stop()
    panel.close()
    it = supervisor(panel, core)
    it.step(time.monotonic() + supervising.ASK)
    net.add_app("p1-s1")
    net.dial("p1-s1", 10, 10).close()


def test_a_wrong_key_is_said_at_once(panel: FakePanel, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    core = SingBox("sing-box", tmp_path / "state")
    it = Supervisor(Panel(Address(panel.url, key="wrong")), "-", core, tmp_path / "state")
    with pytest.raises(PanelError, match="does not accept the API key"):
        it.fetch_first()


# The whole program


@needs_sing_box
def test_what_people_use_is_told_to_the_byte_and_the_log_holds_no_secret(
    panel: FakePanel, net: Net, tmp_path: Path
) -> None:
    panel.gateway = net.document("p1", "p2")
    running = agent(panel, tmp_path, "--sing-box", SING_BOX)
    try:
        eventually(lambda: is_open(net.entrance))
        net.add_app("p1-s1", "p1-s2", "p2-s1", "p2-s2")
        dice = random.Random(5)
        for _ in range(60):
            net.dial(dice.choice([*net.socks]), dice.randrange(5000), dice.randrange(50000)).close()
        eventually(lambda: booked(panel) == net.flowed, 30)
    finally:
        running.terminate()
        running.wait(30)
    assert booked(panel) == net.flowed
    assert {message["meter"] for message in panel.messages} == {"gw-1"}
    carried = panel.states[-1]["carried"]
    assert (carried["unexplained"], panel.states[-1]["deaths"]) == (0, 0)
    log = (tmp_path / "agent.log").read_text()
    assert KEY not in log
    assert API_SECRET not in log


# Keys and state


@needs_sing_box
def test_its_own_certificate_is_made_once_and_read_back(core: SingBox, tmp_path: Path) -> None:
    keys = core.keys
    made = certificate(keys.make_certificate("gw.example.com"))
    assert made == certificate(keys.make_certificate("gw.example.com"))
    assert made.ends_at > time.time() + 9 * 365 * 86_400
    assert len(made.sha256) == 64
    for name in ("private-key.pem", "certificate.pem"):
        assert (tmp_path / "state" / name).stat().st_mode & 0o077 == 0
    assert keys.reality() == keys.reality()
    assert [len(one) for one in keys.reality()] == [43, 43]


def test_what_is_no_certificate_is_said() -> None:
    for text in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(CertificateError):
            certificate(text)


@needs_sing_box
def test_an_inbound_that_this_build_cannot_have_is_left_out_and_named(
    panel: FakePanel, net: Net, core: Core
) -> None:
    panel.gateway = net.document("p1")
    bad = {"type": "naive", "tag": "naive", "listen": "127.0.0.1", "listen_port": 1, "users": []}
    panel.gateway["sing_box"]["inbounds"].append(bad)
    it = supervisor(panel, core)
    assert list(it.left_out) == ["naive"]
    net.add_app("p1-s1")
    net.dial("p1-s1", 10, 10).close()


@needs_sing_box
def test_a_change_that_changes_nothing_for_the_core_costs_no_reload(
    panel: FakePanel, net: Net, core: Core
) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    panel.gateway = {**net.document("p1"), "interval": 60}
    now = time.monotonic() + supervising.ASK
    it.step(now)
    it.step(now + supervising.GATHER)
    assert panel.fetches == [200, 200, 304]
    assert it.counts.reloads == 0


@needs_sing_box
def test_the_panel_is_told_what_runs_and_what_is_refused(
    panel: FakePanel, net: Net, core: Core
) -> None:
    panel.gateway = net.document("p1")
    panel.gateway["sing_box"]["outbounds"][1]["method"] = "nonsense"
    it = supervisor(panel, core)
    it.step(time.monotonic() + supervising.ASK)
    (told,) = panel.states
    assert told["core"].startswith("1.")
    assert "with_quic" in told["tags"]
    assert list(told["left_out"]) == ["s2.example.com:443/shadowsocks"]
    assert (told["complaint"], told["online"], told["certificate"]) == ("", 0, None)
    assert (told["deaths"], told["carried"]) == (0, None)
