"""`xpert-agent gateway --xray` with real v2rays on loopback: who gets in without a reload, what is counted, what a kill costs."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from fake_panel import FakePanel
from gateway_apps import Echo
from gateway_runs import KEY, agent, booked, core_of, following, supervisor
from ports import is_open
from real_cores import V2RAY, needs_v2ray
from singbox_core import Origin
from stand_ins import MemoryStore
from waiting import eventually
from xray_cores import XrayNet, id_of

from xpert_agent.gateway import supervisor as supervising
from xpert_agent.gateway import xray_watch
from xpert_agent.gateway.certificates import certificate
from xpert_agent.gateway.xray_core import Xray
from xpert_agent.gateway.xray_users import changes
from xpert_agent.panel import PanelError
from xpert_agent.sources import complete_options
from xpert_agent.sources.xray_gateway import XrayGateway

pytestmark = needs_v2ray
EVERYBODY = ("p1", "p2", "p3")


@pytest.fixture
def panel() -> Iterator[FakePanel]:
    with closing(FakePanel(key=KEY)) as panel:
        yield panel


@pytest.fixture
def net(tmp_path: Path) -> Iterator[XrayNet]:
    with closing(Origin()) as origin, closing(XrayNet(tmp_path, origin)) as net:
        yield net


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Xray]:
    with core_of(Xray, V2RAY, tmp_path) as core:
        yield core


def is_cut_off(connection: socket.socket) -> bool:
    connection.settimeout(0.3)
    try:
        return connection.recv(1) == b""
    except socket.timeout:
        return False
    except OSError:
        return True


def is_let_in(net: XrayNet, user: str) -> bool:
    try:
        net.dial(user, 10, 10).close()
    except OSError:
        return False
    return True


# People, step by step


def test_people_come_and_go_without_a_reload_and_others_notice_nothing(
    panel: FakePanel, net: XrayNet, core: Xray
) -> None:
    panel.gateway = net.document("p1", "p2")
    it = supervisor(panel, core)
    net.add_app("p1-s1", "p2-s1", "p3-s2")
    with net.hold("p2-s1") as stays:
        panel.gateway = net.document("p2", "p3")
        it.step(now := time.monotonic() + supervising.ASK)
        assert is_let_in(net, "p3-s2")
        assert not is_let_in(net, "p1-s1")
        it.step(now + supervising.GATHER)
        assert not is_cut_off(stays)
        assert it.counts.reloads == 0


def test_people_come_and_go_by_trojan_too(panel: FakePanel, net: XrayNet, core: Xray) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    net.add_app("p1-s1", "p2-s1", way="trojan")
    panel.gateway = net.document("p2")
    it.step(time.monotonic() + supervising.ASK)
    assert is_let_in(net, "p2-s1")
    assert not is_let_in(net, "p1-s1")


def test_whoever_is_out_and_goes_on_is_cut_off_by_one_reload(
    panel: FakePanel,
    net: XrayNet,
    core: Xray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel.gateway = net.document("p1", "p2")
    it = supervisor(panel, core)
    net.add_app("p1-s1", "p2-s1")
    with net.hold("p1-s1") as gone:
        panel.gateway = net.document("p2")
        it.step(now := time.monotonic() + supervising.ASK)
        # The core has no way to end one connection.
        assert not is_cut_off(gone)
        gone.sendall(b"more")
        time.sleep(0.2)
        it.step(now + xray_watch.LOOK)
        it.step(now + supervising.GATHER)
        assert is_cut_off(gone)
    assert it.counts.reloads == 1
    assert is_let_in(net, "p2-s1")
    it.step(now + 10 * supervising.GATHER)
    assert it.counts.reloads == 1


def test_a_new_token_changes_who_is_let_in(panel: FakePanel, net: XrayNet, core: Xray) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    net.add_app("p1-s1")
    panel.gateway = net.document("p1")
    for inbound in panel.gateway["xray"]["inbounds"][:2]:
        inbound["settings"]["clients"][0]["id"] = id_of("another token")
    it.step(time.monotonic() + supervising.ASK)
    assert not is_let_in(net, "p1-s1")
    assert it.counts.reloads == 0


def test_another_server_takes_one_reload(panel: FakePanel, net: XrayNet, core: Xray) -> None:
    panel.gateway = net.document("p1", servers=("s1",))
    it = supervisor(panel, core)
    net.add_app("p1-s1", "p1-s2")
    assert not is_let_in(net, "p1-s2")
    panel.gateway = net.document("p1")
    it.step(now := time.monotonic() + supervising.ASK)
    it.step(now + supervising.GATHER)
    assert is_let_in(net, "p1-s2")
    assert it.counts.reloads == 1


def test_an_inbound_that_has_no_rule_reaches_nothing(
    panel: FakePanel, net: XrayNet, core: Xray
) -> None:
    panel.gateway = net.document("p1")
    del panel.gateway["xray"]["routing"]["rules"][1]
    supervisor(panel, core)
    net.add_app("p1-s1", "p1-s2")
    assert is_let_in(net, "p1-s2")
    assert not is_let_in(net, "p1-s1")


def test_a_change_that_the_agent_before_did_not_finish_is_made_again(
    panel: FakePanel, net: XrayNet, core: Xray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.gateway = net.document("p1", "p2")
    it = supervisor(panel, core)
    net.add_app("p1-s1", "p2-s1")

    def killed(found: object) -> None:
        raise KeyboardInterrupt

    panel.gateway = net.document("p2")
    with monkeypatch.context() as patch:
        patch.setattr(core, "_change", killed)
        with pytest.raises(KeyboardInterrupt):
            it.step(time.monotonic() + supervising.ASK)
    assert is_let_in(net, "p1-s1")
    again = Xray(str(V2RAY), tmp_path / "state")
    assert again.is_running()
    it = following(panel, again)
    it.start()
    eventually(lambda: not is_let_in(net, "p1-s1"))
    assert is_let_in(net, "p2-s1")
    assert it.counts.reloads == 0
    it.rest()


def test_while_nobody_is_out_its_configuration_is_not_read_every_second(
    core: Xray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(core, "is_running", lambda: True)
        patch.setattr(core, "configured", lambda: pytest.fail("it was read"))
        assert not core.keep_out(time.monotonic())


# What the core refuses


def test_a_server_that_the_core_refuses_is_left_out_and_named(
    panel: FakePanel, net: XrayNet, core: Xray
) -> None:
    panel.gateway = net.document("p1")
    panel.gateway["xray"]["outbounds"][2]["protocol"] = "nonsense"
    it = supervisor(panel, core)
    assert list(it.left_out) == ["s2.example.com:443/vless"]
    net.add_app("p1-s1")
    assert is_let_in(net, "p1-s1")


def test_a_protocol_that_this_build_cannot_offer_is_left_out_and_named(
    panel: FakePanel, net: XrayNet, core: Xray
) -> None:
    panel.gateway = net.document("p1")
    bad = {
        "tag": "shadowsocks-s1",
        "listen": "127.0.0.1",
        "port": 1,
        "protocol": "shadowsocks",
        "settings": {"method": "2022-blake3-aes-128-gcm", "password": "x", "clients": []},
    }
    panel.gateway["xray"]["inbounds"].insert(0, bad)
    it = supervisor(panel, core)
    assert list(it.left_out) == ["shadowsocks"]
    net.add_app("p1-s1")
    assert is_let_in(net, "p1-s1")


def test_a_configuration_that_does_not_come_up_is_rolled_back(
    panel: FakePanel, net: XrayNet, core: Xray
) -> None:
    panel.gateway = net.document("p1")
    it = supervisor(panel, core)
    net.add_app("p1-s1")
    panel.gateway = net.document("p1", "p2")
    # No check finds that somebody else listens there already.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        panel.gateway["xray"]["inbounds"][0]["port"] = taken.getsockname()[1]
        it.step(now := time.monotonic() + supervising.ASK)
        it.step(now + supervising.GATHER)
    assert it.complaint
    assert is_let_in(net, "p1-s1")


def test_a_document_for_another_core_is_refused(panel: FakePanel, core: Xray) -> None:
    panel.gateway = {"gateway": "gw-1", "servers": {}, "sing_box": {}}
    with pytest.raises(PanelError, match="not made this gateway for xray"):
        following(panel, core)


def test_its_own_certificate_and_keys_are_made_once(core: Xray) -> None:
    made = certificate(core.keys.make_certificate("192.0.2.1"))
    assert made == certificate(core.keys.make_certificate("192.0.2.1"))
    assert made.ends_at > time.time() + 9 * 365 * 86_400
    assert core.keys.reality() == core.keys.reality()
    assert [len(one) for one in core.keys.reality()] == [43, 43]


def test_only_those_whose_credentials_differ_are_changed() -> None:
    net = object.__new__(XrayNet)
    net.api = 1
    net.entrances = {(way, tag): 1 for way in ("vless", "trojan") for tag in net.servers}
    net.outer = {"s1": 1, "s2": 2}
    before, after = net.document("p1", "p2")["xray"], net.document("p2", "p3")["xray"]
    assert {(one.user, one.is_known, one.client is None) for one in changes(before, after)} == {
        (f"{person}-{tag}", person == "p1", person == "p1")
        for person in ("p1", "p3")
        for tag in net.servers
    }
    assert changes(before, before) == []


# Figures


def source_of(core: Xray, folder: Path) -> XrayGateway:
    servers = folder / "servers.json"
    options = {**core.source_options(core.configured()), "servers": str(servers)}
    return XrayGateway(complete_options("xray-gateway", options), MemoryStore())


def test_what_a_run_had_at_its_end_is_told_before_the_next_run(
    panel: FakePanel, net: XrayNet, core: Xray, tmp_path: Path
) -> None:
    panel.gateway = net.document("p1")
    supervisor(panel, core)
    source = source_of(core, tmp_path / "state")
    net.add_app("p1-s1")
    before = source.read()
    net.dial("p1-s1", 1000, 5000).close()
    assert core.reload()
    final, again = source.read(), source.read()
    assert (final.run, final.read_at) == (before.run, again.read_at)
    assert [tuple(one) for one in final.counters.values()] == [(1008, 5000)]
    source._store.recorded_at = final.read_at  # type: ignore[attr-defined]
    after = source.read()
    assert after.run != before.run
    assert after.counters == {}
    assert not list((tmp_path / "state").glob("xray-final-*"))


def test_a_counter_that_has_not_moved_is_told_again_only_if_it_was_not_recorded(
    panel: FakePanel, net: XrayNet, core: Xray, tmp_path: Path
) -> None:
    panel.gateway = net.document("p1", "p2")
    supervisor(panel, core)
    source = source_of(core, tmp_path / "state")
    net.add_app("p1-s1", "p2-s2")
    net.dial("p1-s1", 10, 10).close()
    net.dial("p2-s2", 10, 10).close()
    assert len(source.read().counters) == 2
    again = source.read()
    assert len(again.counters) == 2
    source._store.recorded_at = again.read_at  # type: ignore[attr-defined]
    net.dial("p1-s1", 5, 5).close()
    assert [key.person for key in source.read().counters] == ["p1-s1"]


def test_a_core_that_was_stopped_has_not_died(panel: FakePanel, net: XrayNet, core: Xray) -> None:
    panel.gateway = net.document("p1")
    supervisor(panel, core)
    core.stop()
    assert not core.has_died()
    core.start()
    core.signal(signal.SIGKILL)
    eventually(core.has_died)


def test_what_people_use_is_told_to_the_byte_by_tcp_and_udp(
    panel: FakePanel, net: XrayNet, tmp_path: Path
) -> None:
    panel.gateway = net.document(*EVERYBODY)
    users = [f"{person}-{tag}" for person in EVERYBODY for tag in net.servers]
    running, echo = agent(panel, tmp_path, "--xray", V2RAY), Echo()
    try:
        eventually(lambda: all(map(is_open, net.entrances.values())), 30)
        net.add_app(*users)
        dice = random.Random(5)
        for _ in range(60):
            net.dial(dice.choice(users), dice.randrange(5000), dice.randrange(50_000)).close()
        for number, user in enumerate(users, start=1):
            net.datagrams(user, echo, [number * 10, number * 100])
        eventually(lambda: booked(panel) == net.flowed, 40)
    finally:
        running.terminate()
        running.wait(30)
        echo.close()
    assert booked(panel) == net.flowed
    log = (tmp_path / "agent.log").read_text()
    assert KEY not in log
    assert id_of("p1-s1") not in log


def test_kills_of_agent_and_core_double_nothing(
    panel: FakePanel, net: XrayNet, tmp_path: Path
) -> None:
    panel.gateway = net.document(*EVERYBODY)
    users = [f"{person}-{tag}" for person in EVERYBODY for tag in net.servers]
    running, dice = agent(panel, tmp_path, "--xray", V2RAY), random.Random(7)
    try:
        eventually(lambda: all(map(is_open, net.entrances.values())), 30)
        net.add_app(*users)
        for number in range(8):
            for _ in range(20):
                with suppress(OSError):
                    net.dial(dice.choice(users), dice.randrange(5000), 20_000).close()
            if number % 2:
                os.kill(int((tmp_path / "gw" / "xray.pid").read_text()), signal.SIGKILL)
            else:
                running.kill()
                running.wait()
                running = agent(panel, tmp_path, "--xray", V2RAY)
            eventually(lambda: all(map(is_open, net.entrances.values())), 30)
            time.sleep(dice.uniform(0, 3))
    finally:
        running.terminate()
        running.wait(30)
    assert booked(panel).keys() == net.flowed.keys()
    for key, sums in booked(panel).items():
        assert sums[0] <= net.flowed[key][0]
        assert sums[1] <= net.flowed[key][1]
    assert sum(map(sum, booked(panel).values())) > 0


def has_taken_over(folder: Path, times: int) -> bool:
    return (folder / "agent.log").read_text().count("Taking over") == times


def test_a_killed_agent_alone_costs_no_byte(panel: FakePanel, net: XrayNet, tmp_path: Path) -> None:
    panel.gateway = net.document("p1")
    running = agent(panel, tmp_path, "--xray", V2RAY)
    try:
        eventually(lambda: all(map(is_open, net.entrances.values())), 30)
        net.add_app("p1-s1")
        for number in range(1, 4):
            net.dial("p1-s1", 700, 30_000).close()
            running.kill()
            running.wait()
            net.dial("p1-s1", 300, 10_000).close()
            running = agent(panel, tmp_path, "--xray", V2RAY)
            eventually(partial(has_taken_over, tmp_path, number), 30)
        eventually(lambda: booked(panel) == net.flowed, 40)
    finally:
        running.terminate()
        running.wait(30)
    assert booked(panel) == net.flowed
