"""Sums of growth, for cores whose counters fall, disappear, or belong to a session.

The core's own values are marks: where its counter stood when it was last looked at. What
grew since the mark is added to a sum that never falls. Marks and sums are saved together.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from threading import RLock
from types import MappingProxyType
from typing import Any, Callable, NamedTuple

from xpert_agent.sources.base import Counter, Endpoint, Key, Reading, Store

THIS_SERVER = "(this server)"
"""The server's name in a source that counts for one server and does not know its address."""

_NO_ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType({})
_MARK, _SUM, _NOTE = "mark ", "sum ", "note "


class Part(NamedTuple):
    """One counter of the core: whose bytes it counts, and where it stands."""

    key: Key
    counter: Counter


class Fall(Enum):
    """What it means when a counter is smaller than before."""

    ALONE = "this counter began at 0 again"
    TOGETHER = "the core began again, and so did all its counters"
    RESTORED = "the core went back to an older value, which has been counted already"


class Tally:
    """Sums per person and server in a source's `Store`. Any thread may call it.

    The run of the sums begins when the source is opened for the first time, and never ends.
    """

    def __init__(
        self, store: Store, *, history: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        """`history`: the first look shows what flowed before, so the run has no known beginning.

        Without it the caller counts nothing that flowed before `began`.
        """
        self.clock = clock
        self.lock = RLock()
        self._store = store
        self._history = history
        state = store.load()
        about = state.get("about", {})
        self.run: str = about.get("run") or secrets.token_hex(8)
        self.began: float = about.get("began") or clock()
        self._epoch: str | None = about.get("epoch")
        self.notes: dict[str, Any] = _entries(state, _NOTE)
        """What the source keeps beside its sums. `save(force=True)` after a change."""
        self._noted = {name: json.dumps(note) for name, note in self.notes.items()}
        self._unsaved_marks: set[str] = set()
        self._unsaved_sums: set[Key] = set()
        self._marks = {name: Counter(*mark) for name, mark in _entries(state, _MARK).items()}
        self._sums = {
            Key(*json.loads(name)): Counter(*both) for name, both in _entries(state, _SUM).items()
        }
        self._changed = not state

    def observe_all(
        self, parts: Mapping[str, Part], epoch: str = "", fall: Fall = Fall.ALONE
    ) -> None:
        """Books the growth of every counter the core has, by the core's name for each.

        A new counter counts from 0, and so do all of them when `epoch` changes.
        """
        with self.lock:
            new_epoch = epoch != self._epoch
            if new_epoch or (fall is Fall.TOGETHER and self._any_fell(parts)):
                self.forget(list(self._marks))
            if fall is not Fall.RESTORED:
                self.forget(self._marks.keys() - parts.keys())
            for name, part in parts.items():
                restored = fall is Fall.RESTORED and self.fell(name, part.counter)
                self.observe(name, part, from_zero=True, restored=restored)
            self._changed = self._changed or new_epoch
            self._epoch = epoch

    def observe(self, name: str, part: Part, *, from_zero: bool, restored: bool = False) -> None:
        """Books the growth of one counter; a new one counts whole if it began `from_zero`.

        A counter that fell counts whole, unless its older value was `restored`.
        """
        with self.lock:
            growth = self._growth(name, part.counter, from_zero)
            if self._marks.get(name) != part.counter:
                self._marks[name] = part.counter
                self._unsaved_marks.add(name)
            if not restored and growth != (0, 0):
                old = self._sums.get(part.key, Counter(0, 0))
                self._sums[part.key] = Counter(old.up + growth.up, old.down + growth.down)
                self._unsaved_sums.add(part.key)

    def fell(self, name: str, now: Counter) -> bool:
        """Whether this counter is smaller than when it was last observed."""
        mark = self._marks.get(name)
        return mark is not None and (now.up < mark.up or now.down < mark.down)

    def has_seen(self, name: str) -> bool:
        """Whether this counter was observed, and not forgotten."""
        return name in self._marks

    def forget(self, names: Iterable[str]) -> None:
        """Drops marks; the sums stay."""
        with self.lock:
            self._unsaved_marks.update(
                name for name in names if self._marks.pop(name, None) is not None
            )

    def save(self, *, force: bool = False) -> None:
        """Puts marks, sums and notes on disk if something has changed."""
        with self.lock:
            if self._changed or self._unsaved_marks or self._unsaved_sums or force:
                noted = {name: json.dumps(note) for name, note in self.notes.items()}
                self._store.update(self._unsaved(noted), self._gone(noted))
                self._noted = noted
                self._unsaved_marks.clear()
                self._unsaved_sums.clear()
                self._changed = False

    def _unsaved(self, noted: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
        """The entries that are new since the last time; there may be tens of thousands in all."""
        yield "about", {"run": self.run, "began": self.began, "epoch": self._epoch}
        for name in self._unsaved_marks & self._marks.keys():
            yield _MARK + name, self._marks[name]
        for key in self._unsaved_sums:
            yield _SUM + json.dumps(key), self._sums[key]
        for name, text in noted.items():
            if self._noted.get(name) != text:
                yield _NOTE + name, self.notes[name]

    def _gone(self, noted: Mapping[str, str]) -> Iterator[str]:
        yield from (_MARK + name for name in self._unsaved_marks - self._marks.keys())
        yield from (_NOTE + name for name in self._noted.keys() - noted.keys())

    def is_kept(self) -> bool:
        """Whether what was saved can be loaded: a check has a store that forgets everything."""
        return bool(self._store.load())

    def reading(
        self, problems: Iterable[str] = (), endpoints: Mapping[str, Endpoint] = _NO_ENDPOINTS
    ) -> Reading:
        """The sums, which are on disk then."""
        with self.lock:
            self.save()
            return Reading(
                run=self.run,
                began=None if self._history else self.began,
                counters=dict(self._sums),
                read_at=self.clock(),
                problems=tuple(problems),
                endpoints=endpoints,
            )

    def _growth(self, name: str, now: Counter, from_zero: bool) -> Counter:
        mark = self._marks.get(name)
        if mark is None:
            return now if from_zero else Counter(0, 0)
        if self.fell(name, now):
            return now
        return Counter(now.up - mark.up, now.down - mark.down)

    def _any_fell(self, parts: Mapping[str, Part]) -> bool:
        vanished = self._marks.keys() - parts.keys()
        return bool(vanished) or any(self.fell(name, part.counter) for name, part in parts.items())


def _entries(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The state's entries of one kind: each is a row of its own on disk."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
