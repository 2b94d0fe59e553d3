"""What an agent has done, from its journal; the agent may be running."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from xpert_agent.gateway.counts import Counts
from xpert_agent.journal.database import Database
from xpert_agent.journal.overview import Overview
from xpert_agent.sources.base import Counter
from xpert_agent.state import State, StateError


def status(state: State) -> int:
    """Prints it; 1 if something needs attention. Raises `StateError`, sqlite3.Error."""
    if not state.journal.exists():
        raise StateError(f"{state.folder} has no journal: no agent has run with it yet.")
    database = Database(state.journal, time.time())
    lines = list(_lines(state, database))
    print("\n".join(lines))  # noqa: T201
    database.close()
    return int(any(line.startswith("!") for line in lines))


def _lines(state: State, database: Database) -> Iterator[str]:
    running = state.is_running()
    yield f"{'  ' if running else '! '}{state.folder}: {'running' if running else 'not running'}"
    yield f"  meter {database.fact('meter')}"
    yield from _sending(database)
    overview = Overview(database)
    for source in overview.sources():
        said = source.error or " ".join(source.problems)
        yield f"{'! ' if said else '  '}{source.name} ({source.kind}): read {_when(source.read_at)}{said and f'; {said}'}"
    yield from _amounts(overview)
    yield from _core(Counts(state.folder))


def _core(counts: Counts) -> Iterator[str]:
    """The core that a gateway runs."""
    if counts.deaths or counts.reloads:
        yield f"  the core was loaded again {counts.reloads} times and ended by itself {counts.deaths} times"
    if counts.deaths:
        yield "  what it had carried since the last reading before each of these ends is not counted"


def _sending(database: Database) -> Iterator[str]:
    sent_at, error = database.fact("sent_at"), database.fact("send_error")
    if error:
        yield f"! {error}"
    yield f"  the panel answered {_when(float(sent_at) if sent_at else None)}"


def _amounts(overview: Overview) -> Iterator[str]:
    rows = overview.rows()
    counted, unsent = _sum([row.total for row in rows]), _sum([row.unsent for row in rows])
    yield f"  counted {human(counted)} in {len(rows)} rows (person and server); not confirmed yet {human(unsent)}"
    if overview.snapshots():
        yield f"  {overview.snapshots()} totals of earlier hours wait to be sent"
    for row in rows:
        if row.rejected:
            host, port, protocol = row.target.endpoint
            yield f"! the panel refuses {host}:{port} {protocol}, {human(row.unsent)}: {row.rejected}"
    for one in overview.unmapped():
        person = f"{one.key.person} at " if one.key.person else ""
        yield f"! {one.source}: {person}{one.key.server or 'no name'}, {human(one.amount)}: {one.reason}"


def _sum(counters: list[Counter]) -> Counter:
    return Counter(sum(one.up for one in counters), sum(one.down for one in counters))


def human(amount: Counter) -> str:
    """ "1.2 MB up, 3.4 GB down", 1 GB being 2^30 bytes."""
    return f"{_size(amount.up)} up, {_size(amount.down)} down"


def _size(amount: int) -> str:
    size, unit = float(amount), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{amount} B" if unit == "B" else f"{size:.1f} {unit}"


def _when(moment: float | None) -> str:
    if moment is None:
        return "never"
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
