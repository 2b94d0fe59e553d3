"""The whole agent: cores are found and read in turn, and the panel gets their readings."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from fake_panel import FakePanel
from waiting import eventually

from xpert_agent import agent, sources
from xpert_agent.agent import Agent
from xpert_agent.config import Settings
from xpert_agent.finding import Finding
from xpert_agent.journal.database import Database
from xpert_agent.journal.overview import Overview
from xpert_agent.journal.recording import Recording
from xpert_agent.mapping import SourceMap
from xpert_agent.panel import Address
from xpert_agent.sources.base import Counter, Found, Key, Option, Reading, SourceError, Store


class Scripted:
    """A source whose readings the test gives by name."""

    kind: ClassVar[str] = "scripted"
    options: ClassVar[tuple[Option, ...]] = (Option("name", "which"),)
    readings: ClassVar[dict[str, Reading | None]] = {}

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._name = options["name"]

    def read(self) -> Reading:
        reading = self.readings[self._name]
        if reading is None:
            raise SourceError("It does not run.")
        return reading

    def close(self) -> None:
        """Nothing is open."""


def told(began: float | None, total: int) -> Reading:
    return Reading("r1", began, {Key("", "srv-a"): Counter(total, 0)}, time.time())


@pytest.fixture
def reporter(
    panel: FakePanel, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Agent:
    monkeypatch.setitem(sources.KINDS, "scripted", f"{__name__}:Scripted")
    panel.list_server("srv-a", "a.example.com", 443, "vless")
    settings = Settings(
        Address(panel.url, token=panel.token), tmp_path, interval=0.01, discover=True
    )
    made = Agent(settings, database)
    made._directory.refresh(time.time())
    return made


def found(monkeypatch: pytest.MonkeyPatch, *ways: str) -> None:
    """The core can be read in these ways."""
    there = [Found("scripted", {"name": way}, f"core at {way}", "the core") for way in ways]
    findings = [Finding(f"{one.where} runs.", "All is known.", one) for one in there]
    monkeypatch.setattr(agent, "find_local_cores", lambda: findings)


until = partial(eventually, seconds=10)


def ended(reporter: Agent) -> int:
    """The final count."""
    for worker in reporter._workers:
        worker.stop()
        worker.join(5)
    return sum(row.total.up for row in Overview(reporter._database).rows())


def test_a_core_that_starts_while_the_agent_runs_counts_from_0(
    reporter: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch)
    reporter._discover()
    Scripted.readings = {"port 1": told(time.time(), 500)}
    found(monkeypatch, "port 1")
    reporter._discover()
    until(lambda: reporter._workers[0].is_readable)
    assert ended(reporter) == 500


def test_what_was_found_and_what_cannot_be_known_is_said_once(
    reporter: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Scripted.readings = {"port 1": told(time.time(), 500)}
    readable = Found("scripted", {"name": "port 1"}, "core at port 1", "the core")
    findings = [
        Finding("A core runs.", "Its split is not known.", readable),
        Finding("Another runs, silent.", "Switch it on."),
    ]
    monkeypatch.setattr(agent, "find_local_cores", lambda: findings)
    for _ in range(2):
        reporter._discover()
    assert caplog.text.count("Found: A core runs. Its split is not known.") == 1
    assert caplog.text.count("Another runs, silent. Switch it on.") == 1
    assert ended(reporter) == 500


def test_a_core_that_ran_before_the_agent_is_a_baseline(
    reporter: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    Scripted.readings = {"port 1": told(time.time() - 3600, 500)}
    found(monkeypatch, "port 1")
    reporter._discover()
    until(lambda: reporter._workers[0].is_readable)
    Scripted.readings = {"port 1": told(time.time() - 3600, 520)}
    assert ended(reporter) == 20


def test_one_core_is_read_in_one_way(reporter: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted.readings = {"port 1": told(time.time(), 500), "port 2": told(time.time(), 500)}
    found(monkeypatch, "port 1", "port 2")
    reporter._discover()
    until(lambda: reporter._workers[0].is_readable)
    reporter._discover()
    assert ended(reporter) == 500


def test_a_core_that_is_read_in_another_way_is_not_counted_twice(
    reporter: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    Scripted.readings = {"port 1": told(began, 500), "port 2": told(began, 500)}
    found(monkeypatch, "port 1")
    reporter._discover()
    until(lambda: reporter._workers[0].is_readable)
    Scripted.readings["port 1"] = None
    until(lambda: reporter._workers[0].is_failing)
    found(monkeypatch, "port 2")
    reporter._discover()
    until(lambda: reporter._workers[0].is_readable)
    Scripted.readings["port 2"] = told(began, 530)
    assert ended(reporter) == 530


def test_a_source_that_breaks_is_remembered_and_read_again(
    reporter: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpert_agent.worker.RETRY", 0.01)
    Scripted.readings = {"port 1": None}
    found(monkeypatch, "port 1")
    reporter._discover()
    overview = Overview(reporter._database)
    until(lambda: [source.error for source in overview.sources()] == ["It does not run."])
    Scripted.readings = {"port 1": told(time.time(), 500)}
    until(lambda: [source.error for source in overview.sources()] == [""])
    assert ended(reporter) == 500


def test_a_full_disk_loses_nothing_once_there_is_room(
    reporter: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpert_agent.worker.RETRY", 0.01)
    began = time.time()
    Scripted.readings = {"port 1": told(began, 500)}
    found(monkeypatch, "port 1")
    reporter._discover()
    worker = reporter._workers[0]
    until(lambda: worker.is_readable)
    connection = reporter._database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    many = {Key("x" * 200, f"srv-{number}"): Counter(1, 1) for number in range(1000)}
    Scripted.readings = {
        "port 1": Reading("r1", began, {**many, Key("", "srv-a"): Counter(600, 0)}, time.time())
    }
    until(lambda: worker.is_failing)
    connection.execute("PRAGMA max_page_count = 1000000")
    until(lambda: worker.is_readable)
    assert ended(reporter) == 600


def test_sources_of_an_earlier_start_are_not_told_to_the_panel(
    reporter: Agent, panel: FakePanel, tmp_path: Path
) -> None:
    gone = Recording(reporter._database, "an old port", "scripted")
    gone.record(told(None, 1), reporter._directory.mapper(SourceMap()))
    assert [source.name for source in Overview(reporter._database).sources()] == ["an old port"]
    Agent(
        Settings(Address(panel.url, token=panel.token), tmp_path, discover=True), reporter._database
    )
    assert Overview(reporter._database).sources() == []
