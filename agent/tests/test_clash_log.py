"""Lines of a Clash core's log."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from time import monotonic, sleep

import pytest
from ports import free_port

from xpert_agent.sources.base import Key
from xpert_agent.sources.clash_log import ConnectionLog, opened_by
from xpert_agent.sources.controller import Controller


def address(metadata: Mapping[str, str]) -> str:
    return metadata["sourceIP"]


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        (
            "[TCP] 127.0.0.1:40750 --> 127.0.0.1:37335 match Match using srv-a",
            Key("127.0.0.1", "srv-a"),
        ),
        (
            "[TCP] 192.168.1.20:1 --> a.example:443 match DomainSuffix(example) using Proxy[srv-a]",
            Key("192.168.1.20", "srv-a"),
        ),
        (
            "[UDP] [fd00::5]:4 --> 1.1.1.1:53 match Match using Proxy[Vienna [fast] 1]",
            Key("fd00::5", "Vienna [fast] 1"),
        ),
        (
            "[TCP] 127.0.0.1:5(curl, uid=1000) --> a:1 doesn't match any rule using DIRECT",
            Key("127.0.0.1", "DIRECT"),
        ),
    ],
)
def test_a_connection_is_of_its_source_and_through_its_last_server(payload: str, key: Key) -> None:
    assert opened_by(payload, address) == key


@pytest.mark.parametrize(
    "other",
    [
        "[TCP] dial Proxy (match Match/) 127.0.0.1:1 --> a:1 error: connect failed",
        "Start initial configuration in progress",
    ],
)
def test_other_lines_are_of_no_connection(other: str) -> None:
    assert opened_by(other, address) is None


def chunk(payload: str) -> bytes:
    body = json.dumps({"type": "info", "payload": payload}, separators=(",", ":")).encode() + b"\n"
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


@pytest.fixture
def core() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_lines_are_taken_as_they_come_in_pieces_and_again_after_an_end(
    core: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpert_agent.sources.clash_log.RETRY", 0.0)
    log = ConnectionLog(Controller(f"127.0.0.1:{core.getsockname()[1]}"), address)
    assert log.taken() == {}
    text = '[TCP] 10.0.0.1:1 --> "quoted":1 match Match using Vienna 🇦🇹'
    told = chunk(text) * 2 + chunk("[UDP] 10.0.0.2:1 --> a:1 match Match using Oslo")
    vienna, oslo = Key("10.0.0.1", "Vienna 🇦🇹"), Key("10.0.0.2", "Oslo")
    for _ in range(2):
        with core.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + told[:50])
            assert taken(log, 0) == {}
            connection.sendall(told[50:])
            assert taken(log, 3) == {vienna: 2, oslo: 1}
        taken(log, 0)  # the end is noticed, and the log asked for again
        log.taken()
    log.close()


def taken(log: ConnectionLog, at_least: int) -> dict[Key, int]:
    found: dict[Key, int] = {}
    deadline = monotonic() + 10
    while True:
        sleep(0.05)
        for key, count in log.taken().items():
            found[key] = found.get(key, 0) + count
        if sum(found.values()) >= at_least:
            return found
        assert monotonic() < deadline


def test_a_core_that_is_not_there_tells_nothing() -> None:
    assert ConnectionLog(Controller(f"127.0.0.1:{free_port()}"), address).taken() == {}


def test_a_pipe_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ConnectionLog(Controller("pipe:\\\\.\\pipe\\mihomo"), address).taken() == {}
