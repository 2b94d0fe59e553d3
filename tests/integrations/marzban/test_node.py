"""The node over real sockets, asked as Marzban asks."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from django.db import OperationalError
from django.utils import timezone

from integrations.marzban import handover, marks, node_http, wire
from integrations.marzban.conf import conf
from integrations.marzban.models import HandOver, PanelIdentity, PanelLink
from integrations.marzban.running import Nodes, RunningNode, run
from operations.audit import By
from operations.databases.transactions import write_transaction
from tests.integrations.marzban.conftest import Start
from tests.integrations.marzban.simulator import (
    ADD_BOB,
    ALTER,
    OUTBOUNDS,
    QUERY_STATS,
    REMOVE_BOB,
    SYS_STATS,
    USERS,
    Marzban,
    config,
    stats,
)
from tests.traffic.examples import a_report, stored
from traffic.ledger import retention
from traffic.models import Balance, Subscriber
from traffic.people import erasure

PATIENCE = 60.0


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def connected(marzban: Marzban, *emails: str) -> None:
    marzban.connect(conf.node_listen.port, conf.node_api.port, emails)
    until(lambda: known(*emails))


def known(*emails: str) -> bool:
    active = PanelIdentity.objects.filter(closed_at=None, is_active=True)
    found = {f"{row.user_id}.{row.username}" for row in active}
    return set(emails) <= found


def uses(username: str, size: int, at: datetime | None = None) -> None:
    """Somebody used so many bytes of an external server."""
    person = PanelIdentity.objects.get(username=username, closed_at=None).subscriber
    assert person
    now = timezone.now()
    stored(a_report(at or now, user_token=person.token, upload=0, download=size), now=now)


@contextlib.contextmanager
def busy_database() -> Iterator[None]:
    """Nobody else can hand over meanwhile."""
    with write_transaction():
        assert PanelLink.objects.select_for_update().get()
        yield


def is_listening() -> bool:
    """This port is opened after the one for gRPC."""
    with contextlib.suppress(OSError):
        socket.create_connection((conf.node_listen.host, conf.node_listen.port), timeout=1).close()
        return True
    return False


def states() -> list[str]:
    return list(
        HandOver.objects.filter(what="users").order_by("pk").values_list("state", flat=True)
    )


def test_bytes_of_a_person_reach_marzban(marzban: Marzban, running: RunningNode) -> None:
    connected(marzban, "1.alice")
    uses("alice", 235_567)
    assert marzban.fetch_users() == 235_567
    assert marzban.received == {1: 235_567}
    assert marzban.fetch_users() == 0


# --- The connection ----------------------------------------------------------


def test_a_plain_probe_ends_in_order(marzban: Marzban, running: RunningNode) -> None:
    assert marzban.probe(conf.node_listen.port)


@pytest.mark.usefixtures("running")
def test_nobody_without_the_panels_certificate_gets_in(marzban: Marzban, tmp_path: Path) -> None:
    marzban.reach(conf.node_listen.port, with_certificate=False)
    with pytest.raises((OSError, http.client.HTTPException)):
        marzban.call("/connect")
    (tmp_path / "other").mkdir()
    other = Marzban(tmp_path / "other")
    other.reach(conf.node_listen.port)
    with pytest.raises((OSError, http.client.HTTPException)):
        other.call("/connect")
    other.leave()


@pytest.mark.usefixtures("running")
def test_a_node_is_not_started_before_its_own_session_starts_it(marzban: Marzban) -> None:
    marzban.reach(conf.node_listen.port)
    assert marzban.call("/")[1]["connected"] is False
    first = marzban.ask("/connect")
    assert (first["connected"], first["started"]) == (True, False)
    assert marzban.start(["1.alice"])["started"] is True
    assert marzban.ask("/")["started"] is True
    assert marzban.ask("/connect")["started"] is False
    assert marzban.ask("/")["started"] is False


@pytest.mark.usefixtures("running")
def test_a_session_ends_when_somebody_connects_again(marzban: Marzban) -> None:
    marzban.reach(conf.node_listen.port)
    old = marzban.ask("/connect")["session_id"]
    marzban.ask("/connect")
    for path in ("/ping", "/start", "/restart"):
        status, answer = marzban.call(path, session_id=old, config="{}")
        assert (status, answer) == (403, {"detail": "Session ID mismatch."})
    assert marzban.ask("/ping") == {}
    assert marzban.ask("/disconnect")["connected"] is False
    assert marzban.call("/ping", session_id=marzban.session)[0] == 403


@pytest.mark.usefixtures("running")
def test_start_may_come_twice_and_restart_alone(marzban: Marzban) -> None:
    marzban.reach(conf.node_listen.port)
    marzban.ask("/connect")
    assert marzban.start(["1.alice"], "/restart")["started"] is True
    assert marzban.start(["1.alice", "2.bob"])["started"] is True
    until(lambda: known("1.alice", "2.bob"))
    marzban.start(["2.bob"])
    until(lambda: not known("1.alice"))


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/nothing", "{}", 404),
        ("/start", "not json", 422),
        ("/start", '{"session_id": "SESSION"}', 422),
        ("/start", '{"session_id": "SESSION", "config": "[1]"}', 422),
    ],
)
def test_a_wrong_call_is_answered_with_a_reason(
    marzban: Marzban, path: str, body: str, status: int
) -> None:
    marzban.reach(conf.node_listen.port)
    marzban.ask("/connect")
    assert marzban.http
    marzban.http.request("POST", path, body.replace("SESSION", marzban.session or ""))
    response = marzban.http.getresponse()
    assert response.status == status
    assert json.loads(response.read())["detail"]
    assert marzban.ask("/ping") == {}


@pytest.mark.usefixtures("running")
def test_a_body_that_is_too_large_is_not_read(marzban: Marzban) -> None:
    marzban.reach(conf.node_listen.port)
    assert marzban.http
    marzban.http.putrequest("POST", "/start")
    marzban.http.putheader("Content-Length", str(node_http.MAX_BODY + 1))
    marzban.http.endheaders()
    assert marzban.http.getresponse().status == 413


def test_nothing_of_the_configuration_but_names_is_kept(
    marzban: Marzban, running: RunningNode, caplog: pytest.LogCaptureFixture
) -> None:
    connected(marzban, "1.alice")
    marzban.rpc(ALTER, ADD_BOB)
    until(lambda: known("2.bob.x"))
    kept = [
        *PanelIdentity.objects.values(),
        *PanelLink.objects.values(),
        *Subscriber.objects.values(),
    ]
    for secret in ("efccb32b", "never-kept"):
        assert secret not in caplog.text
        assert secret not in str(kept)
        assert secret not in str(vars(running.node)) + str(vars(running.node.membership))


# --- Who may ask -------------------------------------------------------------


@pytest.mark.usefixtures("running")
def test_nobody_gets_bytes_before_the_session_starts(marzban: Marzban) -> None:
    connected(marzban, "1.alice")
    uses("alice", 7000)
    marzban.ask("/connect")
    for method, message in ((QUERY_STATS, USERS), (SYS_STATS, b""), (ALTER, REMOVE_BOB)):
        assert refused(marzban, method, message) == grpc.StatusCode.PERMISSION_DENIED
    marzban.start(["1.alice"])
    assert marzban.fetch_users() == 7000


def test_nobody_gets_bytes_from_another_address_than_the_sessions(
    marzban: Marzban, running: RunningNode
) -> None:
    connected(marzban, "1.alice")
    uses("alice", 7000)
    elsewhere = running.node.connect("192.0.2.7")
    running.node.start(elsewhere.id, config(["1.alice"]))
    assert refused(marzban, QUERY_STATS, USERS) == grpc.StatusCode.PERMISSION_DENIED
    marzban.ask("/connect")
    marzban.start(["1.alice"])
    assert marzban.fetch_users() == 7000


def refused(marzban: Marzban, method: str, message: bytes) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as failed:
        marzban.rpc(method, message)
    return failed.value.code()


@pytest.mark.usefixtures("running")
def test_a_question_for_health_is_answered(marzban: Marzban) -> None:
    connected(marzban)
    assert marzban.rpc(SYS_STATS, b"")
    assert refused(marzban, "/xray.app.stats.command.StatsService/GetStats", b"") == (
        grpc.StatusCode.UNIMPLEMENTED
    )
    assert refused(marzban, QUERY_STATS, b"\xff") == grpc.StatusCode.INVALID_ARGUMENT


# --- Bytes -------------------------------------------------------------------


def test_history_from_before_the_link_is_not_handed_over(
    marzban: Marzban, link: PanelLink, start: Start
) -> None:
    now = timezone.now()
    stored(a_report(now, user_token="veteran", download=5000), now=now)
    veteran = Subscriber.objects.get(token="veteran")
    PanelIdentity.objects.create(link=link, username="alice", subscriber=veteran)
    start(link)
    connected(marzban, "1.alice")
    assert marzban.fetch_users() + marzban.fetch_servers() == 0
    uses("alice", 70)
    assert (marzban.fetch_users(), marzban.fetch_servers()) == (70, 70)
    assert PanelIdentity.objects.get().subscriber == veteran


@pytest.mark.usefixtures("running")
def test_bytes_of_servers_go_up_and_down_apart(marzban: Marzban) -> None:
    connected(marzban, "1.alice")
    now = timezone.now()
    stored(
        a_report(now, user_token="a", server="de.example.com", upload=3, download=40),
        a_report(now, user_token="b", server="de.example.com", upload=5, download=60),
        a_report(now, user_token="b", server="nl.example.com", upload=0, download=7),
        now=now,
    )
    assert marzban.fetch_servers() == 115
    assert marzban.up == {"de.example.com:443 vless": 8}
    assert marzban.down == {"de.example.com:443 vless": 100, "nl.example.com:443 vless": 7}
    assert marzban.fetch_servers() == 0


@pytest.mark.usefixtures("running")
def test_cleanup_hands_nothing_over_and_hides_nothing(marzban: Marzban) -> None:
    connected(marzban, "1.alice")
    uses("alice", 100)
    assert marzban.fetch_servers() == 100
    retention.delete_records(0, timezone.now())
    assert marzban.fetch_servers() == 0
    assert marzban.fetch_users() == 100


@pytest.mark.usefixtures("running")
def test_a_correction_downwards_is_held_until_it_has_been_used_up(marzban: Marzban) -> None:
    connected(marzban, "1.alice")
    uses("alice", 1000)
    assert marzban.fetch_users() == 1000
    alice = Subscriber.objects.get(name="alice")
    Balance.objects.filter(subscriber=alice).update(life_download=700)
    assert marzban.fetch_users() == 0
    uses("alice", 200)
    assert marzban.fetch_users() == 0
    uses("alice", 150)
    assert marzban.fetch_users() == 50


@pytest.mark.usefixtures("running")
def test_bytes_for_which_marzban_did_not_wait_go_with_the_next_answer(marzban: Marzban) -> None:
    connected(marzban, "1.alice")
    uses("alice", 7000)
    with busy_database(), pytest.raises(grpc.RpcError) as failed:
        marzban.fetch_users(timeout=0.5)
    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: states() == ["returned"])
    assert marzban.fetch_users() == 7000
    until(lambda: states() == ["returned", "sent"])


@pytest.mark.usefixtures("running")
def test_bytes_of_servers_for_which_marzban_did_not_wait_go_with_the_next_answer(
    marzban: Marzban,
) -> None:
    connected(marzban, "1.alice")
    uses("alice", 7000)
    with busy_database(), pytest.raises(grpc.RpcError):
        marzban.rpc(QUERY_STATS, OUTBOUNDS, timeout=0.5)
    until(lambda: HandOver.objects.filter(what="servers", state="returned").exists())
    assert marzban.fetch_servers() == 7000


def test_a_batch_is_given_back_once_and_only_while_nobody_said_that_it_was_sent(
    marzban: Marzban, link: PanelLink, running: RunningNode
) -> None:
    connected(marzban, "1.alice")
    uses("alice", 7000)
    batch = handover.take_users(link, "", 0, 10)
    assert batch
    handover.give_back(batch.pk)
    handover.give_back(batch.pk)
    handover.give_back(batch.pk + 1)
    assert marzban.fetch_users() == 7000
    until(lambda: states() == ["returned", "sent"])
    handover.give_back(HandOver.objects.latest("pk").pk)
    assert marzban.fetch_users() == 0


def test_a_batch_that_cannot_be_taken_back_now_is_taken_back_later(
    marzban: Marzban, running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(marzban, "1.alice")
    uses("alice", 7000)
    with monkeypatch.context() as broken:
        broken.setattr(handover, "give_back", raises(OperationalError("database is locked")))
        with busy_database(), pytest.raises(grpc.RpcError):
            marzban.fetch_users(timeout=0.5)
        until(lambda: running.node._refused)
        time.sleep(0.1)
        assert states() == ["pending"]
    until(lambda: states() == ["returned"])
    assert marzban.fetch_users() == 7000


def test_a_question_that_comes_while_another_is_answered_is_asked_again(
    marzban: Marzban, running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.marzban.node._TURN", 0.01)
    connected(marzban, "1.alice")
    uses("alice", 10)
    with running.node._turn:
        assert refused(marzban, QUERY_STATS, USERS) == grpc.StatusCode.UNAVAILABLE
    assert marzban.rpc(QUERY_STATS, b"\x0a\x0ainbound>>>\x10\x01") == b""
    assert marzban.fetch_users() == 10


def test_nothing_goes_over_while_somebody_new_is_not_in_the_database(
    marzban: Marzban, running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(marzban, "7.old")
    uses("old", 10)
    with monkeypatch.context() as broken:
        broken.setattr("integrations.marzban.people.came", raises(OperationalError("locked")))
        marzban.alter("7.new", added=True)
        assert marzban.fetch_users() == 0
    until(lambda: known("7.new"))
    assert marzban.fetch_users() == 0


@pytest.mark.usefixtures("running")
def test_a_question_without_reset_changes_nothing(marzban: Marzban) -> None:
    connected(marzban, "1.alice")
    uses("alice", 10)
    for _ in range(2):
        waiting = stats(marzban.rpc(QUERY_STATS, b"\x0a\x07user>>>"))
        assert waiting == [("user>>>1.alice>>>traffic>>>downlink", 10)]
        [server] = stats(marzban.rpc(QUERY_STATS, b"\x0a\x0boutbound>>>"))
        assert server[1] == 10
    assert marzban.fetch_users() == 10
    assert marzban.rpc(QUERY_STATS, b"\x0a\x07user>>>") == b""


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    "pattern", ["", "user", "user>>>1.alice>>>traffic", "inbound>>>", "x" * 999]
)
def test_a_question_for_something_else_takes_nothing(marzban: Marzban, pattern: str) -> None:
    connected(marzban, "1.alice")
    uses("alice", 10)
    size = wire.varint(len(pattern))
    message = b"\x0a" + size + pattern.encode() + b"\x10\x01"
    assert marzban.rpc(QUERY_STATS, message) == b""
    assert marzban.fetch_users() == 10
    assert marzban.fetch_servers() == 10


def test_a_database_that_cannot_be_written_loses_nothing(
    marzban: Marzban, running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(marzban, "1.alice")
    uses("alice", 10)
    with monkeypatch.context() as broken:
        broken.setattr(handover, "_remembered", raises(OperationalError("database is locked")))
        assert refused(marzban, QUERY_STATS, USERS) == grpc.StatusCode.UNAVAILABLE
        assert marzban.ask("/ping") == {}
    with monkeypatch.context() as broken:
        broken.setattr(marks, "write", raises(OSError("No space left on device")))
        assert refused(marzban, QUERY_STATS, USERS) == grpc.StatusCode.UNAVAILABLE
    assert marzban.fetch_users() == 10


def raises(error: Exception) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_many_people_get_their_bytes_in_several_answers(
    marzban: Marzban, running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_STATS", 40)
    emails = [f"{number}.user{number}" for number in range(1, 101)]
    connected(marzban, *emails)
    now = timezone.now()
    tokens = Subscriber.objects.values_list("token", flat=True)
    stored(*(a_report(now, user_token=token, upload=0, download=9) for token in tokens), now=now)
    assert [marzban.fetch_users() for _ in range(4)] == [360, 360, 180, 0]
    assert set(marzban.received.values()) == {9}


# --- People ------------------------------------------------------------------


@pytest.mark.usefixtures("running")
def test_everybody_becomes_a_subscriber(marzban: Marzban) -> None:
    connected(marzban, "1.alice", "2.bob.x")
    assert set(Subscriber.objects.values_list("name", flat=True)) == {"alice", "bob.x"}


def test_people_stay_without_a_subscriber_when_the_link_says_so(
    marzban: Marzban, link: PanelLink, start: Start
) -> None:
    PanelLink.objects.update(makes_subscribers=False)
    start(link)
    connected(marzban, "1.alice")
    assert not Subscriber.objects.exists()
    assert marzban.fetch_users() == 0


@pytest.mark.usefixtures("running")
def test_the_bytes_of_a_recorded_call_are_understood(marzban: Marzban) -> None:
    connected(marzban, "2.bob.x")
    marzban.rpc(ALTER, REMOVE_BOB)
    until(lambda: not known("2.bob.x"))
    marzban.rpc(ALTER, ADD_BOB)
    until(lambda: known("2.bob.x"))


@pytest.mark.usefixtures("running")
def test_late_bytes_of_a_limited_person_are_delivered(marzban: Marzban) -> None:
    connected(marzban, "1.alice", "2.bob")
    marzban.alter("1.alice", added=False)
    until(lambda: not known("1.alice"))
    uses("alice", 7)
    assert marzban.fetch_users() == 7


@pytest.mark.usefixtures("running")
def test_bytes_wait_while_an_id_may_go_to_somebody_else(marzban: Marzban) -> None:
    connected(marzban, "1.alice", "2.bob")
    uses("bob", 7)
    marzban.alter("2.bob", added=False)
    assert marzban.fetch_users() == 0
    marzban.alter("2.bob", added=True)
    assert marzban.fetch_users() == 7


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("removed", [True, False])
def test_whoever_gets_a_used_id_gets_none_of_its_bytes(marzban: Marzban, removed: bool) -> None:
    connected(marzban, "1.alice", "7.u_5")
    uses("u_5", 4000)
    uses("alice", 1)
    if removed:
        marzban.alter("7.u_5", added=False)
    marzban.alter("7.newguy", added=True)
    until(lambda: known("7.newguy"))
    # A busy database hands nothing over in this round, and all of it in the next.
    until(lambda: marzban.fetch_users() == 1)
    uses("newguy", 30)
    assert marzban.fetch_users() == 30
    assert marzban.names == {1: {"alice"}, 7: {"newguy"}}
    (lost,) = HandOver.objects.filter(state="undeliverable")
    assert lost.download == 4000
    marzban.start(["1.alice", "7.newguy"])
    assert known("7.newguy")


@pytest.mark.usefixtures("running")
def test_a_name_that_comes_back_with_another_id_is_another_person(marzban: Marzban) -> None:
    connected(marzban, "1.alice", "9.zoe")
    uses("alice", 4000)
    former = PanelIdentity.objects.get(username="alice").subscriber
    marzban.start(["12.Alice", "9.zoe"])
    until(lambda: known("12.Alice"))
    assert marzban.fetch_users() == 0
    assert PanelIdentity.objects.get(username="Alice").subscriber != former


@pytest.mark.usefixtures("running")
def test_somebody_known_by_a_token_gets_the_id_with_which_they_come(
    marzban: Marzban, link: PanelLink
) -> None:
    person = Subscriber.objects.create(name="alice")
    PanelIdentity.objects.create(link=link, username="Alice", subscriber=person)
    connected(marzban, "1.Alice")
    uses("Alice", 5)
    assert marzban.fetch_users() == 5
    assert PanelIdentity.objects.get().subscriber == person


def test_an_erased_person_leaves_no_bytes_to_hand_over(
    marzban: Marzban, running: RunningNode
) -> None:
    connected(marzban, "1.alice", "2.bob")
    uses("alice", 4000)
    erasure.erase(Subscriber.objects.get(name="alice"), By("operator", timezone.now()))
    assert marzban.fetch_users() == 0
    assert set(PanelIdentity.objects.values_list("username", flat=True)) == {"bob"}


# --- Several panels ----------------------------------------------------------


def test_two_panels_get_their_own_people_on_their_own_ports(
    marzban: Marzban, link: PanelLink, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Marzban(tmp_path / "other")
    second = PanelLink.objects.create(
        name="Second", url="http://127.0.0.1:8001", client_certificate=other.certificate, number=1
    )
    start(link)
    start(second)
    connected(marzban, "1.alice")
    other.connect(conf.node_listen.port + 2, conf.node_api.port + 2, ["1.bob"])
    until(lambda: known("1.bob"))
    uses("alice", 10)
    uses("bob", 20)
    assert (marzban.fetch_users(), other.fetch_users()) == (10, 20)
    other.leave()


def test_nodes_follow_the_links(marzban: Marzban, link: PanelLink) -> None:
    nodes = Nodes()
    try:
        nodes.update()
        connected(marzban, "1.alice")
        link.delete()
        nodes.update()
        assert not nodes._running
        with pytest.raises((OSError, http.client.HTTPException)):
            marzban.call("/ping")
    finally:
        nodes.close()


def test_a_node_that_cannot_listen_tries_again(
    link: PanelLink, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = Nodes()
    try:
        with socket.create_server(tuple(conf.node_api)):
            nodes.update()
            nodes.update()
            assert not nodes._running
            assert caplog.text.count("cannot start") == 1
        PanelLink.objects.update(client_certificate="nonsense")
        nodes.update()
        assert "not the one from Node Settings" in caplog.text
        PanelLink.objects.update(client_certificate=link.client_certificate)
        nodes.update()
        assert list(nodes._running) == [link.pk]
    finally:
        nodes.close()


def test_nodes_run_until_they_are_told_to_stop(marzban: Marzban, link: PanelLink) -> None:
    stopping = threading.Event()
    thread = threading.Thread(target=run, args=(stopping,))
    thread.start()
    try:
        until(is_listening)
        connected(marzban, "1.alice")
        until(lambda: PanelLink.objects.exclude(seen_at=None).exists())
    finally:
        stopping.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    with pytest.raises((OSError, http.client.HTTPException)):
        marzban.call("/ping")


def test_an_error_does_not_end_the_thread_that_writes(
    marzban: Marzban, running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(running.node, "write_people", raises(ValueError("a mistake")))
        marzban.connect(conf.node_listen.port, conf.node_api.port, ["1.alice"])
        time.sleep(0.1)
    until(lambda: known("1.alice"))


# --- The log window ----------------------------------------------------------


@pytest.mark.usefixtures("running")
def test_the_log_window_shows_what_the_node_does(marzban: Marzban) -> None:
    connected(marzban, "1.alice")
    window = marzban.open_log()
    assert b"Started with 1 active users." in window.recv(4096)
    uses("alice", 2048)
    marzban.fetch_users()
    assert b"Handed over" in window.recv(4096)
    marzban.ask("/disconnect")
    assert window.recv(4096) == b"\x88\x02\x11\x33"  # close, 4403
    window.close()


@pytest.mark.usefixtures("running")
def test_the_log_window_of_another_session_is_closed(marzban: Marzban) -> None:
    connected(marzban)
    marzban.session = "another"
    window = marzban.open_log()
    assert window.recv(4096) == b"\x88\x02\x11\x33"
    window.close()


def test_a_link_that_is_removed_while_its_node_starts_ends_nothing(
    link: PanelLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Nodes()
    adopt = handover.adopt

    def removed_first(pk: int, now: datetime) -> PanelLink:
        PanelLink.objects.filter(pk=pk).delete()
        return adopt(pk, now)

    monkeypatch.setattr(handover, "adopt", removed_first)
    nodes.update()
    nodes.update()
    nodes.close()
