"""Readings of sources become totals of the meter. The only way in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from xpert_agent.growth import Known, growth
from xpert_agent.journal.database import Database
from xpert_agent.mapping import Mapper, Skip, Target
from xpert_agent.sources.base import Counter, Key, Reading

HOUR = 3600
PART = 500
"""Counters that are looked at together: all of a source would be in memory several times."""

_RESET = (
    "Another program sets counters back to 0 ({number}; that of {name} for example): what it took before it was"
    " read is missing."
)

_UNKNOWN = (Skip.UNKNOWN_SERVER, Skip.UNKNOWN_PERSON, Skip.UNEXPLAINED)


def retire_all(database: Database) -> None:
    """Before the sources of this start are read: the others are not read any more."""
    with database.transaction():
        database.run("UPDATE source SET active = 0")


class Recorded(NamedTuple):
    """What became of a reading."""

    baseline: bool
    """See `growth.Growth`."""
    problems: tuple[str, ...]
    """The source's own, and what its counters show."""


class Recording:
    """One source's way into the journal."""

    def __init__(
        self, database: Database, source: str, kind: str, since: float | None = None
    ) -> None:
        """`since` (Unix seconds): see `growth.growth`; default: since the agent has been watching."""
        self._database = database
        self._source = source
        self._kind = kind
        self._hour = 0
        self._since = database.watching_since if since is None else since

    def record(self, reading: Reading, mapper: Mapper) -> Recorded:
        """Adds what has flowed since this source was read last; on disk when it returns."""
        with self._database.transaction():
            self._end_hour(reading.read_at)
            recorded = self._record_parts(reading, mapper)
            self._remember(reading, recorded.problems)
            self._settle_unmapped(reading, mapper)
            self._database.keep_facts({"alive_at": repr(reading.read_at)})
        return recorded

    def _record_parts(self, reading: Reading, mapper: Mapper) -> Recorded:
        known = self._known()
        if known is None or known.run != reading.run:
            self._database.run("DELETE FROM counter WHERE source = ?", self._source)
        baseline = False
        fallen: list[Key] = []
        for counters in _parts(reading.counters):
            part = replace(reading, counters=counters)
            marks = self._marks(counters)
            grown = growth(part, known and known._replace(counters=marks), self._since)
            self._mark(counters, marks)
            self._book(grown.amounts, part, mapper)
            baseline = baseline or grown.baseline
            fallen += grown.fallen
        return Recorded(baseline, (*reading.problems, *_resets(fallen)))

    def record_error(self, error: str) -> None:
        """Remembers why the source could not be read."""
        with self._database.transaction():
            self._database.run(
                "INSERT INTO source (name, kind, error) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET error = excluded.error, kind = excluded.kind, active = 1",
                self._source,
                self._kind,
                error,
            )

    def retire(self) -> None:
        """The source is not read any more: nobody needs to hear of it."""
        with self._database.transaction():
            self._database.run("UPDATE source SET active = 0 WHERE name = ?", self._source)

    def _known(self) -> Known | None:
        found = self._database.one(
            "SELECT run, read_at FROM source WHERE name = ? AND run IS NOT NULL", self._source
        )
        if found is None:
            return None
        run, read_at = found
        return Known(run, read_at, {})

    def _marks(self, keys: Mapping[Key, Counter]) -> dict[Key, Counter]:
        """Where these counters stood in this run, if they were seen."""
        found = (
            (key, self._database.one(_MARK, self._source, key.person, key.server)) for key in keys
        )
        return {key: Counter(*mark) for key, mark in found if mark}

    def _mark(self, counters: Mapping[Key, Counter], old: Mapping[Key, Counter]) -> None:
        self._database.run_many(
            "INSERT INTO counter VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (source, person, server) DO UPDATE SET up = excluded.up, down = excluded.down",
            [(self._source, *key, *now) for key, now in counters.items() if old.get(key) != now],
        )

    def _remember(self, reading: Reading, problems: tuple[str, ...]) -> None:
        self._database.run(
            "INSERT INTO source (name, kind, run, read_at, problems) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, run = excluded.run,"
            " read_at = excluded.read_at, error = '', problems = excluded.problems, active = 1",
            self._source,
            self._kind,
            reading.run,
            reading.read_at,
            json.dumps(problems),
        )

    def _book(self, amounts: Mapping[Key, Counter], reading: Reading, mapper: Mapper) -> None:
        targets = [(key, mapper.target(key, reading.endpoints)) for key in amounts]
        run = int(self._database.fact("run"))
        self._database.run_many(
            "INSERT INTO row (person, by_token, host, port, protocol, run, read_at, up, down)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (person, by_token, host, port, protocol) DO UPDATE"
            " SET up = up + excluded.up, down = down + excluded.down, read_at = excluded.read_at",
            (
                (
                    target.person,
                    target.by_token,
                    *target.endpoint,
                    run,
                    reading.read_at,
                    *amounts[key],
                )
                for key, target in targets
                if isinstance(target, Target)
            ),
        )
        self._database.run_many(
            "INSERT INTO unmapped VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (source, person, server) DO UPDATE"
            " SET up = up + excluded.up, down = down + excluded.down, reason = excluded.reason",
            (
                (self._source, *key, target.value, *amounts[key])
                for key, target in targets
                if isinstance(target, Skip) and target in _UNKNOWN
            ),
        )

    def _end_hour(self, at: float) -> None:
        """Before the first growth of an hour: keeps the totals of earlier ones that are not confirmed."""
        hour = int(at // HOUR)
        if hour != self._hour:
            self._database.run(
                "INSERT OR REPLACE INTO snapshot SELECT id, read_at, up, down FROM row"
                " WHERE (up > acked_up OR down > acked_down) AND read_at < ?",
                hour * HOUR,
            )
        self._hour = hour

    def _settle_unmapped(self, reading: Reading, mapper: Mapper) -> None:
        """Count traffic whose server or person has become known since."""
        found = self._database.all(
            "SELECT person, server, up, down FROM unmapped WHERE source = ?", self._source
        )
        amounts = {Key(person, server): Counter(up, down) for person, server, up, down in found}
        settled = {
            key: amount
            for key, amount in amounts.items()
            if mapper.target(key, reading.endpoints) not in _UNKNOWN
        }
        self._database.run_many(
            "DELETE FROM unmapped WHERE source = ? AND person = ? AND server = ?",
            [(self._source, *key) for key in settled],
        )
        self._book(settled, reading, mapper)


_MARK = "SELECT up, down FROM counter WHERE source = ? AND person = ? AND server = ?"


def _parts(counters: Mapping[Key, Counter]) -> Iterator[dict[Key, Counter]]:
    """At least one, perhaps an empty one."""
    items = iter(counters.items())
    part = dict(islice(items, PART))
    yield part
    while part := dict(islice(items, PART)):
        yield part


def _resets(fallen: list[Key]) -> Iterator[str]:
    if fallen:
        name = " at ".join(filter(None, fallen[0]))
        yield _RESET.format(number=len(fallen), name=f"“{name}”")
