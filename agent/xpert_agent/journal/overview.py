"""A summary of the journal for `status` and the panel."""

from __future__ import annotations

import json
from typing import NamedTuple

from xpert_agent.journal.database import Database
from xpert_agent.mapping import Target
from xpert_agent.sources.base import UNEXPLAINED, Counter, Endpoint, Key


class SourceState(NamedTuple):
    name: str
    kind: str
    read_at: float | None
    error: str
    problems: tuple[str, ...]


class Unmapped(NamedTuple):
    source: str
    key: Key
    reason: str
    amount: Counter


class Row(NamedTuple):
    target: Target
    total: Counter
    unsent: Counter
    rejected: str


class Carried(NamedTuple):
    """What a source has counted since its run began."""

    run: str
    counted: Counter
    unexplained: Counter


class Overview:
    def __init__(self, database: Database) -> None:
        self._database = database

    def sources(self) -> list[SourceState]:
        """Those that the agent reads now, or read before it stopped."""
        found = self._database.all(
            "SELECT name, kind, read_at, error, problems FROM source WHERE active ORDER BY name"
        )
        return [
            SourceState(name, kind, read_at, error, tuple(json.loads(problems)))
            for name, kind, read_at, error, problems in found
        ]

    def carried(self, source: str) -> Carried | None:
        """None before the first reading of the source."""
        known = self._database.one(
            "SELECT run FROM source WHERE name = ? AND run IS NOT NULL", source
        )
        if known is None:
            return None
        found = self._database.all(
            "SELECT server = ?, sum(up), sum(down) FROM counter WHERE source = ? GROUP BY 1",
            UNEXPLAINED,
            source,
        )
        sums = {bool(is_unexplained): Counter(up, down) for is_unexplained, up, down in found}
        nothing = Counter(0, 0)
        return Carried(known[0], sums.get(False, nothing), sums.get(True, nothing))

    def unmapped(self) -> list[Unmapped]:
        """Most bytes first."""
        found = self._database.all(
            "SELECT source, person, server, reason, up, down FROM unmapped ORDER BY up + down DESC"
        )
        return [
            Unmapped(source, Key(person, server), reason, Counter(up, down))
            for source, person, server, reason, up, down in found
        ]

    def rows(self) -> list[Row]:
        found = self._database.all(
            "SELECT person, by_token, host, port, protocol, up, down, up - acked_up, down - acked_down, rejected"
            " FROM row ORDER BY id"
        )
        return [
            Row(
                Target(values[0], bool(values[1]), Endpoint(*values[2:5])),
                Counter(*values[5:7]),
                Counter(*values[7:9]),
                values[9],
            )
            for values in found
        ]

    def snapshots(self) -> int:
        return int(self._database.one("SELECT count(*) FROM snapshot")[0])
