"""What the panel has not confirmed yet, and what its answers change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from xpert_agent.journal.database import Database
from xpert_agent.mapping import Target
from xpert_agent.sources.base import Counter, Endpoint

MAX_AGE = 31 * 24 * 3600 - 3600
"""Seconds. The panel takes readings that are at most 31 days old."""

HOLD = 600
"""Seconds until a refused row is offered again: somebody may have put right what is wrong."""


class Line(NamedTuple):
    """A row of the meter at one moment, as it goes to the panel."""

    row: int
    target: Target
    run: int
    total: Counter
    read_at: float
    """Unix seconds."""
    perhaps_counted: Counter
    """What the panel may have counted of it already, at most: an answer may have been lost."""


class Answer(NamedTuple):
    """What the panel says to one line."""

    line: Line
    stale_run: int | None = None
    """The panel holds a larger total or a newer run: this one."""
    refusal: str = ""
    refused_time: bool = False
    refused_run: bool = False


class Clocks(NamedTuple):
    own: float
    panel: int


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def bind(self, owner: str, now: float) -> bool:
        """Remembers the receiver of the totals; True if it was another one before.

        A meter belongs to its sender at one panel. Another panel, or the same with another key,
        has never seen these totals and would count all of them again: they begin at 0.
        """
        with self._database.transaction():
            before = self._database.fact("owner")
            self._database.keep_facts({"owner": owner})
            if before in ("", owner):
                return False
            self._begin_again(now)
            return True

    def lines(self, limit: int, now: float) -> list[Line]:
        """At most `limit` unconfirmed lines: snapshots, oldest first, then the totals."""
        with self._database.transaction():
            self._database.run("DELETE FROM snapshot WHERE read_at < ?", now - MAX_AGE)
            found = self._database.all(_SNAPSHOTS, now, limit)
            found += self._database.all(_TOTALS, now, limit - len(found))
        return [_line(values) for values in found]

    def offer(self, lines: Iterable[Line]) -> None:
        """Remembers what is put on the wire, because its answer may be lost."""
        with self._database.transaction():
            self._database.run_many(
                "UPDATE row SET offered_up = max(offered_up, ?), offered_down = max(offered_down, ?) WHERE id = ?",
                [(*line.total, line.row) for line in lines],
            )

    def withdraw(self, lines: Iterable[Line]) -> None:
        """Takes an `offer` back: the panel has said that it counted nothing."""
        before = {line.row: line.perhaps_counted for line in lines}
        with self._database.transaction():
            self._database.run_many(
                "UPDATE row SET offered_up = ?, offered_down = ? WHERE id = ?",
                [(*perhaps_counted, row) for row, perhaps_counted in before.items()],
            )

    def settle(self, answers: Iterable[Answer], now: float, panel_now: int) -> None:
        """Books what the panel says to the lines of a message, in their order.

        `panel_now`: the panel's clock, which decides what a run in the future is.
        """
        last: dict[int, Answer] = {}
        counted: dict[int, Counter] = {}
        for answer in answers:
            last[answer.line.row] = answer
            if answer.stale_run is None and not answer.refusal:
                counted[answer.line.row] = answer.line.total
        with self._database.transaction():
            self._acknowledge(counted)
            for answer in last.values():
                self._object(answer, counted.get(answer.line.row), Clocks(now, panel_now))
            self._database.keep_facts({"sent_at": repr(now), "send_error": ""})

    def _object(self, answer: Answer, counted: Counter | None, clocks: Clocks) -> None:
        line = answer.line
        if answer.stale_run is not None:
            run = max(clocks.panel, answer.stale_run + 1, line.run + 1)
            self._renew(line.row, run, counted or line.perhaps_counted)
        elif answer.refused_run:
            self._renew(line.row, clocks.panel, counted or line.perhaps_counted)
        elif answer.refused_time:
            self._forget_time(line, clocks.own)
        elif answer.refusal:
            self._database.run(
                "UPDATE row SET rejected = ?, held_until = ? WHERE id = ?",
                answer.refusal,
                clocks.own + HOLD,
                line.row,
            )

    def _acknowledge(self, counted: Mapping[int, Counter]) -> None:
        totals = [(*total, row) for row, total in counted.items()]
        self._database.run_many(
            "UPDATE row SET acked_up = ?, acked_down = ?, rejected = '', held_until = 0 WHERE id = ?",
            totals,
        )
        self._database.run_many(
            "DELETE FROM snapshot WHERE up <= ? AND down <= ? AND row = ?", totals
        )

    def _forget_time(self, line: Line, now: float) -> None:
        """The amount goes along with a later line."""
        if not self._database.run(
            "DELETE FROM snapshot WHERE row = ? AND read_at = ?", line.row, line.read_at
        ):
            self._database.run("UPDATE row SET read_at = ? WHERE id = ?", now, line.row)

    def _renew(self, row: int, run: int, counted: Counter) -> None:
        """A new run for a row; its totals begin with what the panel has not counted."""
        self._database.run(
            "UPDATE row SET run = ?, up = max(up - ?, 0), down = max(down - ?, 0), acked_up = 0, acked_down = 0,"
            " offered_up = 0, offered_down = 0, rejected = '', held_until = 0 WHERE id = ?",
            run,
            *counted,
            row,
        )
        self._database.run(
            "UPDATE snapshot SET up = max(up - ?, 0), down = max(down - ?, 0) WHERE row = ?",
            *counted,
            row,
        )
        self._database.run("DELETE FROM snapshot WHERE row = ? AND up = 0 AND down = 0", row)

    def _begin_again(self, now: float) -> None:
        for row, run, up, down in self._database.all(
            "SELECT id, run, max(offered_up, acked_up), max(offered_down, acked_down) FROM row"
        ):
            self._renew(row, max(int(now), run + 1), Counter(up, down))
        self._database.keep_facts({"run": str(int(now))})


_COLUMNS = (
    "r.id, r.person, r.by_token, r.host, r.port, r.protocol, r.run,"
    " max(r.offered_up, r.acked_up), max(r.offered_down, r.acked_down)"
)
_SNAPSHOTS = (
    f"SELECT {_COLUMNS}, s.up, s.down, s.read_at FROM snapshot s JOIN row r ON r.id = s.row"  # noqa: S608
    " WHERE r.held_until <= ? ORDER BY s.read_at, s.row LIMIT ?"
)
_TOTALS = (
    f"SELECT {_COLUMNS}, r.up, r.down, r.read_at FROM row r"  # noqa: S608
    " WHERE (r.up > r.acked_up OR r.down > r.acked_down) AND r.held_until <= ? ORDER BY r.id LIMIT ?"
)


def _line(values: Any) -> Line:
    row, person, by_token, host, port, protocol, run, *figures, read_at = values
    target = Target(person, bool(by_token), Endpoint(host, port, protocol))
    return Line(row, target, run, Counter(*figures[2:]), read_at, Counter(*figures[:2]))
