"""Usage counted by another panel: totals by row, of which only the growth is counted here."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from operations.databases.transactions import write_transaction
from traffic.reports import Report

from . import rollups
from .desk import Desk, NewServers
from .recording import Outcome, Rules, carefully, write_inside
from .rollups import EventKey, LastReading, MeterRow


class Imported(NamedTuple):
    """A row of another panel: its key there, and its totals today. The event id is ignored."""

    key: str
    report: Report


class _Growth(NamedTuple):
    """A row that has grown: its place in the batch, its new totals, and the growth to count."""

    place: int
    key: EventKey
    total: tuple[int, int]
    report: Report

    def row(self) -> MeterRow:
        """The meter to store. An import has neither runs nor a reporter."""
        up, down, moment = self.report.upload, self.report.download, self.report.moment
        return MeterRow(*self.key, up, down, 0, *self.total, moment, None, None, None)


Batches = Callable[[], Iterable[Sequence[Imported]]]


def record_imported(batches: Batches, now: datetime) -> Counter[Outcome]:
    """Count the rows of another panel in one transaction and return the number of rows by outcome.

    The counted part of a row is stored: if the row comes again, only its growth is added, and one that has not
    grown is a DUPLICATE. Unknown tokens become subscribers. ``batches`` is called again for every attempt, and must
    not yield a key twice.
    """
    return carefully(lambda careful: _record(batches, now, careful=careful))


@write_transaction
def _record(batches: Batches, now: datetime, *, careful: bool) -> Counter[Outcome]:
    outcomes: Counter[Outcome] = Counter()
    for batch in batches():
        desk = Desk(now, NewServers(), create=True)
        outcomes.update(write_inside([_Batch(batch)], desk, careful=careful).results[0])
    return outcomes


class _Batch:
    """A ``recording.Work``."""

    rules = Rules(metered=True)

    def __init__(self, rows: Sequence[Imported]) -> None:
        self._rows = rows
        self._outcomes: list[Outcome] = []
        self._grown: list[_Growth] = []

    @property
    def size(self) -> int:
        return len(self._rows)

    @classmethod
    def prepare(cls, works: Sequence["_Batch"], desk: Desk) -> None:
        for work in works:
            work.look_at(desk)

    def look_at(self, desk: Desk) -> None:
        known = desk.people(row.report.user_token for row in self._rows)
        ids = [
            known[token].id if (token := row.report.user_token) in known else None
            for row in self._rows
        ]
        keys = {(pk, row.key) for pk, row in zip(ids, self._rows, strict=True) if pk is not None}
        counted = rollups.lock_meters(keys)
        self._outcomes, self._grown = [], []
        for place, (pk, row) in enumerate(zip(ids, self._rows, strict=True)):
            self._outcomes.append(Outcome.UNKNOWN_TOKEN if pk is None else Outcome.DUPLICATE)
            if pk is not None and (grown := _growth(place, row, pk, counted.get((pk, row.key)))):
                self._grown.append(grown)

    def reports(self, now: datetime) -> Sequence[Report]:
        return [grown.report for grown in self._grown]

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        counted = []
        for grown, outcome in zip(self._grown, outcomes, strict=True):
            self._outcomes[grown.place] = outcome
            if outcome is Outcome.RECORDED:
                counted.append(grown.row())
        rollups.write_meters(counted)
        return self._outcomes


def _growth(
    place: int, row: Imported, subscriber: int, counted: LastReading | None
) -> _Growth | None:
    """None if nothing has grown. A new row counts even if its totals are zero."""
    before = (counted.upload, counted.download) if counted else (0, 0)
    total = max(before[0], row.report.upload), max(before[1], row.report.download)
    if counted and counted.read_at is not None and total == before:
        return None
    report = msgspec.structs.replace(
        row.report, upload=total[0] - before[0], download=total[1] - before[1], event_id=""
    )
    return _Growth(place, (subscriber, row.key), total, report)
