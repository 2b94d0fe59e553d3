"""From a source's counters to what the panel has booked."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fake_panel import HOUR, FakePanel, Row

from xpert_agent.agent import owner_of
from xpert_agent.journal import outbox
from xpert_agent.journal.database import Database
from xpert_agent.journal.outbox import HOLD, MAX_AGE, Outbox
from xpert_agent.journal.overview import Overview
from xpert_agent.journal.recording import Recording
from xpert_agent.mapping import Listed, Mapper, People, SourceMap
from xpert_agent.panel import Address, Panel, PanelError, UnreachableError
from xpert_agent.sender import (
    FIRST_WAIT,
    LONGEST_RETRY_AFTER,
    LONGEST_WAIT,
    Backoff,
    NotAcceptedError,
    Sender,
)
from xpert_agent.sources.base import UNEXPLAINED, Counter, Endpoint, Key, Reading

SERVER = ("a.example.com", 443, "vless")
LISTED = {"srv-a": Listed(Endpoint(*SERVER), False)}


class Installation:
    """One agent without its clockwork: readings in, messages out, when the test says so."""

    def __init__(self, panel: FakePanel, database: Database) -> None:
        self.panel = panel
        self.database = database
        self.outbox = Outbox(database)
        self.address = Address(panel.url, key=panel.key, token=panel.token)
        self.outbox.bind(owner_of(self.address), time.time())
        self.mapper = Mapper(People(token=panel.token), LISTED, SourceMap())
        self.recording = Recording(database, "core", "test")
        self.sender = self.new_sender()

    def new_sender(self) -> Sender:
        facts = self.database.fact
        return Sender(
            Panel(self.address),
            self.outbox,
            Overview(self.database),
            facts("meter"),
            int(facts("run")),
        )

    def read(
        self, up: int, down: int, at: float | None = None, run: str = "r1", server: str = "srv-a"
    ) -> None:
        now = time.time() if at is None else at
        counters = {Key("", server): Counter(up, down)}
        self.recording.record(Reading(run, time.time(), counters, now), self.mapper)

    def booked(self, person: str = "t0ken-of-alice") -> list[int]:
        return self.panel.booked[(person, *SERVER)]

    def hours(self) -> dict[int, list[int]]:
        return {key[-1]: amount for key, amount in self.panel.hours.items() if any(amount)}


@pytest.fixture
def installation(panel: FakePanel, database: Database) -> Installation:
    return Installation(panel, database)


def test_totals_go_to_the_panel(installation: Installation) -> None:
    installation.read(100, 200)
    assert installation.sender.send() == 1
    installation.read(150, 300)
    assert installation.sender.send() == 1
    assert installation.booked() == [150, 300]


def test_what_is_confirmed_is_not_sent_again_but_a_sign_of_life_is(
    installation: Installation,
) -> None:
    installation.read(100, 200)
    installation.sender.send()
    assert installation.sender.send() == 0
    last = installation.panel.messages[-1]
    assert last["readings"] == []
    assert [(one["name"], one["kind"], one["ok"]) for one in last["sources"]] == [
        ("core", "test", True)
    ]


def test_a_source_that_cannot_be_read_is_named_to_the_panel(installation: Installation) -> None:
    installation.recording.record_error("Nothing listens there.")
    installation.sender.send()
    source = installation.panel.messages[-1]["sources"][0]
    assert (source["ok"], source["error"], source["read_at"]) == (
        False,
        "Nothing listens there.",
        None,
    )


def test_a_lost_answer_doubles_nothing(installation: Installation) -> None:
    installation.read(100, 200)
    installation.panel.lose_answer = lambda: True
    with pytest.raises(UnreachableError):
        installation.sender.send()
    installation.read(130, 200)
    installation.panel.lose_answer = lambda: False
    installation.sender.send()
    assert installation.booked() == [130, 200]


def test_growth_is_booked_in_the_hour_in_which_it_was_read_after_a_night_offline(
    installation: Installation,
) -> None:
    noon = time.time() // HOUR * HOUR
    for hours_ago, early, late in ((5, 10, 15), (4, 25, 30), (3, 30, 30), (2, 100, 105)):
        installation.read(early, 0, at=noon - hours_ago * HOUR + 1)
        installation.read(late, 0, at=noon - hours_ago * HOUR + 3000)
    installation.sender.send()
    first = int(noon) // HOUR
    assert installation.hours() == {first - 5: [15, 0], first - 4: [15, 0], first - 2: [75, 0]}


def test_snapshots_are_sent_oldest_first_and_in_small_batches(installation: Installation) -> None:
    installation.panel.max_rows = 2
    noon = time.time() // HOUR * HOUR
    for hour in range(9):
        installation.read(hour + 1, 0, at=noon - (10 - hour) * HOUR)
    for _ in range(4):
        with pytest.raises(NotAcceptedError):
            installation.sender.send()
        if installation.sender._max_lines <= 2:
            break
    installation.sender.send()
    assert installation.hours() == {int(noon) // HOUR - (10 - hour): [1, 0] for hour in range(9)}


def test_a_message_that_is_too_large_is_halved(installation: Installation) -> None:
    installation.sender._max_lines = 100
    installation.mapper = Mapper(
        People(token=installation.panel.token),
        {
            f"s{number}": Listed(Endpoint("h.example.com", number + 1, "vless"), False)
            for number in range(100)
        },
        SourceMap(),
    )
    for number in range(100):
        Recording(installation.database, f"core{number}", "test").record(
            Reading("r", time.time(), {Key("", f"s{number}"): Counter(7, 8)}, time.time()),
            installation.mapper,
        )
    installation.panel.max_rows = 30
    failures = 0
    while failures < 5:
        try:
            installation.sender.send()
            break
        except NotAcceptedError:
            failures += 1
    assert failures == 2
    assert list(installation.panel.booked.values()) == [[7, 8]] * 100


def test_snapshots_older_than_31_days_are_given_up_and_their_bytes_go_along(
    installation: Installation,
) -> None:
    now = time.time()
    installation.read(10, 0, at=now - MAX_AGE - 2 * HOUR)
    installation.read(15, 0, at=now)
    installation.sender.send()
    assert installation.booked() == [15, 0]
    assert len(installation.hours()) == 1


def test_an_old_total_that_the_panel_refuses_for_its_time_is_sent_with_todays(
    installation: Installation,
) -> None:
    installation.read(10, 0, at=time.time() - 40 * 24 * HOUR)
    installation.sender.send()
    assert installation.booked() == [0, 0]
    installation.sender.send()
    assert installation.booked() == [10, 0]


def test_a_refused_row_is_shown_held_back_and_offered_again(
    installation: Installation, database: Database
) -> None:
    installation.panel.refuse = lambda row: {"server": ["is not allowed for this key"]}
    installation.read(10, 20)
    assert installation.sender.send() == 0
    row = Overview(database).rows()[0]
    assert (row.rejected, row.unsent) == ("server: is not allowed for this key", Counter(10, 20))
    installation.panel.refuse = lambda row: {}
    installation.sender.send()
    assert installation.booked() == [0, 0]
    assert len(installation.outbox.lines(10, time.time() + HOLD + 1)) == 1


def test_a_stale_row_begins_a_new_run_with_what_was_not_counted(installation: Installation) -> None:
    installation.read(100, 100)
    installation.sender.send()
    key = next(iter(installation.panel.rows))
    installation.panel.rows[key] = Row(installation.panel.rows[key].run, 5000, 5000)
    installation.read(130, 110)
    installation.sender.send()
    installation.sender.send()
    assert installation.booked() == [130, 110]
    installation.read(131, 110)
    installation.sender.send()
    assert installation.booked() == [131, 110]


def test_two_installations_with_the_same_journal_copied_count_everything_once(
    installation: Installation, tmp_path: Path, panel: FakePanel
) -> None:
    installation.read(100, 0)
    installation.sender.send()
    with (
        closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as source,
        closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as copied,
    ):
        source.backup(copied)
    database = Database(tmp_path / "copy.sqlite3", time.time())
    twin = Installation(panel, database)
    installation.read(150, 0)
    twin.read(100, 0)
    grown = 150
    for step in range(1, 6):
        installation.read(150 + step * 10, 0)
        twin.read(100 + step, 0)
        for one in (installation, twin, installation, twin):
            one.sender.send()
        grown = 150 + step * 10 + step
    assert installation.booked() == [grown, 0]
    database.close()


def test_another_key_or_panel_is_not_told_the_past_again(
    installation: Installation, database: Database
) -> None:
    installation.read(100, 100)
    installation.sender.send()
    installation.read(130, 100)
    other = FakePanel(token="another-token")
    again = Installation(other, database)
    again.sender.send()
    assert other.booked[("t0ken-of-alice", *SERVER)] == [30, 0]
    other.close()


def test_growth_that_was_never_sent_is_not_lost_when_the_key_changes(
    installation: Installation, database: Database
) -> None:
    installation.panel.statuses.extend([401] * 3)
    for total in (10, 20, 30):
        installation.read(total, 0)
        with pytest.raises(NotAcceptedError, match="does not accept this subscription"):
            installation.sender.send()
    installation.panel.close()
    with pytest.raises(UnreachableError, match="refuses connections"):
        installation.sender.send()
    other = FakePanel(token="another-token")
    Installation(other, database).sender.send()
    assert other.booked[("t0ken-of-alice", *SERVER)] == [30, 0]
    other.close()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_panel_in_trouble_costs_nothing(installation: Installation, status: int) -> None:
    installation.read(10, 20)
    installation.panel.statuses.append(status)
    installation.panel.headers["Retry-After"] = "17"
    with pytest.raises(NotAcceptedError) as refused:
        installation.sender.send()
    assert refused.value.retry_after == 17
    installation.sender.send()
    assert installation.booked() == [10, 20]


def test_a_clock_that_is_a_day_ahead_is_corrected_in_what_is_sent(
    panel: FakePanel, database: Database
) -> None:
    panel.clock_offset = -86400
    installation = Installation(panel, database)
    for total in (10, 20, 30):
        installation.read(total, 0)
        installation.sender.send()
    assert installation.booked() == [30, 0]
    panels_hour = int(time.time() - 86400) // HOUR
    assert all(abs(hour - panels_hour) <= 1 for hour in installation.hours())


def test_what_has_no_server_yet_is_kept_and_counted_once_it_has_one(
    installation: Installation, database: Database
) -> None:
    installation.read(10, 20, server="srv-new")
    installation.sender.send()
    assert [one.key.server for one in Overview(database).unmapped()] == ["srv-new"]
    installation.mapper = Mapper(
        People(token="t0ken-of-alice"), {"srv-new": LISTED["srv-a"]}, SourceMap()
    )
    installation.read(11, 20, server="srv-new")
    installation.sender.send()
    assert installation.booked() == [11, 20]
    assert Overview(database).unmapped() == []


def test_unexplained_bytes_are_shown_and_never_sent(
    installation: Installation, database: Database
) -> None:
    installation.read(10, 20, server=UNEXPLAINED)
    installation.sender.send()
    assert Overview(database).unmapped()[0].amount == Counter(10, 20)
    assert installation.panel.booked == {}


def test_readings_in_any_order_with_lost_answers_and_restarts_are_exact(
    installation: Installation,
) -> None:
    dice = random.Random(20261129)
    installation.panel.lose_answer = lambda: dice.random() < 0.3
    total, run, flowed = [0, 0], 1, [0, 0]
    for _ in range(400):
        if dice.random() < 0.05:
            total, run = [0, 0], run + 1
        more = dice.randrange(1000), dice.randrange(1000)
        total, flowed = (
            [total[0] + more[0], total[1] + more[1]],
            [flowed[0] + more[0], flowed[1] + more[1]],
        )
        installation.read(total[0], total[1], run=f"r{run}")
        if dice.random() < 0.3:
            installation.sender = installation.new_sender()
        try:
            installation.sender.send()
        except PanelError:
            pass
    installation.panel.lose_answer = lambda: False
    installation.sender.send()
    assert installation.booked() == flowed


def test_waiting_doubles_from_5_seconds_to_15_minutes_with_jitter() -> None:
    backoff = Backoff()
    waits = [backoff.wait() for _ in range(12)]
    for step, wait in enumerate(waits):
        longest = min(FIRST_WAIT * 2**step, LONGEST_WAIT)
        assert longest / 2 <= wait <= longest
    backoff.reset()
    assert backoff.wait() <= FIRST_WAIT
    assert backoff.wait(120) == 120
    assert backoff.wait(10**9) == LONGEST_RETRY_AFTER


def test_a_month_of_snapshots_is_read_in_its_order_and_not_sorted(database: Database) -> None:
    plan = database.all(f"EXPLAIN QUERY PLAN {outbox._SNAPSHOTS}", 0.0, 10)
    assert not any("TEMP B-TREE" in step[-1] for step in plan)


def test_each_message_that_is_taken_is_progress(installation: Installation) -> None:
    """A panel that limits requests takes some messages at a time: no reason to wait ever longer."""
    installation.sender._max_lines = 1
    installation.mapper = Mapper(
        People(token=installation.panel.token), {}, SourceMap(server="a.example.com:443/vless")
    )
    for hour in (3, 2, 1, 0):
        installation.read(100 - hour, 0, at=time.time() - hour * HOUR)
    taken: list[int] = []

    def progress() -> None:
        taken.append(1)
        if len(taken) == 2:
            installation.panel.statuses.append(429)

    with pytest.raises(NotAcceptedError):
        installation.sender.send(progress)
    assert len(taken) == 2


def test_a_clock_that_is_set_back_and_forth_costs_and_doubles_nothing(
    installation: Installation,
) -> None:
    """Snapshots are sent in the order of a clock that jumped: smaller totals after larger ones."""
    dice = random.Random()
    now, up = time.time(), 0
    for _ in range(60):
        up += dice.randrange(1, 1000)
        installation.read(up, 2 * up, at=now - dice.randrange(12 * HOUR))
        if dice.random() < 0.3:
            installation.panel.lose_answer = lambda: dice.random() < 0.3
            with suppress(PanelError):
                installation.sender.send()
    installation.panel.lose_answer = lambda: False
    for _ in range(5):
        installation.sender.send()
    assert installation.booked() == [up, 2 * up]
