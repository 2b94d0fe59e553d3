"""Adds up sing-box's connection events so that each byte is counted once, whoever is killed.

sing-box reports an open connection again, with its totals, to every new subscriber, and keeps
reporting closed ones for a while. The booked bytes of each connection are therefore kept on disk.

Every figure it reports of a connection is at most what the connection has carried: an event and
its totals are not made in one step, and the last bytes are sometimes counted only after the
connection was reported closed. So the greatest figure counts, and closed connections are looked
up once more (`check`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

from xpert_agent.sources.base import UNEXPLAINED, Counter, Key
from xpert_agent.sources.singbox_events import CLOSED, NEW, Connection, Event, connection

LISTED = 1000
"""Closed connections that sing-box lists at most."""
REMEMBERED = 4 * LISTED
"""Closed connections. Some close between the making of a list and the look at it: one that was forgotten by then
would be taken for a new one and count twice."""
PAGE = 250
"""Sums that are encoded together: all of a gateway would be a megabyte at every reading."""


class Booked(NamedTuple):
    """A connection and what has been booked of it."""

    key: Key
    up: int
    down: int


class Ledger:
    """Not for several threads at once."""

    def __init__(self, state: dict[str, Any], now: float, by_inbound: bool) -> None:
        """Goes on from `state`, or begins now (Unix seconds)."""
        self._by_inbound = by_inbound
        head = state.get("head") or {}
        self.run: str = head.get("run") or secrets.token_hex(8)
        self.began: float = head.get("began") or now
        self.core: int = head.get("core", 0)
        """When it has started, in Unix milliseconds."""
        self.accounted = Counter(*head.get("accounted", (0, 0)))
        """Bytes of this core that were booked, or that flowed before `began`."""
        self._elsewhere: Counter | None = (
            Counter(*head["elsewhere"]) if head.get("elsewhere") else None
        )
        self._unexplained = Counter(*head.get("unexplained", (0, 0)))
        self._unexplained_before = Counter(*head.get("unexplained_before", (0, 0)))
        self._last_status = Counter(*head["status"]) if head.get("status") else None
        self._sums: dict[Key, Counter] = {}
        self._open: dict[str, Booked] = {}
        self._streamed: dict[str, Counter] = {}
        """What the stream has told of open connections, which may be less than was booked."""
        self._closed: dict[str, None] = {}
        self.closings = 0
        """How many connections have closed since the agent began."""
        self._unchecked = {
            identity: Booked(Key(person, server), up, down)
            for identity, person, server, up, down in head.get("unchecked", ())
        }
        """Closed connections whose last bytes may not have been told."""
        self._closed_as: dict[str, bytes] = {}
        """The undecoded event with which each of them closed. The same event again needs no decoding."""
        self._missing: set[str] = set()
        self._pages: list[list[Key]] = []
        """The keys of the sums, in the order in which they were seen."""
        self._page_of: dict[Key, int] = {}
        self._stale_pages: set[int] = set()
        self._touched_sums: set[Key] = set()
        self._touched_open: set[str] = set()
        self._newly_closed: list[str] = []
        self._base: dict[str, str] = {}
        self._chunks: dict[str, str] = {}
        for name in sorted(state.keys() - {"head"}):
            self._load(json.loads(state[name]))
        self.rebase()

    @property
    def unsaved_closings(self) -> int:
        return len(self._newly_closed)

    def counters(self) -> dict[Key, Counter]:
        lost = _plus(self._unexplained, self._unexplained_before)
        return {**self._sums, Key("", UNEXPLAINED): lost} if any(lost) else dict(self._sums)

    # Events

    def begin_core(self, started_at: int) -> None:
        """The core says when it started (Unix milliseconds): a new one has new connections."""
        if started_at == self.core:
            return
        if self._last_status is not None:
            # Nothing more comes of the core before: what it has not told is missing for good.
            self.compare(self._last_status)
        for known in (
            self._open, self._streamed, self._closed, self._unchecked, self._closed_as,
        ):  # fmt: skip
            known.clear()
        self._unexplained_before = _plus(self._unexplained_before, self._unexplained)
        self._unexplained = self.accounted = Counter(0, 0)
        self._elsewhere = Counter(0, 0) if started_at / 1000 >= self.began else None
        self._last_status = None
        self.core = started_at
        self.rebase()

    def begin_stream(self, listed: Iterable[Event]) -> None:
        """The first message of a subscription: all open connections, and some that have closed."""
        self._streamed.clear()
        still_there = set()
        for event in listed:
            still_there.add(event.id)
            told = connection(event.connection)
            self._found(event.id, told)
            if event.id in self._open:
                self._streamed[event.id] = Counter(told.up, told.down)
        self._forget_vanished(still_there)

    def take(self, event: Event) -> None:
        """Books one later event; raises ValueError for a broken one."""
        if event.kind == NEW:
            self._new(event.id, connection(event.connection))
        elif event.kind == CLOSED:
            self._close(event.id, connection(event.connection) if event.connection else None)
            if event.id in self._unchecked:
                self._closed_as[event.id] = event.connection
        elif event.id in self._open:
            before = self._streamed.get(event.id, Counter(0, 0))
            told = self._streamed[event.id] = _plus(before, Counter(event.up, event.down))
            self._book(event.id, told)

    def check(self, listed: Iterable[Event], asked: Iterable[str]) -> None:
        """Books what another look at all connections tells. `asked`: what needs no further look."""
        for event in listed:
            if self._closed_as.get(event.id) != event.connection:
                self._found(event.id, connection(event.connection))
        for identity in asked:
            self._forget_unchecked(identity)

    def _forget_unchecked(self, identity: str) -> None:
        self._unchecked.pop(identity, None)
        self._closed_as.pop(identity, None)

    def unchecked(self) -> list[str]:
        """Closed connections that `check` has not seen."""
        return list(self._unchecked)

    def _found(self, identity: str, told: Connection) -> None:
        """One of a list: open, or closed of late."""
        if identity in self._unchecked:
            self._unchecked[identity] = self._raised(self._unchecked[identity], told)
        elif identity in self._closed:
            return
        elif told.is_closed:
            self._close(identity, told)
        else:
            self._opened(identity, told)
            self._book(identity, Counter(told.up, told.down))

    def _forget_vanished(self, still_there: set[str]) -> None:
        """After a new subscription: what it does not list has closed unseen.

        Only what is missing a second time is forgotten: a connection that closes at this moment is
        in neither of sing-box's lists, and its CLOSED still comes.
        """
        missing = self._open.keys() - still_there
        for gone in missing & self._missing:
            self._mark_closed(gone)
        self._missing = missing - self._missing

    def _new(self, identity: str, told: Connection) -> None:
        """The next UPDATE repeats these figures, except those of connections that were open before."""
        if told.is_closed:
            self._close(identity, told)
        elif identity not in self._closed and identity not in self._open:
            self._opened(identity, told)
            self._streamed[identity] = Counter(0, 0)

    def _close(self, identity: str, told: Connection | None) -> None:
        if identity in self._closed:
            return
        if told is not None:
            self._opened(identity, told)
            self._book(identity, Counter(told.up, told.down))
        self._mark_closed(identity)

    def _opened(self, identity: str, told: Connection) -> None:
        if identity in self._open:
            return
        key = Key(told.user, told.inbound if self._by_inbound else told.outbound)
        booked = Booked(key, 0, 0)
        if told.created_at < self.began:
            # It is older than the agent: what it has carried so far is not ours to count.
            self.accounted = _plus(self.accounted, Counter(told.up, told.down))
            booked = Booked(key, told.up, told.down)
        self._open[identity] = booked
        self._touched_open.add(identity)

    def _mark_closed(self, identity: str) -> None:
        booked = self._open.pop(identity, None)
        if booked is not None:
            self._unchecked[identity] = booked
        self._streamed.pop(identity, None)
        self._touched_open.discard(identity)
        self._newly_closed.append(identity)
        self._closed[identity] = None
        self.closings += 1
        if len(self._closed) > REMEMBERED:
            oldest = next(iter(self._closed))
            del self._closed[oldest]
            self._forget_unchecked(oldest)

    def _book(self, identity: str, told: Counter) -> None:
        booked = self._open[identity]
        raised = self._raised(booked, told)
        if raised != booked:
            self._open[identity] = raised
            self._touched_open.add(identity)

    def _raised(self, booked: Booked, told: Counter | Connection) -> Booked:
        """The booked bytes raised to the reported ones; the difference is added to the sums."""
        up, down = max(booked.up, told.up), max(booked.down, told.down)
        grown = Counter(up - booked.up, down - booked.down)
        if any(grown):
            self.accounted = _plus(self.accounted, grown)
            self._set_sum(booked.key, _plus(self._sums.get(booked.key, Counter(0, 0)), grown))
            self._touched_sums.add(booked.key)
        return Booked(booked.key, up, down)

    def _set_sum(self, key: Key, total: Counter) -> None:
        if key not in self._page_of:
            if not self._pages or len(self._pages[-1]) == PAGE:
                self._pages.append([])
            self._pages[-1].append(key)
            self._page_of[key] = len(self._pages) - 1
        self._sums[key] = total
        self._stale_pages.add(self._page_of[key])

    # The core's own total

    def control(self, status: Counter, accounted: Counter) -> None:
        """The core says what it has carried for everybody since it started.

        `accounted` is what was accounted for just before it was asked.
        """
        if self._elsewhere is None:
            self._elsewhere = _minus(status, accounted)
        self._last_status = status

    def compare(self, status: Counter) -> None:
        """Finds what is missing of a status. Events follow the bytes, so wait before it.

        What has flowed since the status hides as much of what is missing: it is never told too
        large, and exactly as soon as the core is idle for a moment.
        """
        if self._elsewhere is None:
            return
        missing = _minus(_minus(status, self._elsewhere), self.accounted)
        self._unexplained = Counter(
            max(missing.up, self._unexplained.up), max(missing.down, self._unexplained.down)
        )

    # On disk

    def state(self) -> dict[str, Any]:
        """What `__init__` goes on from: a base, and one chunk for each call since it was made."""
        if self._touched_sums or self._touched_open or self._newly_closed:
            self._chunks[f"chunk {len(self._chunks):06}"] = self._encoded(
                self._touched_sums, self._touched_open, self._newly_closed
            )
            self._forget_touched()
        head = {
            "run": self.run,
            "began": self.began,
            "core": self.core,
            "accounted": self.accounted,
            "elsewhere": self._elsewhere,
            "status": self._last_status,
            "unexplained": self._unexplained,
            "unexplained_before": self._unexplained_before,
            "unchecked": [
                [identity, *booked.key, *booked[1:]] for identity, booked in self._unchecked.items()
            ],
        }
        return {"head": head, **self._base, **self._chunks}

    def rebase(self) -> None:
        """Makes all of it the base of the next states."""
        for number in self._stale_pages:
            self._base[f"base {number:06}"] = self._encoded(self._pages[number], (), ())
        self._stale_pages.clear()
        self._base["base of connections"] = self._encoded((), self._open, self._closed)
        self._chunks.clear()
        self._forget_touched()

    def _forget_touched(self) -> None:
        self._touched_sums.clear()
        self._touched_open.clear()
        self._newly_closed.clear()

    def _encoded(self, keys: Iterable[Key], opened: Iterable[str], closed: Iterable[str]) -> str:
        part = {
            "sums": [[*key, *self._sums[key]] for key in keys],
            "open": [[one, *self._open[one].key, *self._open[one][1:]] for one in opened],
            "closed": ",".join(closed),
        }
        return json.dumps(part, separators=(",", ":"))

    def _load(self, part: dict[str, Any]) -> None:
        for person, server, up, down in part.get("sums", ()):
            self._set_sum(Key(person, server), Counter(up, down))
        for identity, person, server, up, down in part.get("open", ()):
            self._open[identity] = Booked(Key(person, server), up, down)
        for identity in filter(None, part.get("closed", "").split(",")):
            self._open.pop(identity, None)
            self._closed[identity] = None
        for identity in list(self._closed)[:-REMEMBERED]:
            del self._closed[identity]


def _plus(one: Counter, other: Counter) -> Counter:
    return Counter(one.up + other.up, one.down + other.down)


def _minus(one: Counter, other: Counter) -> Counter:
    return Counter(one.up - other.up, one.down - other.down)
