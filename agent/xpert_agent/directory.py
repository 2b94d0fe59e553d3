"""The panel's list of servers, kept in the journal so that an agent can start without the panel."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping

from xpert_agent.journal.database import Database
from xpert_agent.mapping import Listed, Mapper, People, SourceMap
from xpert_agent.panel import Panel
from xpert_agent.sources.base import Endpoint

REFRESH = 60 * 60.0
REFRESH_FOR_UNKNOWN = 5 * 60.0
"""Seconds between two questions to the panel; sooner while a source names an unknown server."""
FORGET = 31 * 24 * 60 * 60.0
"""Seconds that a name stays known after it left the list: apps keep an old list for a while."""


class Directory:
    """Any thread may call."""

    def __init__(self, database: Database, panel: Panel, people: People) -> None:
        self._database = database
        self._panel = panel
        self._people = people
        self._lock = threading.Lock()
        self._listed, self._seen = _decoded(database.fact("servers"))
        self._asked_at = 0.0

    def mapper(self, source: SourceMap) -> Mapper:
        with self._lock:
            return Mapper(self._people, self._listed, source)

    def __len__(self) -> int:
        return len(self._listed)

    def is_due(self, now: float, has_unknown: bool) -> bool:
        wait = REFRESH_FOR_UNKNOWN if has_unknown or not self._listed else REFRESH
        return bool(self._panel.address.token) and not 0 <= now - self._asked_at < wait

    def refresh(self, now: float) -> None:
        """Asks the panel; raises `PanelError`. An empty list (over the limit) changes nothing."""
        self._asked_at = now
        fresh = self._panel.servers()
        with self._lock:
            self._seen |= dict.fromkeys(fresh, now)
            kept = {
                name: one for name, one in self._listed.items() if now - self._seen[name] < FORGET
            }
            self._listed = {**kept, **fresh}
            self._database.keep_facts({"servers": _encoded(self._listed, self._seen)})


def _encoded(listed: Mapping[str, Listed], seen: Mapping[str, float]) -> str:
    return json.dumps(
        {name: [*one.endpoint, one.measured, int(seen[name])] for name, one in listed.items()}
    )


def _decoded(text: str) -> tuple[dict[str, Listed], dict[str, float]]:
    listed, seen = {}, {}
    for name, (host, port, protocol, measured, seen_at) in json.loads(text or "{}").items():
        listed[name] = Listed(Endpoint(host, port, protocol), measured)
        seen[name] = float(seen_at)
    return listed, seen
