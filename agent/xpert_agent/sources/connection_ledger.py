"""Adds up a Clash core's connections, which the core forgets as soon as they are closed.

The core tells exact totals of all traffic, and the open connections only. What no connection was
seen to carry (connections that came and went between two looks, and the last bytes of others)
is the rest. It is shared out among those whose connections closed, because open ones leave none.

How much of it, a closed connection's age tells. One that was 10 ms old when it was seen, for the
only time and with 200 ms between two looks, stands for several like it that were not seen; one
that was seen twice stands for itself. So sums are exact in total, and their split is an estimate.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple

from xpert_agent.sources.base import Counter, Key

_DECAY = 0.8
"""What a closed connection's weight keeps from one look to the next."""
_LEAST_WEIGHT = 0.01
_LEAST_CHANCE = 0.05
"""Of being seen. A connection that was seen just after it began must not stand for thousands."""


_MOMENT = re.compile(
    r"(?P<second>[-0-9]{10}T[:0-9]{8})(?P<part>(?:\.[0-9]+)?)(?P<zone>Z|[-+][0-9:]{5})"
)


class Connection(NamedTuple):
    """An open connection: who, through which server, and its bytes so far."""

    id: str
    key: Key
    total: Counter
    started: str = ""
    """When, as the core writes it (RFC 3339)."""


class _Open(NamedTuple):
    key: Key
    total: Counter
    grown: Counter
    """By how much it grew from the last look but one to the last."""
    age: float | None = None
    """Seconds at the first look that saw it; None if there was a later one, or it is unknown."""

    def unseen(self, way: int, pause: float) -> float:
        """Bytes of it, and of others like it, that were probably not seen once it has closed.

        `pause`: seconds between two looks. A connection that is seen at a random moment is half
        through, on average.
        """
        if self.age is None:
            return self.grown[way] / 2
        chance = min(1.0, max(_LEAST_CHANCE, 2 * self.age / pause))
        return self.total[way] * ((1 - chance) / chance + 0.5)


Sums = dict[Key, int]


@dataclass
class _Direction:
    """One direction's sums; the two have nothing to do with each other."""

    sums: Sums
    weights: dict[Key, float]
    rest: int = 0
    """Not yet shared out. Below 0: connections told bytes that were not in the totals yet."""

    def fade(self) -> None:
        self.weights = _faded(self.weights)

    def share(self, amount: int, opened: Mapping[Key, float]) -> None:
        """Gives `amount` of the rest away, if anybody was ever seen or heard of."""
        weights = (
            self.weights
            or opened
            or {key: float(total) for key, total in self.sums.items() if total}
        )
        if amount <= 0 or not weights:
            return
        for key, part in _parts(amount, weights):
            self.sums[key] += part
        self.rest -= amount


class Ledger:
    """The sums since the first look, over all restarts of the core."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """`state`: {} at first, or what `state` returned; without "totals" for another core."""
        self._totals = Counter(*state["totals"]) if "totals" in state else None
        self._looked_at = 0.0
        self._opened: dict[Key, float] = {}
        """How many connections the core has told to have opened of late."""
        self._clock_lead = inf
        """Seconds that our clock is ahead of the core's, at most."""
        self._open = {
            id_: _Open(Key(person, server), Counter(up, down), Counter(0, 0))
            for id_, person, server, up, down in state.get("open", ())
        }
        rows = [(Key(*row[:2]), Counter(*row[2:])) for row in state.get("sums", ())]
        rests = Counter(*state.get("rest", (0, 0)))
        self._directions = tuple(
            _Direction(defaultdict(int, ((key, sums[way]) for key, sums in rows)), {}, rests[way])
            for way in (0, 1)
        )

    def state(self) -> dict[str, Any]:
        """Everything that a later ledger needs to go on, as JSON types."""
        assert self._totals is not None  # noqa: S101  # asked for after the first look only
        return {
            "totals": list(self._totals),
            "rest": [direction.rest for direction in self._directions],
            "open": [[id_, *open_.key, *open_.total] for id_, open_ in self._open.items()],
            "sums": [[*key, *counter] for key, counter in self.counters().items()],
        }

    def counters(self) -> dict[Key, Counter]:
        """Bytes of each key since the first look."""
        ups, downs = (direction.sums for direction in self._directions)
        return {key: Counter(ups.get(key, 0), downs.get(key, 0)) for key in {**ups, **downs}}

    def look(
        self,
        totals: Counter,
        connections: Iterable[Connection],
        now: float,
        opened: Mapping[Key, int] = MappingProxyType({}),
    ) -> bool:
        """Takes over what the core tells `now` (Unix seconds). The first look sees history.

        `opened`: connections since the last look, as the core's log tells them. Whether anything
        has flowed since then.
        """
        self._opened = _faded(self._opened)
        for key, count in opened.items():
            self._opened[key] = self._opened.get(key, 0.0) + count
        before = last = self._totals
        if before is None:
            self._open = {one.id: _Open(one.key, one.total, Counter(0, 0)) for one in connections}
        else:
            if totals.up < before.up or totals.down < before.down:
                before = self._new_run()
            grown = self._follow(connections, now)
            self._settle(Counter(totals.up - before.up, totals.down - before.down), grown)
        self._totals, self._looked_at = totals, now
        return totals != last

    def _new_run(self) -> Counter:
        """The totals began at 0 again: the last reported ones are the final totals of the old run.

        Connections stay as they are, because some apps set only the totals back to 0. After a
        restart none of the old ones is in the list.
        """
        for direction in self._directions:
            direction.share(direction.rest, self._opened)
            direction.rest = 0
        return Counter(0, 0)

    def _follow(self, connections: Iterable[Connection], now: float) -> Counter:
        """Books what the connections grew by; returns the sum of it."""
        was_open, self._open = self._open, {}
        booked = [0, 0]
        for one in connections:
            last = was_open.pop(one.id, None)
            grown = _difference(one.total, last.total if last else Counter(0, 0))
            age = None if last else self._age(one, now)
            self._open[one.id] = _Open(one.key, one.total, grown, age)
            for way, direction in enumerate(self._directions):
                if grown[way]:
                    direction.sums[one.key] += grown[way]
                    booked[way] += grown[way]
        self._weigh(was_open.values(), max(0.001, now - self._looked_at))
        return Counter(*booked)

    def _age(self, connection: Connection, now: float) -> float | None:
        started = _unix(connection.started)
        if started is None:
            return None
        self._clock_lead = min(self._clock_lead, now - started)
        return now - started - self._clock_lead

    def _weigh(self, closed: Iterable[_Open], pause: float) -> None:
        for direction in self._directions:
            direction.fade()
        for open_ in closed:
            for way, direction in enumerate(self._directions):
                weight = direction.weights.get(open_.key, 0.0)
                direction.weights[open_.key] = weight + open_.unseen(way, pause) + 1

    def _settle(self, flowed: Counter, booked: Counter) -> None:
        """Shares out what was a rest at two looks.

        The core writes its totals and its list one after the other. So a connection that has
        just begun may be missing in the list, and its bytes are a rest for one look only.
        """
        for way, direction in enumerate(self._directions):
            last_rest = direction.rest
            direction.rest += flowed[way] - booked[way]
            direction.share(min(last_rest, direction.rest), self._opened)


def _faded(weights: Mapping[Key, float]) -> dict[Key, float]:
    faded = ((key, weight * _DECAY) for key, weight in weights.items())
    return {key: weight for key, weight in faded if weight > _LEAST_WEIGHT}


def _unix(text: str) -> float | None:
    """Unix seconds of 2026-11-28T17:18:44.303421173Z, or with an offset; None for another form."""
    match = _MOMENT.fullmatch(text)
    if not match:
        return None
    zone = "+00:00" if match["zone"] == "Z" else match["zone"]
    try:
        second = datetime.fromisoformat(match["second"] + zone).timestamp()
    except ValueError:
        return None
    return second + float(f"0{match['part']}")


def _difference(new: Counter, old: Counter) -> Counter:
    return Counter(max(0, new.up - old.up), max(0, new.down - old.down))


def _parts(amount: int, weights: Mapping[Key, float]) -> Iterator[tuple[Key, int]]:
    """`amount` in proportion to the weights, to the byte."""
    weight_left = sum(weights.values())
    for key, weight in sorted(weights.items(), key=lambda item: item[1]):
        part = min(amount, round(amount * min(1.0, weight / weight_left)))
        yield key, part
        amount -= part
        weight_left -= weight
