"""The clash source: ways to the controller, people, servers, and what survives a crash."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from stand_ins import HttpCore, MemoryStore, raw_server

from xpert_agent.growth import growth
from xpert_agent.sources import complete_options
from xpert_agent.sources.base import Counter, Key, Reading, SourceError
from xpert_agent.sources.clash import Clash
from xpert_agent.sources.controller import Controller


def _connection(id_: str, up: int, down: int, **metadata: str) -> dict[str, Any]:
    """As mihomo 1.19 writes it."""
    told = {"network": "tcp", "type": "HTTPS", "sourceIP": "127.0.0.1", "inboundUser": ""}
    return {
        "id": id_,
        "upload": up,
        "download": down,
        "start": "2026-11-28T17:18:44.303421173Z",
        "chains": [metadata.pop("server", "srv-a"), "SEL"],
        "rule": "IPCIDR",
        "metadata": {**told, **metadata},
    }


def _page(*connections: dict[str, Any]) -> dict[str, Any]:
    return {
        "uploadTotal": sum(one["upload"] for one in connections),
        "downloadTotal": sum(one["download"] for one in connections),
        "memory": 0,
        "connections": list(connections) or None,
    }


EMPTY = _page()


@contextmanager
def _source(port: int, store: MemoryStore | None = None, **options: str) -> Iterator[Clash]:
    given = {"controller": f"127.0.0.1:{port}", **options}
    with closing(Clash(complete_options("clash", given), store or MemoryStore())) as source:
        yield source


def _second_reading(page: dict[str, Any], person_by: str = "user") -> Reading:
    core = HttpCore(EMPTY)
    with core.on_port() as port, _source(port, person_by=person_by) as source:
        source.read()
        core.answer = page
        return source.read()


def test_people_are_the_proxys_users_and_servers_the_real_outbounds() -> None:
    reading = _second_reading(
        _page(
            _connection("1", 200_188, 700_164, inboundUser="alice"),
            _connection("2", 1, 2, server="srv-b"),
        )
    )
    assert reading.counters == {
        Key("alice", "srv-a"): Counter(200_188, 700_164),
        Key("", "srv-b"): Counter(1, 2),
    }


def test_on_a_router_people_are_addresses_and_the_routers_own_traffic_is_nobody_elses() -> None:
    page = _page(
        _connection("1", 1, 0, sourceIP="192.168.1.20"),
        _connection("2", 2, 0, sourceIP="::ffff:192.168.1.21"),
        _connection("3", 3, 0, sourceIP="192.168.1.22", inboundUser="carol"),
        _connection("4", 4, 0, sourceIP="127.0.0.1"),
        _connection("5", 5, 0, sourceIP=""),
        _connection("6", 6, 0, sourceIP="fd00::2"),
    )
    reading = _second_reading(page, person_by="address")
    ups = {key.person: counter.up for key, counter in reading.counters.items()}
    assert ups == {"192.168.1.20": 1, "192.168.1.21": 2, "carol": 3, "": 9, "fd00::2": 6}


def test_a_connection_without_a_chain_goes_through_no_server() -> None:
    page = _page({**_connection("1", 1, 2), "chains": None})
    assert set(_second_reading(page).counters) == {Key("", "DIRECT")}


def test_the_first_reading_counts_nothing_and_the_next_all_that_came_since() -> None:
    core = HttpCore(_page(_connection("1", 100, 200)))
    with core.on_port() as port, _source(port) as source:
        first = source.read()
        core.answer = _page(_connection("1", 150, 200))
        second = source.read()
    assert first.counters == {}
    assert second.counters == {Key("", "srv-a"): Counter(50, 0)}
    # Its own sums began at 0 when the agent was there already, so the journal counts them.
    assert not growth(first, None, first.read_at - 60).baseline
    assert second.run == first.run


def test_the_secret_goes_as_a_bearer_and_a_wrong_one_is_one_sentence() -> None:
    core = HttpCore(EMPTY, secret="s3cret")
    with core.on_port() as port:
        with _source(port, secret="s3cret") as source:
            source.read()
        refused = pytest.raises(SourceError, match="refuses the secret")
        with _source(port, secret="wr0ng") as source, refused as error:
            source.read()
    assert "wr0ng" not in str(error.value)


def test_a_core_that_is_away_is_a_sentence_and_it_recovers_by_itself() -> None:
    core, store = HttpCore(EMPTY), MemoryStore()
    with core.on_port() as port, _source(port, store) as source:
        source.read()
        core.answer = b"<html>"
        with pytest.raises(SourceError, match="not JSON"):
            source.read()
        core.answer = _page(_connection("1", 3, 4))
        assert source.read().counters == {Key("", "srv-a"): Counter(3, 4)}


def test_an_answer_that_is_an_error_is_one_sentence() -> None:
    core = HttpCore({})
    core.status = 404
    refused = pytest.raises(SourceError, match=r"^127\.0\.0\.1:\d+ answers HTTP 404\.$")
    with core.on_port() as port, _source(port) as source, refused:
        source.read()


def test_a_core_that_hangs_does_not_hold_up_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpert_agent.sources.clash._PATIENCE", 0.1)
    goes_on = threading.Event()

    def hang(_: Any) -> Any:
        goes_on.wait(10)
        return EMPTY

    with HttpCore(hang).on_port() as port, _source(port) as source:
        with pytest.raises(SourceError, match="does not answer in time"):
            source.read()
        goes_on.set()


@pytest.mark.parametrize(
    "page", [[], {}, {"uploadTotal": 1, "downloadTotal": None}, {**EMPTY, "connections": [{}]}]
)
def test_a_page_of_another_program_is_not_taken_for_a_controller(page: Any) -> None:
    refused = pytest.raises(SourceError, match="is not a Clash controller")
    with HttpCore(page).on_port() as port, _source(port) as source, refused:
        source.read()


def test_a_restarted_agent_tells_the_same_sums_and_what_came_meanwhile() -> None:
    core, store = HttpCore(EMPTY), MemoryStore()
    with core.on_port() as port:
        with _source(port, store) as source:
            source.read()
            core.answer = _page(_connection("1", 10, 20))
            before = source.read()
        core.answer = _page(_connection("1", 15, 20), _connection("2", 0, 7, server="srv-b"))
        with _source(port, store) as source:
            after = source.read()
    assert after.run == before.run
    assert after.counters == {Key("", "srv-a"): Counter(15, 20), Key("", "srv-b"): Counter(0, 7)}


def test_sums_are_on_disk_before_they_are_told() -> None:
    core, store = HttpCore(EMPTY), MemoryStore()
    with core.on_port() as port, _source(port, store) as source:
        source.read()
        core.answer = _page(_connection("1", 10, 20))
        source.read()
        assert json.loads(store.text)["ledger"]["sums"] == [["", "srv-a", 10, 20]]


def test_an_idle_core_costs_no_writing_to_the_disk() -> None:
    core, store = HttpCore(_page(_connection("1", 10, 20))), MemoryStore()
    with core.on_port() as port, _source(port, store) as source:
        for _ in range(3):
            source.read()
    assert store.saved == 1


def test_another_controller_under_the_same_name_is_not_counted_from_0() -> None:
    core, store = HttpCore(EMPTY), MemoryStore()
    with core.on_port() as port:
        with _source(port, store) as source:
            source.read()
            core.answer = _page(_connection("1", 10, 20))
            source.read()
        core.answer = _page(_connection("9", 5, 6))
        with _source(port, store, controller=f"http://localhost:{port}") as source:
            reading = source.read()
    assert reading.counters == {Key("", "srv-a"): Counter(10, 20)}


def test_connections_are_looked_at_between_readings() -> None:
    core = HttpCore(EMPTY)
    with core.on_port() as port, _source(port) as source:
        source.read()
        looks = len(core.paths)
        while len(core.paths) < looks + 3:
            pass
    assert set(core.paths) == {"/configs", "/connections", "/logs?level=info"}


def test_an_unknown_choice_of_persons_is_refused_at_once() -> None:
    options = complete_options("clash", {"controller": "127.0.0.1:9090", "person_by": "mac"})
    with pytest.raises(SourceError, match="user or address"):
        Clash(options, MemoryStore())


# Ways to a controller


@pytest.mark.parametrize(
    "address", ["", "unix:", "pipe:verge-mihomo", "ftp://h:1", "http://", "127.0.0.1:port"]
)
def test_an_address_of_another_form_is_refused_at_once(address: str) -> None:
    with pytest.raises(SourceError, match="The controller is an address such as"):
        Controller(address)


@pytest.mark.skipif(sys.platform == "win32", reason="Python has no unix sockets on Windows")
def test_a_unix_socket_is_a_way_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "mihomo.sock"
    with HttpCore([1]).on_socket(path), closing(Controller(f"unix:{path}")) as controller:
        assert [controller.get_json("/") for _ in range(2)] == [[1], [1]]


@pytest.mark.skipif(sys.platform == "win32", reason="Python has no unix sockets on Windows")
def test_a_unix_socket_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not answer"):
        Controller(f"unix:{tmp_path / 'none.sock'}").get_json("/")


def test_a_core_that_ended_the_connection_is_asked_again_on_a_new_one() -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"n":1}'
    with raw_server([answer, answer]) as port, closing(Controller(f"127.0.0.1:{port}")) as core:
        assert [core.get_json("/") for _ in range(2)] == [{"n": 1}] * 2


def test_the_scheme_may_be_left_out_or_given() -> None:
    core = HttpCore([1])
    with core.on_port() as port:
        for address in (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"):
            with closing(Controller(address)) as controller:
                assert controller.get_json("/") == [1]


def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpert_agent.sources.controller.MAX_BYTES", 100_000)
    answers = [" " * 99_998 + "[]", " " * 99_999 + "[]"]
    core = HttpCore(lambda _: answers.pop(0).encode())
    with core.on_port() as port, closing(Controller(f"127.0.0.1:{port}")) as controller:
        assert controller.get_json("/") == []
        with pytest.raises(SourceError, match="answers more than"):
            controller.get_json("/")


class Pipe(io.RawIOBase):
    """A named pipe: one file for both ways; whatever is asked, the next answer follows."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = list(answers)
        self._out = b""
        self.asked = b""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data[:10])  # a raw file may take less than it was given
        self.asked += taken
        if self.asked.endswith(b"\r\n\r\n"):
            self._out += self._answers.pop(0)
        return len(taken)

    def readinto(self, buffer: Any) -> int:
        part, self._out = self._out[: len(buffer)], self._out[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def test_a_named_pipe_is_opened_once_for_several_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"n":2}\r\n0\r\n\r\n'
    pipe = Pipe(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"n":1}', chunked)
    opened: list[tuple[Any, ...]] = []

    def open_pipe(*arguments: Any, **_: Any) -> Pipe:
        opened.append(arguments)
        return pipe

    monkeypatch.setattr("builtins.open", open_pipe)
    with closing(Controller("pipe:\\\\.\\pipe\\verge-mihomo")) as controller:
        assert [controller.get_json("/connections") for _ in range(2)] == [{"n": 1}, {"n": 2}]
    assert opened == [("\\\\.\\pipe\\verge-mihomo", "r+b")]
    assert pipe.asked.startswith(b"GET /connections HTTP/1.1\r\n")
    assert pipe.closed
