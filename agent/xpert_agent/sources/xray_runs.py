"""Runs of a gateway's Xray: which one its counters belong to, and what was read of one just before its end.

The gateway starts and ends its core itself, so it knows what other sources have to guess. Its core
loses all counters when it ends; a core that is ended on purpose is read once more, right before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from xpert_agent.secret_files import write_secret
from xpert_agent.sources.base import Counter


class Run(NamedTuple):
    name: str
    began: float
    """Unix seconds."""


class Final(NamedTuple):
    """The last counters of a run, by user."""

    run: Run
    read_at: float
    counters: Mapping[str, Counter]


def begin(folder: Path, now: float) -> None:
    """Before a core starts. Raises OSError."""
    write_secret(_run_file(folder), json.dumps([uuid4().hex, now]))


def current(folder: Path) -> Run:
    """Raises OSError and ValueError."""
    name, began = json.loads(_run_file(folder).read_text(encoding="utf-8"))
    return Run(name, began)


def keep(folder: Path, final: Final) -> None:
    """On disk when it returns. Raises OSError."""
    path = folder / f"xray-final-{final.read_at:017.6f}.json"
    write_secret(path, json.dumps([final.run, final.read_at, final.counters]))


def finals(folder: Path, after: float) -> Iterator[Final]:
    """Those that were read after a moment, the oldest first; the others are deleted."""
    for path in sorted(folder.glob("xray-final-*.json")):
        final = _final(path)
        if final is not None and final.read_at > after:
            yield final
        else:
            path.unlink(missing_ok=True)


def _final(path: Path) -> Final | None:
    try:
        run, read_at, counters = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Final(Run(*run), read_at, {user: Counter(*sums) for user, sums in counters.items()})


def _run_file(folder: Path) -> Path:
    return folder / "xray.run"
