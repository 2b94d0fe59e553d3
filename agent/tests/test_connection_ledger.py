"""Adding up connections that a core forgets: totals exact, the unseen rest shared out."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest

from xpert_agent.sources.base import Counter, Key
from xpert_agent.sources.connection_ledger import Connection, Ledger

NOON = datetime(2026, 11, 28, 12, tzinfo=timezone.utc).timestamp()
ALICE, BOB = Key("alice", "srv-a"), Key("bob", "srv-b")


def _open(id_: str, key: Key, up: int, down: int) -> Connection:
    return Connection(id_, key, Counter(up, down))


class Looks:
    """A ledger that looks five times a second."""

    def __init__(self, state: Any = None) -> None:
        self.ledger = Ledger(state or {})
        self.now = NOON

    def look(
        self,
        totals: Counter,
        connections: Iterable[Connection],
        opened: Mapping[Key, int] = MappingProxyType({}),
    ) -> None:
        self.now += 0.2
        self.ledger.look(totals, connections, self.now, opened)

    def counters(self) -> dict[Key, Counter]:
        return self.ledger.counters()

    def restarted(self) -> Looks:
        return Looks(json.loads(json.dumps(self.ledger.state())))


def _ledger(*connections: Connection, totals: tuple[int, int] = (0, 0)) -> Looks:
    ledger = Looks()
    ledger.look(Counter(*totals), connections)
    return ledger


def _idle_look(ledger: Looks, totals: tuple[int, int]) -> None:
    ledger.look(Counter(*totals), [])


def test_what_flowed_before_the_first_look_is_history() -> None:
    ledger = _ledger(_open("1", ALICE, 500, 600), totals=(1000, 2000))
    ledger.look(Counter(1001, 2003), [_open("1", ALICE, 501, 603)])
    assert ledger.counters() == {ALICE: Counter(1, 3)}


def test_a_connection_that_is_new_counts_from_its_beginning() -> None:
    ledger = _ledger()
    ledger.look(Counter(10, 70), [_open("1", ALICE, 10, 20), _open("2", BOB, 0, 50)])
    assert ledger.counters() == {ALICE: Counter(10, 20), BOB: Counter(0, 50)}


def test_the_last_bytes_of_a_closed_connection_go_to_its_person() -> None:
    ledger = _ledger()
    ledger.look(Counter(0, 150), [_open("1", ALICE, 0, 100), _open("2", BOB, 0, 50)])
    ledger.look(Counter(0, 190), [_open("2", BOB, 0, 60)])  # 30 of them by no open connection
    ledger.look(Counter(0, 190), [_open("2", BOB, 0, 60)])
    assert ledger.counters() == {ALICE: Counter(0, 130), BOB: Counter(0, 60)}


def test_an_open_connection_gets_nothing_of_the_rest_however_much_it_carries() -> None:
    ledger = _ledger()
    ledger.look(Counter(0, 1_000_100), [_open("1", ALICE, 0, 100), _open("2", BOB, 0, 1_000_000)])
    for look in range(1, 20):
        carried = 1_000_000 * (look + 1)
        ledger.look(Counter(0, carried + 100 + 10 * look), [_open("2", BOB, 0, carried)])
    assert ledger.counters()[BOB] == Counter(0, 20_000_000)


def test_a_rest_is_shared_by_what_the_closed_connections_carried_last() -> None:
    ledger = _ledger()
    ledger.look(Counter(0, 400), [_open("1", ALICE, 0, 299), _open("2", BOB, 0, 99)])
    _idle_look(ledger, (0, 798))
    _idle_look(ledger, (0, 798))
    alice, bob = ledger.counters()[ALICE].down, ledger.counters()[BOB].down
    assert alice + bob == 798
    assert alice == pytest.approx(bob * 3, abs=2)


def _begun(seconds_ago: float, looks: Looks, key: Key, core_is_ahead: float = 0.0) -> Connection:
    """A connection that the next look will see `seconds_ago` after it began, with 1000 bytes."""
    moment = looks.now + 0.2 - seconds_ago + core_is_ahead
    text = datetime.fromtimestamp(moment, timezone(timedelta(hours=8))).isoformat()
    return Connection(f"{key.person} {moment}", key, Counter(0, 1000), text)


@pytest.mark.parametrize("core_is_ahead", [0.0, 3600.0, -3600.0])
def test_a_connection_that_was_seen_young_stands_for_others_that_were_not(
    core_is_ahead: float,
) -> None:
    looks = _ledger()
    # Nobody knows the core's clock, but the youngest connection shows it.
    looks.look(Counter(0, 1000), [_begun(0.0, looks, ALICE, core_is_ahead)])
    for _ in range(60):
        _idle_look(looks, (0, 1000))
    young = _begun(0.01, looks, ALICE, core_is_ahead)  # is seen once in ten times
    old = _begun(0.1, looks, BOB, core_is_ahead)  # is always seen
    looks.look(Counter(0, 3000), [young, old])
    _idle_look(looks, (0, 13_000))
    _idle_look(looks, (0, 13_000))
    of_rest = {key: counter.down for key, counter in looks.counters().items()}
    assert of_rest[ALICE] - 2000 == pytest.approx(9500, abs=100)
    assert sum(of_rest.values()) == 13_000


def test_a_connection_that_was_seen_twice_stands_for_itself_alone() -> None:
    looks = _ledger()
    twice = _begun(0.001, looks, ALICE)
    looks.look(Counter(0, 1000), [twice])
    looks.look(Counter(0, 1000), [twice])
    once = _begun(0.01, looks, BOB)
    looks.look(Counter(0, 2000), [once])
    _idle_look(looks, (0, 12_000))
    _idle_look(looks, (0, 12_000))
    assert looks.counters()[ALICE].down < 1100


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-28T17:18:44", "2026-13-28T17:18:44Z"])
def test_a_start_of_another_form_is_unknown(text: str) -> None:
    looks = _ledger()
    looks.look(Counter(0, 100), [Connection("1", ALICE, Counter(0, 100), text)])
    for _ in range(2):
        _idle_look(looks, (0, 200))
    assert looks.counters() == {ALICE: Counter(0, 200)}


def test_directions_are_shared_out_each_by_itself() -> None:
    ledger = _ledger()
    ledger.look(Counter(9_999, 9_999), [_open("1", ALICE, 9_999, 0), _open("2", BOB, 0, 9_999)])
    for _ in range(2):
        _idle_look(ledger, (19_999, 19_999))
    counters = ledger.counters()
    assert counters[ALICE].up > 19_990
    assert counters[BOB].down > 19_990
    assert sum(one.up for one in counters.values()) == 19_999


def test_a_connection_that_is_missing_for_one_look_is_nobody_elses_rest() -> None:
    # The core writes its list before its totals.
    ledger = _ledger()
    ledger.look(Counter(0, 100), [_open("1", ALICE, 0, 100)])
    ledger.look(Counter(0, 150), [])
    ledger.look(Counter(0, 170), [_open("2", BOB, 0, 70)])
    _idle_look(ledger, (0, 170))
    assert ledger.counters() == {ALICE: Counter(0, 100), BOB: Counter(0, 70)}


def test_bytes_that_connections_tell_before_the_totals_do_are_counted_once() -> None:
    ledger = _ledger()
    ledger.look(Counter(0, 100), [_open("1", ALICE, 0, 130)])
    ledger.look(Counter(0, 150), [_open("1", ALICE, 0, 150)])
    _idle_look(ledger, (0, 150))
    _idle_look(ledger, (0, 150))
    assert ledger.counters() == {ALICE: Counter(0, 150)}


def test_a_rest_waits_until_somebody_was_seen() -> None:
    ledger = _ledger()
    for _ in range(3):
        _idle_look(ledger, (0, 500))
    assert ledger.counters() == {}
    ledger.look(Counter(0, 501), [_open("1", ALICE, 0, 1)])
    ledger.look(Counter(0, 501), [_open("1", ALICE, 0, 1)])
    assert ledger.counters() == {ALICE: Counter(0, 501)}


def test_totals_that_fall_are_a_restart_and_count_from_0() -> None:
    ledger = _ledger()
    ledger.look(Counter(50, 1000), [_open("1", ALICE, 50, 1000)])
    ledger.look(Counter(60, 10), [_open("2", BOB, 60, 10)])
    assert ledger.counters() == {ALICE: Counter(50, 1000), BOB: Counter(60, 10)}


def test_totals_that_an_app_sets_back_count_no_open_connection_again() -> None:
    ledger = _ledger()
    ledger.look(Counter(0, 1000), [_open("1", ALICE, 0, 1000)])
    ledger.look(Counter(0, 7), [_open("1", ALICE, 0, 1007)])
    assert ledger.counters() == {ALICE: Counter(0, 1007)}


def test_the_rest_of_the_old_run_is_given_out_at_a_restart() -> None:
    ledger = _ledger()
    ledger.look(Counter(0, 1000), [_open("1", ALICE, 0, 1000)])
    _idle_look(ledger, (0, 1700))
    _idle_look(ledger, (0, 0))
    assert ledger.counters() == {ALICE: Counter(0, 1700)}


def test_a_later_ledger_goes_on_where_the_state_was_kept() -> None:
    ledger = _ledger(totals=(5, 5))
    ledger.look(Counter(5, 1005), [_open("1", ALICE, 0, 600), _open("2", BOB, 0, 400)])
    later = ledger.restarted()
    # While nobody looked, 1 went on, 2 ended, and 3 came and went.
    later.look(Counter(5, 2005), [_open("1", ALICE, 0, 1100)])
    later.look(Counter(5, 2005), [_open("1", ALICE, 0, 1100)])
    assert later.counters() == {ALICE: Counter(0, 1100), BOB: Counter(0, 900)}


def test_another_core_is_a_first_look_and_the_sums_stay() -> None:
    ledger = _ledger()
    ledger.look(Counter(0, 10), [_open("1", ALICE, 0, 10)])
    later = Looks({"sums": ledger.ledger.state()["sums"]})
    later.look(Counter(0, 5), [_open("9", BOB, 0, 5)])
    assert later.counters() == {ALICE: Counter(0, 10)}


@pytest.mark.parametrize("seed", range(20))
def test_sums_are_exact_in_total_and_never_fall_whatever_connections_do(seed: int) -> None:
    chance = random.Random(seed)
    ledger, totals = _ledger(), [0, 0]
    before: dict[Key, Counter] = {}
    connections: dict[str, Connection] = {}
    for look in range(300):
        for _ in range(chance.randrange(4)):
            key = Key(f"person{chance.randrange(4)}", f"srv{chance.randrange(3)}")
            connections[f"{look}.{chance.random()}"] = _open("", key, 0, 0)
        for id_, one in list(connections.items()):
            grown = Counter(chance.randrange(2**20), chance.randrange(2**24))
            totals = [totals[0] + grown.up, totals[1] + grown.down]
            total = Counter(one.total.up + grown.up, one.total.down + grown.down)
            connections[id_] = Connection(id_, one.key, total)
            if chance.random() < 0.4:
                del connections[id_]
        if chance.random() < 0.05:
            ledger = ledger.restarted()
        ledger.look(Counter(*totals), connections.values())
        sums = ledger.counters()
        assert all(
            sums[key].up >= old.up and sums[key].down >= old.down for key, old in before.items()
        )
        before = sums
    for _ in range(2):
        ledger.look(Counter(*totals), connections.values())
    assert sum(one.up for one in ledger.counters().values()) == totals[0]
    assert sum(one.down for one in ledger.counters().values()) == totals[1]


def test_what_nobody_was_seen_to_carry_is_of_those_who_were_heard_of() -> None:
    ledger = _ledger()
    ledger.look(Counter(300, 900), [], {ALICE: 1, BOB: 2})
    ledger.look(Counter(300, 900), [])
    assert ledger.counters() == {ALICE: Counter(100, 300), BOB: Counter(200, 600)}


def test_one_who_was_heard_of_comes_before_those_who_were_seen_long_ago() -> None:
    ledger = _ledger()
    ledger.look(Counter(10, 10), [_open("1", ALICE, 10, 10)])
    for _ in range(100):
        ledger.look(Counter(10, 10), [])
    ledger.look(Counter(15, 15), [], {BOB: 1})
    ledger.look(Counter(15, 15), [])
    assert ledger.counters() == {ALICE: Counter(10, 10), BOB: Counter(5, 5)}


def test_connections_that_were_seen_to_close_come_before_what_was_heard() -> None:
    ledger = _ledger()
    ledger.look(Counter(10, 10), [_open("1", ALICE, 10, 10)], {ALICE: 1})
    ledger.look(Counter(15, 15), [], {BOB: 1})
    ledger.look(Counter(15, 15), [])
    assert ledger.counters() == {ALICE: Counter(15, 15)}
