"""The Xray of a gateway. Its users are one person on one server each: `p17-s0a1b…`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from xpert_agent.sources import xray_runs, xray_stats
from xpert_agent.sources.base import Counter, Key, Option, Reading, SourceError, Store
from xpert_agent.sources.gateway import endpoints
from xpert_agent.sources.xray_runs import Final


class XrayGateway:
    kind: ClassVar[str] = "xray-gateway"
    options: ClassVar[tuple[Option, ...]] = (
        Option("port", "of the core's own interface"),
        Option("folder", "where the gateway keeps its runs"),
        Option("servers", "the file that says where each server is"),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._port = int(options["port"])
        self._folder = Path(options["folder"])
        self._servers = Path(options["servers"])
        self._store = store
        self._told: Final | None = None

    def read(self) -> Reading:
        """What a run had at its end comes before anything of the next run."""
        try:
            run = xray_runs.current(self._folder)
        except (OSError, ValueError) as error:
            raise SourceError("The core was not started yet.") from error
        final = next(xray_runs.finals(self._folder, self._store.read_at()), None)
        if final is not None:
            return self._reading(final)
        now = time.time()
        counters = xray_stats.users(self._port)
        if xray_runs.current(self._folder) != run:
            raise SourceError("The core was started again while it was read.")
        return self._reading(Final(run, now, counters))

    def close(self) -> None:
        """Nothing is held open between two readings."""

    def _reading(self, found: Final) -> Reading:
        counters = dict(_keyed(self._news(found)))
        run, self._told = found.run, found
        return Reading(
            run.name, run.began, counters, found.read_at, endpoints=endpoints(self._servers)
        )

    def _news(self, found: Final) -> Iterator[tuple[str, Counter]]:
        """Without the counters that the journal has: few of twenty thousand move between two readings."""
        told = self._told
        known: Mapping[str, Counter] = {}
        if told is not None and (told.run, told.read_at) == (found.run, self._store.read_at()):
            known = told.counters
        return (one for one in found.counters.items() if known.get(one[0]) != one[1])


def _keyed(counters: Iterable[tuple[str, Counter]]) -> list[tuple[Key, Counter]]:
    parts = ((user, user.partition("-")[2], counter) for user, counter in counters)
    return [(Key(user, server), counter) for user, server, counter in parts if server]
