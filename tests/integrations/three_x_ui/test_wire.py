"""The body that 3x-ui sends: what counts of it, and what one bad client costs."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.three_x_ui import wire
from traffic.reports import MAX_BATCH, MAX_BYTES, InvalidReport

# As Go writes the structs of both versions: most fields are the zero values of the struct.
OLD = {
    "id": 0, "inboundId": 0, "enable": False, "email": "alice", "up": 1048576, "down": 2097152,
    "allTime": 0, "expiryTime": 0, "total": 0, "reset": 0, "lastOnline": 0,
}  # fmt: skip
NEW = {
    "id": 0, "inboundId": 0, "enable": False, "email": "bob", "uuid": "", "subId": "", "up": 1, "down": 0,
    "expiryTime": 0, "total": 0, "reset": 0, "resetDay": 0, "resetMax": 0, "resetCount": 0, "lastOnline": 0,
    "lastSubFetch": 0,
}  # fmt: skip
INBOUNDS = [
    {"IsInbound": True, "IsOutbound": False, "Tag": "inbound-443", "Up": 1048600, "Down": 2097300},
    {"IsInbound": False, "IsOutbound": True, "Tag": "direct", "Up": 0, "Down": 0},
]


def body(clients: Any, **rest: Any) -> bytes:
    return json.dumps({"clientTraffics": clients} | rest).encode()


def traffic(clients: Any) -> dict[str, tuple[int, int]]:
    return wire.decode(body(clients)).traffic


def test_a_body_of_2_8_counts_its_clients_alone() -> None:
    found = wire.decode(body([OLD], inboundTraffics=INBOUNDS))
    assert found == wire.Inform({"alice": (1048576, 2097152)}, {})


def test_a_body_of_3_6_counts_its_clients_alone() -> None:
    found = wire.decode(body([NEW, OLD], inboundTraffics=INBOUNDS))
    assert found.traffic == {"bob": (1, 0), "alice": (1048576, 2097152)}


@pytest.mark.parametrize("text", [
    b'{"clientTraffics": null, "inboundTraffics": null}',
    b'{"clientTraffics": [], "inboundTraffics": null}',
    b'{"inboundTraffics": []}',
    b"{}",
])  # fmt: skip
def test_a_list_may_be_null_or_missing(text: bytes) -> None:
    assert wire.decode(text) == wire.Inform({}, {})


def test_whatever_the_inbounds_are_they_are_not_read() -> None:
    assert wire.decode(body([OLD], inboundTraffics="none")).traffic == traffic([OLD])


def test_missing_and_null_figures_are_zero() -> None:
    assert traffic([{"email": "a", "up": 1}, {"email": "b", "down": 2, "up": None}]) == {
        "a": (1, 0),
        "b": (0, 2),
    }


def test_zeros_are_skipped_even_without_a_name() -> None:
    found = wire.decode(body([{"email": "a", "up": 0, "down": 0}, {}, {"email": ""}]))
    assert found == wire.Inform({}, {})


def test_an_email_that_comes_twice_is_added_up() -> None:
    assert traffic([{"email": "a", "up": 1, "down": 2}, {"email": "a", "up": 3}]) == {"a": (4, 2)}


def test_emails_are_of_any_script() -> None:
    clients = [
        {"email": name, "up": 1} for name in ("Аня", "علی", "爱丽丝@東京", "a b+c@d.example", "😀")
    ]
    assert list(traffic(clients)) == [client["email"] for client in clients]


@pytest.mark.parametrize(("client", "field"), [
    ({"email": "a", "up": -1}, "up"),
    ({"email": "a", "up": 1, "down": MAX_BYTES + 1}, "down"),
    ({"email": "a", "up": 10**40}, "up"),
    ({"email": "a", "up": "1"}, "up"),
    ({"email": "a", "up": 1.5}, "up"),
    ({"email": "a", "up": True}, "up"),
    ({"email": "a", "down": [1]}, "down"),
    ({"email": 7, "up": 1}, "email"),
    ({"email": None, "up": 1}, "email"),
    ({"email": "", "up": 1}, "email"),
    ({"up": 1}, "email"),
    ({"email": "a" * 256, "up": 1}, "email"),
    ({"email": "a\n", "up": 1}, "email"),
    ("alice", "detail"),
    (None, "detail"),
])  # fmt: skip
def test_one_bad_client_is_named_and_the_others_count(client: Any, field: str) -> None:
    found = wire.decode(body([OLD, client, NEW]))
    assert list(found.traffic) == ["alice", "bob"]
    assert [list(errors) for errors in found.rejected.values()] == [[field]]
    assert list(found.rejected) == [1]


def test_the_largest_figure_counts_and_its_repetition_does_not() -> None:
    found = wire.decode(body([{"email": "a", "down": MAX_BYTES}, {"email": "a", "down": 1}]))
    assert found.traffic == {"a": (0, MAX_BYTES)}
    assert list(found.rejected) == [1]


def test_half_an_emoji_costs_nobody_anything() -> None:
    found = wire.decode(
        b'{"clientTraffics": [{"email": "a\\ud83d", "up": 1}, {"email": "b", "up": 2}]}'
    )
    assert found.traffic == {"a\ufffd": (1, 0), "b": (2, 0)}


@pytest.mark.parametrize("clients", ["all", 7, {}, {"email": "a"}, True])
def test_clients_that_are_no_list_are_refused(clients: Any) -> None:
    with pytest.raises(InvalidReport) as refused:
        wire.decode(body(clients))
    assert list(refused.value.errors) == ["clientTraffics"]


@pytest.mark.parametrize("text", [b"[]", b"null", b"7", b'"x"'])
def test_anything_but_an_object_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidReport):
        wire.decode(text)


@pytest.mark.parametrize("text", [
    b"", b"{", b'{"clientTraffics": [{"email": "a", "up": NaN}]}', b'{"clientTraffics": [{"up": Infinity}]}',
])  # fmt: skip
def test_what_is_not_json_is_not_read(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        wire.decode(text)


@pytest.mark.parametrize("number", [MAX_BATCH, MAX_BATCH + 1])
def test_so_many_people_have_traffic_at_once_at_most(number: int) -> None:
    text = body([{"email": str(place), "up": 1} for place in range(number)])
    if number > MAX_BATCH:
        with pytest.raises(InvalidReport):
            wire.decode(text)
    else:
        assert len(wire.decode(text).traffic) == number


_clients = st.lists(
    st.fixed_dictionaries(
        {"email": st.sampled_from(["alice", "Bob", "c@d", "Аня"])},
        optional={
            "up": st.integers(0, 2**40),
            "down": st.integers(0, 2**40) | st.none(),
            "total": st.integers(),
            "uuid": st.text(),
        },
    )
)


@given(_clients)
def test_what_is_counted_is_the_sum_of_what_was_sent(clients: list[dict[str, Any]]) -> None:
    sums: dict[str, tuple[int, int]] = {}
    for client in clients:
        up, down = sums.get(client["email"], (0, 0))
        sums[client["email"]] = up + client.get("up", 0), down + (client.get("down") or 0)
    found = wire.decode(body(clients))
    assert found.rejected == {}
    assert found.traffic == {email: total for email, total in sums.items() if any(total)}


_json: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_json, st.lists(_json | st.dictionaries(st.sampled_from(["email", "up", "down"]), _json)))
def test_no_json_breaks_it(anything: Any, clients: list[Any]) -> None:
    for value in (anything, {"clientTraffics": anything}, {"clientTraffics": clients}):
        try:
            found = wire.decode(json.dumps(value).encode())
        except (InvalidReport, UnicodeError):
            continue
        assert all(0 <= figure <= MAX_BYTES for total in found.traffic.values() for figure in total)


@given(st.binary())
def test_no_bytes_break_it(text: bytes) -> None:
    try:
        wire.decode(text)
    except (InvalidReport, msgspec.DecodeError, UnicodeError, RecursionError):
        pass
