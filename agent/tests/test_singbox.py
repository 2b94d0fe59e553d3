from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from ports import free_port
from real_cores import needs_sing_box
from singbox_core import SECRET, USERS, Gateway
from waiting import wait_until

from xpert_agent.journal.database import Database, SourceStore
from xpert_agent.protobuf import bytes_field, number_field
from xpert_agent.sources import open_source, singbox
from xpert_agent.sources.base import UNEXPLAINED, Counter, Key, Source, SourceError
from xpert_agent.sources.singbox_events import CLOSED, NEW, UPDATE, Event, events, events_of
from xpert_agent.sources.singbox_ledger import LISTED, REMEMBERED, Ledger

BEGAN = 1_000.0
ALICE = Key("alice", "srv-a")


def connection(up: int, down: int, closed: bool = False, created: float = BEGAN + 1) -> bytes:
    return b"".join(
        [
            bytes_field(2, b"in"),
            bytes_field(10, b"alice"),
            number_field(12, int(created * 1000)),
            number_field(13, int(created * 1000) + 5) if closed else b"",
            number_field(16, up),
            number_field(17, down),
            bytes_field(19, b"srv-a"),
        ]
    )


def new(identity: str, up: int = 0, down: int = 0, **more: Any) -> Event:
    return Event(NEW, identity, connection(up, down, **more), 0, 0)


def update(identity: str, up: int, down: int) -> Event:
    return Event(UPDATE, identity, b"", up, down)


def closed(identity: str, up: int, down: int) -> Event:
    return Event(CLOSED, identity, connection(up, down, closed=True), 0, 0)


def ledger(
    *told: Event,
    listed: tuple[Event, ...] = (),
    state: dict[str, Any] | None = None,
    by_inbound: bool = False,
) -> Ledger:
    """After a subscription that has told `listed` first."""
    made = Ledger(state or {}, BEGAN, by_inbound)
    if state is None:
        made.begin_core(int(BEGAN * 1000) + 500)
    made.begin_stream(listed)
    for event in told:
        made.take(event)
    return made


def test_a_message_of_events_is_decoded() -> None:
    event = bytes_field(2, b"c1") + bytes_field(3, b"xyz")
    later = (
        number_field(1, 1) + bytes_field(2, b"c1") + number_field(4, 300) + number_field(5, 70000)
    )
    message = bytes_field(1, event) + bytes_field(1, later) + number_field(2, 1)
    assert list(events(message)) == [
        Event(NEW, "c1", b"xyz", 0, 0),
        Event(UPDATE, "c1", b"", 300, 70000),
    ]


def test_one_connection_is_found_in_a_list_of_many() -> None:
    rows = [
        bytes_field(2, f"c{number:035}".encode()) + bytes_field(3, connection(number, 1))
        for number in range(50)
    ]
    message = b"".join(bytes_field(1, row) for row in rows)
    wanted = [f"c{number:035}" for number in (49, 7, 50)]
    found = list(events_of(message, wanted))
    assert found == [new(wanted[0], 49, 1), new(wanted[1], 7, 1)]


def test_updates_and_the_final_totals_of_a_connection_are_counted_once() -> None:
    made = ledger(new("c1"), update("c1", 10, 20), update("c1", 1, 1))
    assert made.counters() == {ALICE: Counter(11, 21)}
    made.take(closed("c1", 18, 30))
    assert made.counters() == {ALICE: Counter(18, 30)}


def test_what_an_update_may_tell_again_is_not_counted_twice() -> None:
    made = ledger(new("c1", 50, 50), update("c1", 60, 60))
    assert made.counters() == {ALICE: Counter(60, 60)}
    made.take(closed("c1", 100, 100))
    assert made.counters() == {ALICE: Counter(100, 100)}


def test_a_connection_that_is_told_again_after_a_restart_adds_its_difference() -> None:
    made = ledger(new("c1"), update("c1", 10, 20))
    again = ledger(closed("c1", 16, 25), listed=(new("c1", 15, 20),), state=made.state())
    assert again.counters() == {ALICE: Counter(16, 25)}


def test_a_closed_connection_that_is_told_again_counts_nothing() -> None:
    made = ledger(new("c1"), closed("c1", 16, 25), new("c1", 16, 25, closed=True))
    told_again = (new("c1", 16, 25, closed=True),)
    again = ledger(closed("c1", 16, 25), listed=told_again, state=made.state())
    assert again.counters() == {ALICE: Counter(16, 25)}


def test_a_connection_that_opened_and_closed_while_nobody_listened_is_counted() -> None:
    listed = (new("c1", 16, 25, closed=True),)
    assert ledger(listed=listed).counters() == {ALICE: Counter(16, 25)}


def test_what_a_connection_carried_before_the_agent_was_there_is_not_counted() -> None:
    made = ledger(update("c1", 10, 20), listed=(new("c1", 1000, 2000, created=BEGAN - 1),))
    assert made.counters() == {ALICE: Counter(10, 20)}


def test_bytes_that_the_core_counts_after_the_connection_was_told_closed_are_found() -> None:
    made = ledger(new("c1"), closed("c1", 0, 100), new("c2"), closed("c2", 1, 1))
    assert made.unchecked() == ["c1", "c2"]
    made.check([new("c1", 40, 100, closed=True)], ())
    assert made.unchecked() == ["c1", "c2"]
    made.check([new("c1", 46, 100, closed=True)], ["c1", "c2"])
    assert made.unchecked() == []
    assert made.counters() == {ALICE: Counter(47, 101)}
    made.check([new("c1", 50, 100, closed=True)], ())
    assert made.counters() == {ALICE: Counter(47, 101)}


def test_late_bytes_are_found_by_the_agent_after_this_one_too() -> None:
    made = ledger(new("c1"), closed("c1", 0, 100))
    again = ledger(listed=(new("c1", 46, 100, closed=True),), state=made.state())
    assert again.counters() == {ALICE: Counter(46, 100)}


def test_a_look_at_open_connections_is_not_added_to_what_updates_tell_later() -> None:
    made = ledger(new("c1"), update("c1", 10, 10))
    made.check([new("c1", 30, 30), new("c2", 5, 5)], ())
    assert made.counters() == {ALICE: Counter(35, 35)}
    for event in (update("c1", 22, 22), new("c2", 2, 2), update("c2", 9, 9)):
        made.take(event)
    assert made.counters() == {ALICE: Counter(32 + 9, 32 + 9)}


def test_a_connection_that_closes_while_the_list_is_made_is_counted_to_its_end() -> None:
    made = ledger(listed=(new("c1", 5, 5),))
    made.begin_stream(())
    made.take(closed("c1", 9, 9))
    assert made.counters() == {ALICE: Counter(9, 9)}


def test_a_connection_that_is_missing_twice_is_forgotten() -> None:
    made = ledger(listed=(new("c1", 5, 5), new("c2", 1, 1)))
    made.begin_stream([new("c2", 1, 1)])
    made.begin_stream([new("c2", 1, 1)])
    assert set(made._open) == {"c2"}


def test_each_state_is_enough_to_go_on_from() -> None:
    made = ledger()
    for number in range(30):
        made.take(new(f"c{number}"))
        made.take(update(f"c{number}", 1, 2))
        made = Ledger(made.state(), BEGAN + 5, by_inbound=False)
        if number % 2:
            made.take(closed(f"c{number}", 3, 5))
        if number % 7 == 0:
            made.rebase()
    assert made.counters() == {ALICE: Counter(15 * 1 + 15 * 3, 15 * 2 + 15 * 5)}


def test_only_so_many_closed_connections_are_remembered() -> None:
    made = ledger(*(closed(f"c{number}", 1, 1) for number in range(REMEMBERED + 10)))
    assert len(Ledger(made.state(), BEGAN, by_inbound=False)._closed) == REMEMBERED


def test_the_inbound_can_name_the_server() -> None:
    assert ledger(closed("c1", 1, 2), by_inbound=True).counters() == {
        Key("alice", "in"): Counter(1, 2)
    }


def test_what_the_core_carried_and_nobody_is_named_for_is_shown() -> None:
    made = ledger(closed("c1", 10, 20))
    made.control(Counter(110, 220), made.accounted)
    made.compare(Counter(110, 220))
    assert made.counters()[Key("", UNEXPLAINED)] == Counter(100, 200)
    made.begin_core(int(BEGAN * 1000) + 9_000)
    made.control(Counter(5, 5), made.accounted)
    made.compare(Counter(5, 5))
    assert made.counters()[Key("", UNEXPLAINED)] == Counter(105, 205)


def test_what_the_last_total_of_a_core_had_and_it_never_told_is_unexplained_once_it_is_gone() -> (
    None
):
    made = ledger(closed("c1", 10, 20))
    made.control(Counter(17, 29), made.accounted)
    again = Ledger(made.state(), BEGAN, by_inbound=False)
    again.begin_core(int(BEGAN * 1000) + 9_000)
    assert again.counters() == {ALICE: Counter(10, 20), Key("", UNEXPLAINED): Counter(7, 9)}


def test_what_an_older_core_carried_before_the_agent_is_explained() -> None:
    made = Ledger({}, BEGAN, by_inbound=False)
    made.begin_core(int(BEGAN * 1000) - 60_000)
    made.begin_stream([new("c1", 1000, 2000, created=BEGAN - 1)])
    made.control(Counter(51_000, 72_000), made.accounted)
    made.take(update("c1", 10, 20))
    made.compare(Counter(51_010, 72_020))
    assert made.counters() == {ALICE: Counter(10, 20)}


def test_what_closes_between_a_list_and_the_look_at_it_makes_nothing_count_twice() -> None:
    listed = [closed(f"c{number}", 1, 2) for number in range(LISTED)]
    made = ledger(*listed)
    for number in range(REMEMBERED - LISTED):
        made.take(closed(f"later-{number}", 1, 2))
    counted = made.counters()
    made.check(listed, ())
    assert made.counters() == counted == {ALICE: Counter(REMEMBERED, 2 * REMEMBERED)}


# The real core


def opened(gateway: Gateway, database: Database) -> Source:
    return open_source(
        "singbox", {"url": gateway.url, "secret": SECRET}, SourceStore(database, "gw")
    )


def told(source: Source) -> dict[Key, list[int]]:
    return {key: list(counter) for key, counter in source.read().counters.items()}


def until_equal(source: Source, expected: dict[tuple[str, str], list[int]]) -> None:
    """Events follow the bytes by up to two seconds."""
    deadline = time.monotonic() + 15
    while told(source) != expected:
        assert time.monotonic() < deadline, (told(source), expected)
        time.sleep(0.1)


@needs_sing_box
def test_every_byte_at_the_origin_is_counted_for_its_person_and_server(
    gateway: Gateway, database: Database
) -> None:
    source = opened(gateway, database)
    source.read()
    gateway.traffic(random.Random(1), 60)
    still_open = [gateway.dial(user, 3000, 40_000) for user in USERS]
    until_equal(source, gateway.flowed)
    for client in still_open:
        client.close()
    source.close()


@needs_sing_box
def test_a_core_that_has_begun_again_is_not_taken_for_the_one_before(
    gateway: Gateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it lists is counted when its own stream begins; counted here too, it would count twice."""
    source = opened(gateway, database)
    source.read()
    gateway.dial("alice", 100, 200).close()
    until_equal(source, gateway.flowed)
    monkeypatch.setattr(singbox, "started_at", lambda target, timeout: 1)
    with pytest.raises(SourceError, match="has begun again"):
        source.read()
    monkeypatch.undo()
    until_equal(source, gateway.flowed)
    source.close()


@needs_sing_box
def test_connections_that_closed_while_the_agent_was_away_are_counted(
    gateway: Gateway, database: Database
) -> None:
    first = opened(gateway, database)
    first.read()
    gateway.traffic(random.Random(2), 20)
    lasting = gateway.dial("alice", 100, 100)
    until_equal(first, gateway.flowed)
    first.close()
    gateway.traffic(random.Random(3), 20)
    lasting.close()
    second = opened(gateway, database)
    until_equal(second, gateway.flowed)
    second.close()


@needs_sing_box
def test_a_restarted_core_goes_on_from_the_sums(gateway: Gateway, database: Database) -> None:
    source = opened(gateway, database)
    source.read()
    gateway.traffic(random.Random(4), 20)
    until_equal(source, gateway.flowed)
    gateway.stop()
    time.sleep(0.1)
    with pytest.raises(SourceError):
        while True:
            source.read()
    gateway.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            source.read()
            break
        except SourceError:
            time.sleep(0.1)
    gateway.traffic(random.Random(5), 20)
    until_equal(source, gateway.flowed)
    source.close()


@needs_sing_box
def test_traffic_that_was_forgotten_by_the_core_is_unexplained_but_known(
    gateway: Gateway, database: Database
) -> None:
    first = opened(gateway, database)
    first.read()
    gateway.traffic(random.Random(6), 5)
    until_equal(first, gateway.flowed)
    first.close()
    gateway.traffic(random.Random(7), 400)
    second = opened(gateway, database)
    everything = [sum(flowed[way] for flowed in gateway.flowed.values()) for way in (0, 1)]
    deadline = time.monotonic() + 15
    while [sum(counter[way] for counter in told(second).values()) for way in (0, 1)] != everything:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert told(second)[Key("", UNEXPLAINED)][1] > 0
    second.close()


@needs_sing_box
def test_a_wrong_secret_is_one_sentence(gateway: Gateway, database: Database) -> None:
    options = {"url": gateway.url, "secret": "wrong-secret"}
    source = open_source("singbox", options, SourceStore(database, "gw"))
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:\d+ refuses the secret") as refused:
        source.read()
    assert "wrong-secret" not in str(refused.value)
    source.close()


def test_a_core_that_does_not_run_is_one_sentence(database: Database) -> None:
    source = open_source(
        "singbox", {"url": f"http://127.0.0.1:{free_port()}"}, SourceStore(database, "gw")
    )
    with pytest.raises(SourceError, match="Nothing listens at"):
        source.read()
    source.close()


def test_reading_ends_no_thread_of_others(database: Database) -> None:
    before = threading.active_count()
    source = open_source(
        "singbox", {"url": f"http://127.0.0.1:{free_port()}"}, SourceStore(database, "gw")
    )
    with pytest.raises(SourceError):
        source.read()
    source.close()
    wait_until(lambda: threading.active_count() <= before, 5)
    assert threading.active_count() == before
