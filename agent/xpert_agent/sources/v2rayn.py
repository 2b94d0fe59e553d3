"""v2rayN on Windows, Linux and macOS: its database, and its Xray core while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import ClassVar
from uuid import uuid4

from xpert_agent.sources import v2rayn_files
from xpert_agent.sources.base import Key, Option, Reading, Store
from xpert_agent.sources.v2rayn_ledger import Ledger

_STATISTICS_ARE_OFF = (
    "v2rayN counts nothing: switch on “Enable traffic statistics” in its settings and start it "
    "again."
)


class V2rayN:
    """Reads one v2rayN; everything in it is the installation's own person's."""

    kind: ClassVar[str] = "v2rayn"
    options: ClassVar[tuple[Option, ...]] = (
        Option("folder", "v2rayN's folder, in which the folder guiConfigs is"),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        self._folder = Path(options["folder"])
        self._store = store
        self._state = store.load()
        self._run = self._state.get("run") or uuid4().hex
        self._began = self._state.get("began") or time()
        self._ledger = Ledger.restored(self._state.get("ledger") or {})

    def read(self) -> Reading:
        """The sums now; raises `SourceError`."""
        rows = v2rayn_files.rows(self._folder)
        settings = v2rayn_files.settings(self._folder)
        core = v2rayn_files.live(self._folder)  # last: it then holds all that the database has
        self._ledger.look(rows, core, settings.active)
        self._save()
        counters = {Key("", name): counter for name, counter in self._ledger.counters().items()}
        problems = () if settings.counts else (_STATISTICS_ARE_OFF,)
        endpoints = self._ledger.endpoints()
        return Reading(self._run, self._began, counters, time(), problems, endpoints)

    def close(self) -> None:
        """Nothing is held open between two readings."""

    def _save(self) -> None:
        """Saves before the sums are reported: a reported sum must not be smaller after a crash."""
        state = {"run": self._run, "began": self._began, "ledger": self._ledger.state()}
        if state != self._state:
            self._store.save(state)
            self._state = state
