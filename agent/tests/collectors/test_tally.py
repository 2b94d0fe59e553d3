from __future__ import annotations

from xpert_agent.sources.base import Counter, Key
from xpert_agent.sources.tally import Fall, Part, Tally

from .fakes import START, Clock, Journal, MemoryStore

ALICE, BOB = Key("alice", "srv"), Key("bob", "srv")


def parts(**values: tuple[int, int]) -> dict[str, Part]:
    return {name: Part(Key(name, "srv"), Counter(*value)) for name, value in values.items()}


class Booked:
    """A tally whose readings go into a journal."""

    def __init__(self, store: MemoryStore) -> None:
        self.tally = Tally(store)
        self.journal = Journal()

    def observe_all(self, parts: dict[str, Part], epoch: str = "", fall: Fall = Fall.ALONE) -> None:
        self.tally.observe_all(parts, epoch, fall)
        self.journal.take(self.tally.reading())


def counters(booked: Booked) -> dict[Key, Counter]:
    return {Key(*key): Counter(*both) for key, both in booked.journal.sums.items()}


def test_the_first_look_counts_nothing_because_nobody_knows_when_it_flowed(
    store: MemoryStore,
) -> None:
    tally = Booked(store)
    tally.observe_all(parts(alice=(1000, 2000)))
    assert counters(tally) == {}
    tally.observe_all(parts(alice=(1001, 2010)))
    assert counters(tally) == {ALICE: Counter(1, 10)}


def test_a_person_who_appears_later_counts_from_zero(store: MemoryStore) -> None:
    tally = Booked(store)
    tally.observe_all({})
    tally.observe_all(parts(bob=(5, 7)))
    assert counters(tally) == {BOB: Counter(5, 7)}


def test_a_fall_alone_restarts_both_directions_of_that_counter_and_no_other(
    store: MemoryStore,
) -> None:
    tally = Booked(store)
    tally.observe_all(parts(alice=(100, 100), bob=(100, 100)))
    tally.observe_all(parts(alice=(120, 30), bob=(110, 110)))
    assert counters(tally) == {ALICE: Counter(120, 30), BOB: Counter(10, 10)}


def test_a_fall_together_counts_whole_even_what_has_passed_its_old_value(
    store: MemoryStore,
) -> None:
    tally = Booked(store)
    tally.observe_all(parts(alice=(100, 100), bob=(100, 100)))
    tally.observe_all(parts(alice=(150, 150), bob=(1, 1)), fall=Fall.TOGETHER)
    assert counters(tally) == {ALICE: Counter(150, 150), BOB: Counter(1, 1)}


def test_a_person_who_vanished_shows_that_the_core_began_again(store: MemoryStore) -> None:
    tally = Booked(store)
    tally.observe_all(parts(alice=(100, 100), bob=(10, 10)))
    tally.observe_all(parts(alice=(150, 150)), fall=Fall.TOGETHER)
    assert counters(tally) == {ALICE: Counter(150, 150)}


def test_a_restored_older_value_is_not_counted_twice(store: MemoryStore) -> None:
    tally = Booked(store)
    tally.observe_all({})
    tally.observe_all(parts(alice=(100, 100)), fall=Fall.RESTORED)
    tally.observe_all(parts(alice=(70, 70)), fall=Fall.RESTORED)
    tally.observe_all(parts(alice=(75, 80)), fall=Fall.RESTORED)
    assert counters(tally) == {ALICE: Counter(105, 110)}


def test_a_user_who_was_away_and_is_restored_is_not_counted_twice(store: MemoryStore) -> None:
    tally = Booked(store)
    tally.observe_all({})
    tally.observe_all(parts(alice=(100, 100)), fall=Fall.RESTORED)
    tally.observe_all({}, fall=Fall.RESTORED)
    tally.observe_all(parts(alice=(100, 100)), fall=Fall.RESTORED)
    assert counters(tally) == {ALICE: Counter(100, 100)}


def test_a_counter_that_is_removed_and_added_again_counts_whole(store: MemoryStore) -> None:
    tally = Booked(store)
    tally.observe_all(parts(alice=(100, 100)))
    tally.observe_all({})
    tally.observe_all(parts(alice=(130, 130)))
    assert counters(tally) == {ALICE: Counter(130, 130)}


def test_a_new_epoch_counts_whole(store: MemoryStore) -> None:
    tally = Booked(store)
    tally.observe_all(parts(alice=(100, 100)), epoch="1")
    tally.observe_all(parts(alice=(130, 130)), epoch="2")
    assert counters(tally) == {ALICE: Counter(130, 130)}


def test_it_goes_on_where_it_was_after_a_kill(store: MemoryStore, clock: Clock) -> None:
    before = Tally(store, clock=clock)
    before.observe_all(parts(alice=(100, 100)))
    before.observe_all(parts(alice=(110, 120)))
    saved = before.reading()
    before.observe_all(parts(alice=(140, 140)))  # never saved: the agent is killed here
    clock.now += 60
    after = Tally(store, clock=clock)
    assert (after.run, after.began) == (saved.run, START)
    after.observe_all(parts(alice=(150, 150)))
    assert after.reading().counters == {ALICE: Counter(150, 150)}


def test_it_writes_to_disk_only_when_something_changed(store: MemoryStore) -> None:
    tally = Tally(store)
    tally.observe_all(parts(alice=(1, 1)))
    tally.reading()
    assert store.saves == 1
    tally.observe_all(parts(alice=(1, 1)))
    tally.reading()
    assert store.saves == 1


def test_the_first_look_tells_no_beginning_because_nobody_knows_when_it_flowed(
    store: MemoryStore, clock: Clock
) -> None:
    assert Tally(store, clock=clock).reading().began is None
    assert Tally(store, history=False, clock=clock).reading().began == START


def test_what_existed_is_in_the_first_reading_so_that_it_can_be_shown_or_counted(
    store: MemoryStore,
) -> None:
    tally = Tally(store)
    tally.observe_all(parts(alice=(1000, 2000)))
    assert Journal(since=float("-inf")).take(tally.reading()) == {("alice", "srv"): (1000, 2000)}


def test_a_counter_that_did_not_begin_from_zero_is_a_baseline(store: MemoryStore) -> None:
    tally = Tally(store)
    tally.observe("1", Part(ALICE, Counter(10, 10)), from_zero=False)
    tally.observe("2", Part(ALICE, Counter(3, 4)), from_zero=True)
    tally.observe("1", Part(ALICE, Counter(11, 12)), from_zero=False)
    assert tally.reading().counters == {ALICE: Counter(4, 6)}


def test_a_name_may_hold_anything(store: MemoryStore) -> None:
    strange = Key("a\x1fb mark \n“”", "sum ")
    tally = Tally(store)
    tally.observe("1", Part(strange, Counter(1, 2)), from_zero=True)
    tally.save()
    assert Tally(store).reading().counters == {strange: Counter(1, 2)}


def test_a_store_that_forgets_is_told_from_one_that_keeps(store: MemoryStore) -> None:
    tally = Tally(store)
    assert not tally.is_kept()
    tally.save()
    assert tally.is_kept()
