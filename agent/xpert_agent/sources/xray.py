"""Xray and v2ray: counters of users, or of outbounds on a computer where there are no users.

A counter may jump by gigabytes at once, because the core adds spliced connections (XTLS Vision,
raw TCP) only when they end. No rate is ever "too fast" here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from sys import intern
from time import time
from typing import Any, ClassVar
from uuid import uuid4

from xpert_agent.sources import xray_config, xray_stats
from xpert_agent.sources.base import Counter, Key, Option, Reading, SourceError, Store
from xpert_agent.sources.xray_stats import Snapshot, fell

_CLOCK_MARGIN = 2.0
"""Seconds by which the core's whole seconds of uptime and our clock may differ."""
_LONG_AGO = 0.0
"""When a core began that the agent has not watched: all it tells at first is history."""
_COUNTS = ("auto", "users", "outbounds")
_NAMES = ("person@server", "person")
_NOTHING_COUNTED = (
    "The core counts nothing yet. If this stays, its configuration lacks emails of users with "
    "statsUserUplink and statsUserDownlink, or tags of outbounds with statsOutboundUplink and "
    "statsOutboundDownlink."
)


@dataclass(frozen=True)
class _Run:
    """The core's process as it was read last."""

    name: str
    began: float | None
    read_at: float
    growing: Mapping[str, int]
    """See `Snapshot`."""
    sums: tuple[int, int, int]
    """How many counters there are and what they come to: whether any has moved."""


class Xray:
    """Reads one Xray or v2ray core."""

    kind: ClassVar[str] = "xray"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "url", "http://127.0.0.1:11111/debug/vars (metrics) or grpc://127.0.0.1:10085 (API)"
        ),
        Option("count", "users, outbounds, or auto: users from the first one that is seen", "auto"),
        Option("names", "how users are named: person@server, or person", "person@server"),
        Option("config", "the core's configuration file, which says where outbounds lead", ""),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._fetch = xray_stats.reader(options["url"])
        self._count = _one_of(options, "count", _COUNTS)
        self._splits_names = _one_of(options, "names", _NAMES) == "person@server"
        self._config = options["config"]
        self._store = store
        self._was_refused = False
        self._url = options["url"]
        state = store.load()
        self._has_users = bool(state.get("has_users"))
        self._is_another_core = bool(state) and state["url"] != self._url
        self._run = _from_state(state) if state and not self._is_another_core else None

    def read(self) -> Reading:
        """The counters now; raises `SourceError`."""
        snapshot = self._fetched()
        self._has_users |= any(name.kind == "user" for name in snapshot.counters)
        run = self._following(snapshot, time())
        self._keep_if_changed(run)
        outbounds = xray_config.outbounds(self._config)
        odd = _odd_names(snapshot)
        counters = self._counters(snapshot, outbounds.nowhere)
        problems = (*odd, *(() if counters else (_NOTHING_COUNTED,)), *outbounds.problems)
        return Reading(run.name, run.began, counters, run.read_at, problems, outbounds.endpoints)

    def close(self) -> None:
        """Nothing is held open between two readings."""

    def _fetched(self) -> Snapshot:
        try:
            return self._fetch()
        except SourceError as error:
            self._was_refused |= isinstance(error.__cause__, ConnectionRefusedError)
            raise

    def _following(self, snapshot: Snapshot, now: float) -> _Run:
        last, was_refused = self._run, self._was_refused
        self._was_refused = False
        if last is None or _is_restarted(last, snapshot, now, was_refused):
            return _Run(uuid4().hex, self._began(snapshot, now), now, *_numbers(snapshot))
        growing, sums = _numbers(snapshot)
        return replace(last, read_at=now, growing=growing, sums=sums)

    def _began(self, snapshot: Snapshot, now: float) -> float | None:
        """When the process started; without an uptime, the latest moment at which it had not yet."""
        if snapshot.uptime is not None:
            return now - snapshot.uptime
        if self._run is not None:
            return self._run.read_at
        return _LONG_AGO if self._is_another_core else None

    def _keep_if_changed(self, run: _Run) -> None:
        last, self._run = self._run, run
        if last and last.name == run.name and last.sums == run.sums:
            return
        self._store.save(_to_state(run) | {"url": self._url, "has_users": self._has_users})

    def _counters(self, snapshot: Snapshot, nowhere: frozenset[str]) -> dict[Key, Counter]:
        """Takes the counters out of the snapshot, or there would be two of each."""
        users = self._count == "users" or (self._count == "auto" and self._has_users)
        totals: dict[Key, Counter] = {}
        while snapshot.counters:
            (kind, tag), counter = snapshot.counters.popitem()
            if kind == "user" and users:
                key = self._key(tag)
            elif kind == "outbound" and not users and tag not in nowhere:
                key = Key("", tag)
            else:
                continue
            other = totals.get(key)
            totals[key] = _plus(other, counter) if other else counter
        return totals

    def _key(self, user: str) -> Key:
        person, _, server = user.rpartition("@")
        if self._splits_names and person and server:
            return Key(person, intern(server))
        return Key(user, "")


def _one_of(options: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    if options[name] not in allowed:
        raise SourceError(f"“{name}” of xray is one of {', '.join(allowed)}.")
    return options[name]


def _is_restarted(last: _Run, snapshot: Snapshot, now: float, was_refused: bool) -> bool:
    """A new process. A later start alone proves nothing: uptime stands still in sleep."""
    if fell(last.growing, snapshot.growing):
        return True
    if snapshot.uptime is None or not was_refused:
        return False
    return now - snapshot.uptime > last.read_at + _CLOCK_MARGIN


def _odd_names(snapshot: Snapshot) -> list[str]:
    return [
        f"A name that begins with “{name}” holds >>>, so its traffic cannot be read."
        for name in sorted(snapshot.odd_names)
    ]


def _numbers(snapshot: Snapshot) -> tuple[Mapping[str, int], tuple[int, int, int]]:
    counters = snapshot.counters.values()
    sums = len(counters), sum(one.up for one in counters), sum(one.down for one in counters)
    return snapshot.growing, sums


def _plus(one: Counter, other: Counter) -> Counter:
    return Counter(one.up + other.up, one.down + other.down)


def _to_state(run: _Run) -> dict[str, Any]:
    return {
        "run": run.name,
        "began": run.began,
        "read_at": run.read_at,
        "growing": dict(run.growing),
        "sums": run.sums,
    }


def _from_state(state: Mapping[str, Any]) -> _Run:
    count, up, down = state["sums"]
    return _Run(state["run"], state["began"], state["read_at"], state["growing"], (count, up, down))
