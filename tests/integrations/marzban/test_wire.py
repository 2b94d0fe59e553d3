"""Messages of the node protocol, taken apart and put together."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.marzban import wire
from integrations.marzban.wire import Alteration, Pair, Person, Stat, StatsQuery, WireError
from tests.integrations.marzban.simulator import (
    ADD_BOB,
    OUTBOUNDS,
    REMOVE_BOB,
    TAG,
    USERS,
    alteration,
    config,
    stats,
)

BOB = Pair(TAG, Person(2, "bob.x"))


@pytest.mark.parametrize(
    ("email", "found"),
    [
        ("1.alice", Person(1, "alice")),
        ("12.bob.x", Person(12, "bob.x")),
        ("alice", None),
        ("1.", None),
        (".alice", None),
        ("x.alice", None),
        ("-1.alice", None),
        ("٣.alice", None),
        ("1.алиса", None),
        ("1.a\n", None),
        (f"1.{'a' * 64}", Person(1, "a" * 64)),
        (f"1.{'a' * 65}", None),
        ("9" * 18 + ".a", Person(10**18 - 1, "a")),
        ("9" * 19 + ".a", None),
        ("", None),
    ],
)
def test_an_address_is_an_id_and_a_name(email: str, found: Person | None) -> None:
    assert wire.person(email) == found


def test_a_configuration_says_who_may_use_which_inbound() -> None:
    text = config(["1.alice", "2.bob.x", "nobody"], ["A", "B"])
    alice, bob = Person(1, "alice"), Person(2, "bob.x")
    assert wire.pairs(text) == {Pair(tag, person) for tag in "AB" for person in (alice, bob)}


@pytest.mark.parametrize(
    "text", ["{}", '{"inbounds": []}', '{"inbounds": [{"settings": {"clients": null}}, {}]}']
)
def test_a_configuration_without_people_is_understood(text: str) -> None:
    assert wire.pairs(text) == set()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"inbounds": 3}', "\ud800"])
def test_what_is_not_a_configuration_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(WireError, match="The configuration is not one of Xray"):
        wire.pairs(text)


def test_recorded_questions_are_understood() -> None:
    assert wire.stats_query(USERS) == StatsQuery("user>>>", reset=True)
    assert wire.stats_query(OUTBOUNDS) == StatsQuery("outbound>>>", reset=True)
    assert wire.stats_query(b"") == StatsQuery("", reset=False)


def test_recorded_changes_are_understood() -> None:
    assert wire.alteration(ADD_BOB) == Alteration(BOB, is_added=True)
    assert wire.alteration(REMOVE_BOB) == Alteration(BOB, is_added=False)
    assert wire.alteration(alteration("nobody", added=True)) is None


@pytest.mark.parametrize(
    "message", [b"", b"\x0a", b"\x0a\x05ab", b"\x09" * 9, b"\xff" * 20, b"\x08\x01"]
)
def test_what_is_not_a_change_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        wire.alteration(message)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_refused_or_understood(message: bytes) -> None:
    for read in (wire.alteration, wire.stats_query, wire.call):
        try:
            read(message)
        except WireError:
            pass


def test_an_answer_is_as_xray_writes_it() -> None:
    recorded = (
        "0a260a21757365723e3e3e312e616c6963653e3e3e747261666669633e3e3e75706c696e6b10e807"
        "0a290a23757365723e3e3e312e616c6963653e3e3e747261666669633e3e3e646f776e6c696e6b10c7a80e"
    )
    up = wire.encoded(Stat("user>>>1.alice>>>traffic>>>uplink", 1000))
    assert (up + wire.user_stat(1, "alice", 234_567)).hex() == recorded
    assert wire.sys_stats(60).hex() == "0801503c"


@given(st.integers(1, 2**60))
def test_every_size_arrives_as_it_is(size: int) -> None:
    assert stats(wire.user_stat(1, "a", size)) == [("user>>>1.a>>>traffic>>>downlink", size)]


def test_a_direction_without_bytes_is_left_out() -> None:
    answer = wire.outbound_stats("a>>>b", 0, 7)
    assert stats(answer) == [("outbound>>>a___b>>>traffic>>>downlink", 7)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user>>>x", 1),
        ("user>>>1.a>>>traffic>>>downlink>>>more", 1),
        ("user>>>1.a>>>>traffic>>>downlink", 1),
        ("user>>>1.a>>>traffic>>>downlink", 0),
        ("user>>>1.a>>>traffic>>>downlink", -1),
    ],
)
def test_what_would_end_marzbans_accounting_is_never_sent(name: str, value: int) -> None:
    with pytest.raises(WireError):
        wire.encoded(Stat(name, value))


def test_a_full_answer_stays_below_a_mebibyte() -> None:
    longest = wire.user_stat(10**6, "a" * 32, 2**40)
    assert wire.MAX_STATS * len(longest) < 2**20


def test_a_call_may_be_empty() -> None:
    assert wire.call(b"") == wire.call(json.dumps({"session_id": None, "x": 1}).encode())
