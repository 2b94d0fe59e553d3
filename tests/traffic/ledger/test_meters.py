"""Totals into growth: exact under any order, any repetition, and any number of writers at once."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from operations.api.authentication import create_api_key
from tests.traffic.examples import HOUR, NOW, assert_sums_agree, balance
from tests.traffic.ledger.test_recording_concurrently import at_once
from traffic.ledger import group_commit, verification
from traffic.ledger.meters import Answer, Readings
from traffic.ledger.owners import Sending
from traffic.ledger.recording import write
from traffic.models import Balance, Meter, Subscriber, Usage
from traffic.readings import Message, Reading

RUN = int((NOW - HOUR).timestamp())
MOMENT = int(NOW.timestamp())


class Told(NamedTuple):
    """What one row of a meter tells."""

    token: str
    server: int
    up: int
    down: int


def message(
    rows: Sequence[Told], *, meter: str = "m", run: int = RUN, baseline: bool = False
) -> Message:
    readings = {
        place: Reading(told.token, "", (f"s{told.server}.example", 443, "vless"), told.up, told.down, MOMENT)
        for place, told in enumerate(rows)
    }  # fmt: skip
    return Message(meter, run, baseline, readings, {}, None)


def a_key() -> int:
    return create_api_key("k", "report")[0].pk


def people(*tokens: str) -> None:
    Subscriber.objects.bulk_create([Subscriber(token=token) for token in tokens])


def used() -> tuple[int, int]:
    found = Usage.objects.aggregate(up=Sum("upload"), down=Sum("download"))
    return found["up"] or 0, found["down"] or 0


@pytest.mark.django_db
def test_messages_of_one_group_build_on_each_other() -> None:
    people("ann")
    works = [
        Readings(message([Told("ann", 1, up, up)]), Sending(key))
        for key in (a_key(),)
        for up in (5, 9, 9, 7)
    ]
    answers = write(works, NOW).results
    assert [(found.recorded, found.unchanged, len(found.stale)) for found in answers] == [
        (1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1),
    ]  # fmt: skip
    assert used() == (9, 9)
    assert balance("ann").metered_upload == 9
    assert_sums_agree()


@pytest.mark.django_db
def test_a_message_that_has_to_be_written_again_counts_once() -> None:
    """The first attempt finds that a counter would pass its bound; the second one sets the growth aside."""
    people("ann", "bob")
    key = a_key()
    write([Readings(message([Told("ann", 1, 2**60, 0)]), Sending(key))], NOW)
    rows = [Told("ann", 2, 5, 0), Told("bob", 1, 7, 0)]
    (answer,) = write([Readings(message(rows), Sending(key))], NOW).results
    assert (answer.recorded, list(answer.rejected)) == (1, [0])
    assert balance("bob").life_upload == 7
    assert_sums_agree()


@pytest.mark.django_db
def test_a_wrong_sum_of_a_meter_is_found() -> None:
    people("ann")
    write([Readings(message([Told("ann", 1, 5, 6)]), Sending(a_key()))], NOW)
    assert list(verification.differences()) == []
    Meter.objects.update(counted_upload=4)
    (difference,) = verification.differences()
    assert "metered_upload is 5, the records say 4" in str(difference)
    Meter.objects.update(counted_upload=500)
    Balance.objects.update(metered_upload=500)
    (difference,) = verification.differences()
    assert str(difference).startswith("Meters of subscriber")
    assert "metered_upload is 500, the records say 5" in str(difference)


class Model:
    """What a meter is meant to do, in a few lines."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, int, int]] = {}
        self.counted = [0, 0]

    def tell(self, server: int, run: int, up: int, down: int, *, baseline: bool) -> str:
        stored = self.rows.get(server)
        if stored and (
            run < stored[0] or (run == stored[0] and (up < stored[1] or down < stored[2]))
        ):
            return "stale"
        before = stored[1:] if stored and run == stored[0] else (0, 0)
        growth = up - before[0], down - before[1]
        self.rows[server] = run, up, down
        if baseline or growth == (0, 0):
            return "unchanged"
        self.counted[0] += growth[0]
        self.counted[1] += growth[1]
        return "recorded"


ROWS = st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 6))
MESSAGES = st.tuples(st.integers(0, 2), st.booleans(), st.lists(ROWS, min_size=1, max_size=5))


class AnyHistory(TestCase):
    @given(st.lists(st.lists(MESSAGES, min_size=1, max_size=3), max_size=6))
    def test_every_history_counts_what_the_model_counts(
        self, groups: list[list[tuple[int, bool, list[tuple[int, int, int]]]]]
    ) -> None:
        """Groups of messages are committed together."""
        people("ann")
        key, model = a_key(), Model()
        for group in groups:
            works, expected = [], []
            for run, baseline, rows in group:
                told = [Told("ann", *row) for row in rows]
                works.append(
                    Readings(message(told, run=RUN + run, baseline=baseline), Sending(key))
                )
                expected.append(
                    [model.tell(server, RUN + run, up, down, baseline=baseline) for server, up, down in rows]
                )  # fmt: skip
            for answer, outcomes in zip(write(works, NOW).results, expected, strict=True):
                assert (answer.recorded, answer.unchanged, len(answer.stale)) == tuple(
                    outcomes.count(kind) for kind in ("recorded", "unchanged", "stale")
                )
            assert list(used()) == model.counted
        assert_sums_agree()


# --- many at once --------------------------------------------------------------------


def histories(
    draw: random.Random, meters: int, tokens: Sequence[str], servers: int, readings: int
) -> tuple[list[tuple[str, Told]], int, int]:
    """Readings of all meters, each a history of growing totals; and what they come to, up and down."""
    found, upload, download = [], 0, 0
    for meter in range(meters):
        for token in tokens:
            for server in range(servers):
                up = down = 0
                for _ in range(readings):
                    up += draw.randrange(1000) * draw.randrange(2)
                    down += draw.randrange(10**6)
                    found.append((f"m{meter}", Told(token, server, up, down)))
                upload += up
                download += down
    return found, upload, download


def batches(told: Sequence[tuple[str, Told]], size: int) -> list[Message]:
    by_meter: dict[str, list[Told]] = {}
    for meter, row in told:
        by_meter.setdefault(meter, []).append(row)
    return [
        message(rows[start : start + size], meter=meter)
        for meter, rows in by_meter.items()
        for start in range(0, len(rows), size)
    ]


def send_all(messages: Sequence[Message], key: int, *, threads: int) -> None:
    def sender(mine: Sequence[Message]) -> list[Answer]:
        return [group_commit.submit(Readings(found, Sending(key)), NOW) for found in mine]

    at_once([lambda mine=messages[n::threads]: sender(mine) for n in range(threads)])  # type: ignore[misc]


@pytest.mark.django_db(transaction=True)
def test_many_writers_at_once_count_each_byte_once() -> None:
    """First readings too: the rows are not there yet when all begin."""
    draw = random.Random(1)
    tokens = [f"user{n}" for n in range(5)]
    people(*tokens)
    told, upload, download = histories(draw, 2, tokens, 3, 10)
    told = told * 2 + draw.sample(told, 100)
    draw.shuffle(told)
    messages = batches(told, 10)
    draw.shuffle(messages)
    send_all(messages, a_key(), threads=8)
    assert used() == (upload, download)
    assert_sums_agree()


@pytest.mark.django_db(transaction=True)
def test_one_first_reading_from_many_writers_at_once_counts_once() -> None:
    people("ann")
    send_all([message([Told("ann", 1, 5, 6)])] * 16, a_key(), threads=16)
    assert used() == (5, 6)
    assert_sums_agree()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_hundred_thousand_readings_in_random_order_with_repeats_are_exact() -> None:
    draw = random.Random(2)
    tokens = [f"user{n}" for n in range(20)]
    people(*tokens)
    told, upload, download = histories(draw, 5, tokens, 10, 100)
    assert len(told) == 100_000
    told += draw.sample(told, 20_000)
    draw.shuffle(told)
    messages = batches(told, 500)
    draw.shuffle(messages)
    send_all(messages, a_key(), threads=4)
    assert used() == (upload, download)
    assert_sums_agree()
