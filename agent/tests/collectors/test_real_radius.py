"""The RADIUS listener against FreeRADIUS' radclient, over loopback."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from xpert_agent.sources import complete_options
from xpert_agent.sources.datagrams import Datagram
from xpert_agent.sources.radius import Radius

from .fakes import MemoryStore, booked
from .labs import needs

pytestmark = needs("radclient")

SECRET = "S3cret"
START = """
Acct-Status-Type = Start
Acct-Session-Id = "5f2a"
User-Name = "alice"
NAS-IP-Address = 192.0.2.1
NAS-Identifier = "home"
"""
INTERIM = """
Acct-Status-Type = Interim-Update
Acct-Session-Id = "5f2a"
User-Name = "alice"
NAS-IP-Address = 192.0.2.1
NAS-Identifier = "home"
Acct-Session-Time = 0
Acct-Input-Octets = 1000
Acct-Input-Gigawords = 1
Acct-Output-Octets = 5000
Acct-Output-Gigawords = 0
"""
ALICE = ("alice", "home")


class Listening:
    """A listener on a port of its own that drops the first packets if a test says so."""

    def __init__(self, store: MemoryStore) -> None:
        options = complete_options("radius", {"secret": SECRET, "listen": "127.0.0.1:0"})
        self.source = Radius(options, store)
        self.drop = 0
        self.source._listening._handle = self._handle
        self.source.read()
        self.where = f"127.0.0.1:{self.source._listening.port}"

    def _handle(self, batch: list[Datagram]) -> list[Datagram]:
        if self.drop:
            self.drop -= 1
            return []
        return self.source.handle(batch)

    def send(self, packet: str, secret: str = SECRET, retries: int = 1) -> str:
        """What radclient prints; it checks the answer's authenticator."""
        done = subprocess.run(
            ["radclient", "-x", "-r", str(retries), "-t", "1", self.where, "acct", secret],
            input=packet.strip() + "\n",
            capture_output=True,
            check=False,
            text=True,
            timeout=30,
        )
        return done.stdout + done.stderr


@pytest.fixture
def listening(store: MemoryStore) -> Iterator[Listening]:
    running = Listening(store)
    yield running
    running.source.close()


def test_radclient_accepts_the_answer_and_gigawords_are_booked(listening: Listening) -> None:
    for packet in (START, INTERIM, INTERIM):
        assert "Received Accounting-Response" in listening.send(packet)
    assert booked(listening.source.read()) == {ALICE: (2**32 + 1000, 5000)}


def test_a_packet_that_was_lost_comes_again_and_is_booked_once(listening: Listening) -> None:
    listening.send(START)
    listening.drop = 2
    answer = listening.send(INTERIM, retries=5)
    assert answer.count("Sent Accounting-Request") == 3
    assert "Received Accounting-Response" in answer
    assert booked(listening.source.read()) == {ALICE: (2**32 + 1000, 5000)}


def test_an_answer_that_was_lost_does_not_count_twice(listening: Listening) -> None:
    listening.send(START)
    handle = listening.source.handle

    def mute(batch: list[Datagram]) -> list[Datagram]:
        handle(batch)
        listening.source._listening._handle = listening._handle
        return []

    listening.source._listening._handle = mute
    assert "Received Accounting-Response" in listening.send(INTERIM, retries=5)
    assert booked(listening.source.read()) == {ALICE: (2**32 + 1000, 5000)}


def test_with_another_secret_there_is_silence(listening: Listening) -> None:
    answer = listening.send(INTERIM, secret="other")
    assert "No reply from server" in answer
    reading = listening.source.read()
    assert booked(reading) == {}
    assert reading.problems == ("127.0.0.1 sends packets with another secret.",)


def test_accounting_on_is_answered(listening: Listening) -> None:
    packet = "Acct-Status-Type = Accounting-On\nNAS-IP-Address = 192.0.2.1\nAcct-Session-Id = '0'"
    assert "Received Accounting-Response" in listening.send(packet)


def test_a_disk_that_is_full_means_no_answer_and_is_told_until_it_is_not(
    listening: Listening, store: MemoryStore
) -> None:
    store.full = True
    assert "No reply from server" in listening.send(START)
    assert "cannot be kept" in listening.source._listening.failure
    store.full = False
    assert "Received Accounting-Response" in listening.send(START)
    assert listening.source.read().problems == ()
