from __future__ import annotations

import time

from xpert_agent.growth import COUNT_EVERYTHING, Growth, Known, growth
from xpert_agent.sources.base import Counter, Key, Reading

ALICE = Key("alice", "srv-a")
BOB = Key("bob", "srv-b")
NOW = time.time()


def reading(run: str, began: float | None, **counters: Counter) -> Reading:
    names = {"alice": ALICE, "bob": BOB}
    return Reading(run, began, {names[name]: counter for name, counter in counters.items()}, NOW)


def known(run: str, alice: Counter) -> Known:
    return Known(run, NOW - 60, {ALICE: alice})


def test_the_same_run_counts_the_difference() -> None:
    grown = growth(reading("r1", None, alice=Counter(15, 27)), known("r1", Counter(10, 20)), NOW)
    assert grown == Growth({ALICE: Counter(5, 7)}, baseline=False, fallen=())


def test_a_counter_that_did_not_move_is_not_mentioned() -> None:
    grown = growth(reading("r1", None, alice=Counter(10, 20)), known("r1", Counter(10, 20)), NOW)
    assert grown.amounts == {}


def test_a_new_counter_in_a_known_run_counts_from_0() -> None:
    grown = growth(reading("r1", None, bob=Counter(3, 4)), known("r1", Counter(10, 20)), NOW)
    assert grown.amounts == {BOB: Counter(3, 4)}


def test_a_new_run_counts_from_0_even_where_it_has_passed_the_old_value() -> None:
    grown = growth(reading("r2", None, alice=Counter(11, 21)), known("r1", Counter(10, 20)), NOW)
    assert grown == Growth({ALICE: Counter(11, 21)}, baseline=False, fallen=())


def test_a_counter_that_falls_within_a_run_counts_its_new_value_and_is_named() -> None:
    grown = growth(reading("r1", None, alice=Counter(4, 25)), known("r1", Counter(10, 20)), NOW)
    assert grown == Growth({ALICE: Counter(4, 5)}, baseline=False, fallen=(ALICE,))


def test_a_source_seen_for_the_first_time_is_a_baseline_if_it_cannot_tell_when_it_began() -> None:
    grown = growth(reading("r1", None, alice=Counter(10, 20)), None, NOW - 3600)
    assert grown == Growth({}, baseline=True, fallen=())


def test_a_source_seen_for_the_first_time_is_a_baseline_if_it_began_before_the_agent() -> None:
    grown = growth(reading("r1", NOW - 3601, alice=Counter(10, 20)), None, NOW - 3600)
    assert grown.baseline


def test_a_source_seen_for_the_first_time_counts_from_0_if_it_began_while_the_agent_watched() -> (
    None
):
    grown = growth(reading("r1", NOW - 3600, alice=Counter(10, 20)), None, NOW - 3600)
    assert grown == Growth({ALICE: Counter(10, 20)}, baseline=False, fallen=())


def test_everything_counts_if_the_operator_says_so() -> None:
    for began in (None, 0.0):
        grown = growth(reading("r1", began, alice=Counter(10, 20)), None, COUNT_EVERYTHING)
        assert grown.amounts == {ALICE: Counter(10, 20)}


def test_a_new_run_that_began_before_the_last_reading_is_another_core_and_a_baseline() -> None:
    grown = growth(
        reading("r2", NOW - 7200, alice=Counter(10, 20)), known("r1", Counter(1, 1)), NOW
    )
    assert grown.baseline


def test_a_core_that_restarts_after_the_clock_was_set_back_counts_from_0() -> None:
    ahead = Known("r1", NOW + 24 * 3600, {ALICE: Counter(10, 20)})
    grown = growth(reading("r2", NOW - 30, alice=Counter(3, 4)), ahead, NOW)
    assert grown.amounts == {ALICE: Counter(3, 4)}


def test_a_new_run_may_have_begun_a_few_seconds_before_the_last_reading_by_its_own_clock() -> None:
    grown = growth(reading("r2", NOW - 65, alice=Counter(10, 20)), known("r1", Counter(1, 1)), NOW)
    assert grown.amounts == {ALICE: Counter(10, 20)}
