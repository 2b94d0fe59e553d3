"""From the counters of a source to the traffic since it was last read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from xpert_agent.sources.base import Counter, Key, Reading

CLOCK_TOLERANCE = 60.0
"""Seconds. Sources compute when they began from an uptime in whole seconds."""

COUNT_EVERYTHING = float("-inf")
"""`since` for a source whose history counts too."""

ZERO = Counter(0, 0)


class Known(NamedTuple):
    """What the journal remembers of a source."""

    run: str
    read_at: float
    counters: Mapping[Key, Counter]


class Growth(NamedTuple):
    amounts: dict[Key, Counter]
    """Only keys that grew."""
    baseline: bool
    """The counters existed before the agent watched: they were remembered and not counted."""
    fallen: tuple[Key, ...]
    """Counters that fell within a run: another program resets them."""


def growth(reading: Reading, known: Known | None, since: float) -> Growth:
    """The traffic since `known`.

    A source that was never read before counts from 0 only if its run began at `since` (Unix
    seconds) or later; otherwise its counters are a baseline.
    """
    if known is not None and known.run == reading.run:
        return _within_run(reading.counters, known.counters)
    if known is not None:
        # The earlier of the two: the clock may have been set back since.
        since = min(known.read_at, reading.read_at) - CLOCK_TOLERANCE
    if _is_history(reading.began, known, since):
        return Growth({}, baseline=True, fallen=())
    return Growth({key: now for key, now in reading.counters.items() if any(now)}, False, ())


def _is_history(began: float | None, known: Known | None, since: float) -> bool:
    """Whether the counters show what flowed before the agent watched.

    A new run that began before the last reading is another core under the same name.
    """
    if began is None:
        return known is None and since > COUNT_EVERYTHING
    return began < since


def _within_run(counters: Mapping[Key, Counter], before: Mapping[Key, Counter]) -> Growth:
    amounts: dict[Key, Counter] = {}
    fallen: list[Key] = []
    for key, now in counters.items():
        old = before.get(key, ZERO)
        if now == old:
            continue
        if now.up < old.up or now.down < old.down:
            fallen.append(key)
        grown = Counter(_difference(now.up, old.up), _difference(now.down, old.down))
        if any(grown):
            amounts[key] = grown
    return Growth(amounts, baseline=False, fallen=tuple(fallen))


def _difference(now: int, old: int) -> int:
    return now - old if now >= old else now
