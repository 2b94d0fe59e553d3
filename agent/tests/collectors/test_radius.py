from __future__ import annotations

import hashlib
import socket
import struct
from typing import Any

import pytest

from xpert_agent.sources import complete_options
from xpert_agent.sources.base import SourceError
from xpert_agent.sources.datagrams import Datagram
from xpert_agent.sources.radius import Radius
from xpert_agent.sources.radius_packets import (
    INTERIM,
    OFF,
    ON,
    START,
    STOP,
    is_authentic,
    parse,
    response,
)

from .fakes import Clock, MemoryStore, booked

SECRET = "S3cret"
NAS = ("127.0.0.1", 50_000)
NUMBERS = {
    "status": 40,
    "delay": 41,
    "received": 42,
    "sent": 43,
    "time": 46,
    "received_high": 52,
    "sent_high": 53,
}
TEXTS = {"user": 1, "nas_name": 32, "proxy_state": 33, "session": 44}


def md5(signed: bytes) -> bytes:
    return hashlib.md5(signed, usedforsecurity=False).digest()


def attribute(number: int, value: bytes) -> bytes:
    return bytes((number, len(value) + 2)) + value


def request(
    status: int,
    received: int | None = None,
    sent: int | None = None,
    *,
    secret: str = SECRET,
    identifier: int = 1,
    nas: str = "192.0.2.1",
    **more: int | str | None,
) -> bytes:
    """An Accounting-Request as a NAS makes it."""
    given: dict[str, int | str | None] = {
        "user": "alice",
        "session": "5f2a",
        "received": received,
        "sent": sent,
        **more,
    }
    body = attribute(40, struct.pack("!I", status)) + attribute(4, socket.inet_aton(nas))
    for name, value in given.items():
        if value is None:
            continue
        if name in NUMBERS:
            body += attribute(NUMBERS[name], struct.pack("!I", int(value)))
        else:
            body += attribute(TEXTS[name], str(value).encode())
    head = struct.pack("!BBH", 4, identifier, 20 + len(body))
    authenticator = md5(head + bytes(16) + body + secret.encode())
    return head + authenticator + body


class Listener:
    """A `Radius` that is handed packets without a network, at a time that the test sets."""

    def __init__(self, store: MemoryStore, **options: str) -> None:
        given = {"secret": SECRET, "listen": "127.0.0.1:0", **options}
        self.source = Radius(complete_options("radius", given), store)
        self.clock = Clock()
        self.source._tally.clock = self.clock
        self.source._tally.began = self.clock.now

    def hear(self, *packets: bytes, sender: tuple[str, int] = NAS) -> int:
        """How many of them were answered."""
        return len(self.source.handle([Datagram(packet, sender) for packet in packets]))

    @property
    def sums(self) -> dict[tuple[str, str], tuple[int, int]]:
        return booked(self.source._tally.reading())

    @property
    def alice(self) -> tuple[int, int]:
        mine = [both for (person, _), both in self.sums.items() if person == "alice"]
        return sum(up for up, _ in mine), sum(down for _, down in mine)


@pytest.fixture
def nas(store: MemoryStore) -> Listener:
    return Listener(store)


def test_totals_of_a_session_are_booked_and_a_repeated_packet_adds_nothing(nas: Listener) -> None:
    nas.hear(request(START))
    nas.clock.now += 300
    interim = request(INTERIM, 1000, 5000, time=300)
    assert nas.hear(interim, interim) == 2
    assert nas.alice == (1000, 5000)
    nas.clock.now += 100
    nas.hear(request(STOP, 1500, 6000, time=400))
    assert nas.alice == (1500, 6000)


def test_a_retransmission_with_another_delay_and_identifier_adds_nothing(nas: Listener) -> None:
    nas.hear(request(START))
    nas.clock.now += 60
    nas.hear(request(STOP, 1000, 5000, time=60))
    nas.clock.now += 40
    nas.hear(request(STOP, 1000, 5000, time=60, delay=40, identifier=9))
    assert nas.alice == (1000, 5000)


def test_a_stop_that_never_had_a_start_counts_if_the_session_began_while_we_listened(
    nas: Listener,
) -> None:
    nas.clock.now += 1000
    nas.hear(request(STOP, 10, 20, time=700, delay=300))
    assert nas.alice == (10, 20)


def test_a_session_that_is_older_than_the_listener_is_a_baseline(nas: Listener) -> None:
    nas.clock.now += 1000
    nas.hear(request(INTERIM, 10_000, 20_000, time=701, delay=300))
    assert nas.alice == (0, 0)
    nas.clock.now += 300
    nas.hear(request(INTERIM, 10_005, 20_007, time=1301))
    assert nas.alice == (5, 7)


def test_without_a_session_time_an_unknown_session_is_a_baseline(nas: Listener) -> None:
    nas.hear(request(INTERIM, 10_000, 20_000))
    nas.hear(request(INTERIM, 10_001, 20_001))
    assert nas.alice == (1, 1)


def test_gigawords_are_the_high_32_bits(nas: Listener) -> None:
    nas.hear(request(START))
    nas.hear(request(INTERIM, 5, 7, received_high=1, sent_high=3, time=300))
    assert nas.alice == (2**32 + 5, 3 * 2**32 + 7)
    nas.hear(request(INTERIM, 6, 1, received_high=1, sent_high=4, time=600))
    assert nas.alice == (2**32 + 6, 4 * 2**32 + 1)


def test_gigawords_that_come_only_when_they_are_not_zero_are_no_wrap_of_their_own(
    nas: Listener,
) -> None:
    nas.hear(request(START))
    nas.hear(request(INTERIM, 0, 4_294_967_000, time=300))
    nas.hear(request(INTERIM, 0, 100, sent_high=1, time=301))
    assert nas.alice == (0, 2**32 + 100)


def test_a_nas_without_gigawords_wraps_at_4_gib(nas: Listener) -> None:
    nas.hear(request(START))
    for time, received, sent in ((300, 10, 2**32 - 1), (600, 20, 5), (900, 30, 3)):
        nas.clock.now += 300
        nas.hear(request(INTERIM, received, sent, time=time))
    assert nas.alice == (30, 2 * 2**32 + 3)


def test_an_older_packet_that_comes_late_is_no_wrap(nas: Listener) -> None:
    nas.hear(request(START))
    nas.clock.now += 600
    nas.hear(request(INTERIM, 2000, 9000, time=600))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 1000, 4000, time=300))
    assert nas.alice == (2000, 9000)


def test_an_older_packet_without_a_session_time_is_no_wrap_when_too_much_would_have_flowed(
    nas: Listener,
) -> None:
    nas.hear(request(START))
    nas.hear(request(INTERIM, 2000, 9000))
    nas.clock.now += 2
    nas.hear(request(INTERIM, 1000, 4000))
    assert nas.alice == (2000, 9000)


def test_a_start_with_a_known_id_and_smaller_totals_is_a_new_session(nas: Listener) -> None:
    nas.hear(request(START))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 1000, 5000, time=300))
    nas.clock.now += 100
    nas.hear(request(START))
    nas.clock.now += 60
    nas.hear(request(INTERIM, 10, 20, time=60))
    assert nas.alice == (1010, 5020)


def test_a_new_session_that_has_passed_the_old_totals_counts_whole(nas: Listener) -> None:
    nas.hear(request(START))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 1000, 5000, time=300))
    nas.clock.now += 100
    nas.hear(request(START))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 1500, 6000, time=300))
    assert nas.alice == (2500, 11_000)


def test_a_repeated_start_does_not_begin_the_session_again(nas: Listener) -> None:
    nas.hear(request(START))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 1000, 5000, time=300))
    nas.clock.now += 5
    nas.hear(request(START, delay=305))
    nas.clock.now += 5
    nas.hear(request(START))  # a NAS that forgets to tell the delay
    nas.clock.now += 290
    nas.hear(request(INTERIM, 1200, 5200, time=600))
    assert nas.alice == (1200, 5200)


def test_a_restart_without_session_times_is_seen_by_smaller_totals(nas: Listener) -> None:
    nas.hear(request(START))
    nas.hear(request(INTERIM, 1000, 5000))
    nas.hear(request(START))
    nas.hear(request(INTERIM, 10, 20))
    assert nas.alice == (1010, 5020)


@pytest.mark.parametrize("status", [ON, OFF])
def test_after_a_reboot_a_known_id_is_a_new_session(nas: Listener, status: int) -> None:
    nas.hear(request(START))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 1000, 5000, time=300))
    nas.clock.now += 60
    assert nas.hear(request(status, user=None, session=None)) == 1
    nas.clock.now += 400
    nas.hear(request(INTERIM, 1100, 5100, time=390))
    assert nas.alice == (2100, 10_100)


def test_a_reboot_closes_no_session_of_another_nas(nas: Listener) -> None:
    nas.hear(request(START, nas="192.0.2.2"))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 1000, 5000, nas="192.0.2.2"))
    nas.hear(request(ON, user=None, session=None, nas="192.0.2.1"))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 10, 20, nas="192.0.2.2"))
    assert nas.alice[0] >= 2**32  # a wrap inside the same session, not a new one


def test_a_late_stop_of_the_session_before_the_reboot_is_not_a_new_session(nas: Listener) -> None:
    nas.hear(request(START))
    nas.clock.now += 300
    nas.hear(request(INTERIM, 1000, 5000, time=300))
    nas.clock.now += 10
    nas.hear(request(OFF, user=None, session=None))
    nas.clock.now += 5
    nas.hear(request(STOP, 1010, 5010, time=310, delay=5))
    assert nas.alice == (1010, 5010)


def test_the_same_id_at_two_nas_is_two_sessions(nas: Listener) -> None:
    for address in ("192.0.2.1", "192.0.2.2"):
        nas.hear(request(START, nas=address))
        nas.hear(request(INTERIM, 100, 200, time=10, nas=address))
    assert nas.alice == (200, 400)


def test_what_is_older_than_a_day_is_answered_and_not_counted(nas: Listener) -> None:
    assert nas.hear(request(STOP, 10, 20, time=5, delay=86_401)) == 1
    assert nas.alice == (0, 0)
    assert "more than a day ago" in " ".join(nas.source._problems())


def test_a_closed_session_is_forgotten_after_a_day_and_an_open_one_is_not(nas: Listener) -> None:
    nas.hear(request(START, session="closed"), request(STOP, 1, 1, time=0, session="closed"))
    nas.hear(request(START, session="open"), request(INTERIM, 1, 1, time=0, session="open"))
    nas.clock.now += 86_401
    nas.hear(request(INTERIM, 2, 2, time=86_401, session="open"))
    assert len(nas.source._tally.notes) == 1
    assert nas.alice == (3, 3)


def test_swap_turns_the_directions_round(store: MemoryStore) -> None:
    nas = Listener(store, swap="yes")
    nas.hear(request(START), request(INTERIM, 1, 2, time=1))
    assert nas.alice == (2, 1)


def test_a_wrong_secret_is_silence_and_the_admin_is_told(nas: Listener) -> None:
    assert nas.hear(request(START, secret="other")) == 0
    assert nas.hear(request(INTERIM, 10, 20, time=5, secret="other")) == 0
    assert nas.sums == {}
    assert list(nas.source._problems()) == ["127.0.0.1 sends packets with another secret."]
    nas.clock.now += 601
    assert list(nas.source._problems()) == []


def test_an_address_that_is_not_allowed_is_silence(nas: Listener) -> None:
    assert nas.hear(request(START), sender=("192.0.2.9", 1)) == 0
    assert nas.hear(request(START), sender=("::1", 1)) == 1
    assert nas.hear(request(START), sender=("::ffff:127.0.0.1", 1)) == 1


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x04" * 19,
        request(START)[:-1],
        request(START)[:-3] + b"\x01\x00" + b"\x00",
        b"\x01" + request(START)[1:],
    ],
)
def test_a_packet_that_is_not_whole_or_no_accounting_request_is_silence(
    nas: Listener, packet: bytes
) -> None:
    assert nas.hear(packet) == 0


def test_a_malformed_attribute_is_silence_even_with_the_secret(nas: Listener) -> None:
    body = b"\x28\x06\x00\x00\x00\x01" + b"\x01\x01"
    head = struct.pack("!BBH", 4, 1, 20 + len(body))
    signed = md5(head + bytes(16) + body + SECRET.encode())
    assert nas.hear(head + signed + body) == 0


def test_padding_after_the_packet_does_not_matter(nas: Listener) -> None:
    assert nas.hear(request(START) + b"\0\0\0") == 1


def test_the_answer_is_signed_over_the_requests_authenticator_and_returns_the_proxys_state() -> (
    None
):
    asked = request(START, proxy_state="p1", identifier=77)
    answer = response(asked, SECRET.encode())
    assert answer[:4] == struct.pack("!BBH", 5, 77, 24)
    assert answer[20:] == attribute(33, b"p1")
    signed = answer[:4] + asked[4:20] + answer[20:] + SECRET.encode()
    assert answer[4:20] == md5(signed)


def test_it_answers_only_after_the_commit(store: MemoryStore) -> None:
    nas = Listener(store)
    saves = store.saves
    nas.hear(request(START), request(START, session="2"))
    assert store.saves == saves + 1

    store.full = True
    with pytest.raises(OSError, match="No space"):
        nas.hear(request(INTERIM, 10, 20, time=1))
    store.full = False
    assert nas.hear(request(INTERIM, 10, 20, time=1)) == 1
    assert Listener(store).source._tally.reading().counters  # on disk


def test_a_killed_listener_goes_on_and_a_repeat_adds_nothing(store: MemoryStore) -> None:
    nas = Listener(store)
    nas.hear(request(START), request(INTERIM, 10, 20, time=0))
    after = Listener(store)
    after.source._tally.began = nas.source._tally.began
    after.hear(request(INTERIM, 10, 20, time=0), request(STOP, 15, 25, time=1))
    assert after.alice == (15, 25)


def test_servers_are_named_by_nas_identifier_or_address(store: MemoryStore) -> None:
    nas = Listener(store)
    nas.hear(request(START, nas_name="home"), request(INTERIM, 1, 1, time=0, nas_name="home"))
    nas.hear(request(START, session="2"), request(INTERIM, 2, 2, time=0, session="2"))
    assert nas.sums == {("alice", "home"): (1, 1), ("alice", "192.0.2.1"): (2, 2)}


def test_a_session_without_a_user_is_answered_and_told(nas: Listener) -> None:
    assert nas.hear(request(START, user=None)) == 1
    assert list(nas.source._problems()) == ["192.0.2.1 tells of sessions without a User-Name."]


def test_other_statuses_are_answered_and_count_nothing(nas: Listener) -> None:
    assert nas.hear(request(15, 10, 10, time=1)) == 1
    assert nas.sums == {}


def test_parse_reads_what_is_told_and_leaves_the_rest_out() -> None:
    told = parse(request(INTERIM, 1, None, time=9, nas_name="n"))
    assert told is not None
    assert (told.received, told.sent, told.session_time, told.delay) == ((1, None), None, 9, 0)
    assert is_authentic(request(START), SECRET.encode())


def test_it_listens_on_a_real_socket(store: MemoryStore) -> None:
    source = Listener(store).source
    try:
        source.read()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            nas.settimeout(5)
            nas.connect(("127.0.0.1", source._listening.port))
            nas.send(request(START))
            assert nas.recv(4096)[0] == 5
    finally:
        source.close()


def test_a_port_that_is_taken_is_one_sentence(store: MemoryStore) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SourceError, match=f"Cannot listen on {where}: Address already in use"):
            Listener(store, listen=where).source.read()


@pytest.mark.parametrize("options", [{"swap": "maybe"}, {"allow": "here"}, {"listen": "1813"}])
def test_a_bad_option_is_refused(store: MemoryStore, options: dict[str, str]) -> None:
    with pytest.raises(SourceError):
        Listener(store, **options)


def test_a_check_answers_nothing_because_it_keeps_nothing() -> None:
    class Forgetful(MemoryStore):
        def load(self) -> dict[str, Any]:
            return {}

    assert Listener(Forgetful()).hear(request(START)) == 0
