"""Counts of reloads and deaths of a gateway's core, kept over restarts of the agent."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from xpert_agent.secret_files import write_secret

log = logging.getLogger(__name__)


class Counts:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "counts.json"
        self._numbers = _read(self._path)

    @property
    def reloads(self) -> int:
        """Each has ended all connections."""
        return self._numbers.get("reloads", 0)

    @property
    def deaths(self) -> int:
        """How often the core has ended without being told to, for example by a kill."""
        return self._numbers.get("deaths", 0)

    def count_reload(self) -> None:
        self._add("reloads")

    def count_death(self) -> None:
        self._add("deaths")

    def _add(self, name: str) -> None:
        """A full disk must not keep the core from being started."""
        self._numbers[name] = self._numbers.get(name, 0) + 1
        try:
            write_secret(self._path, json.dumps(self._numbers))
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
