"""All finders together, bounded in time, each core once."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Callable, TypeVar

from xpert_agent.sources.base import Found

Item = TypeVar("Item")
Answer = TypeVar("Answer")

PROBE_SECONDS = 2.0
UNEXPECTED = (OSError, ValueError, TypeError, AttributeError, LookupError)
"""Errors that reading a document of an unexpected form raises."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found out about this machine, for people and for the agent."""

    found: str
    """One sentence: what is here."""
    cannot_know: str
    """One sentence: what is not known although it is read; or what to do so that it can be."""
    source: Found | None = None
    """How to read it; None: as it is it cannot be read."""


def in_parallel(
    ask: Callable[[Item], Answer], items: Sequence[Item], seconds: float = PROBE_SECONDS
) -> list[Answer]:
    """The answers that came in time, in the order of the items.

    A named pipe has no time-out. Threads that hang in one are left behind as daemons.
    """
    answers: dict[int, Answer] = {}

    def ask_one(number: int) -> None:
        with suppress(*UNEXPECTED):
            answers[number] = ask(items[number])

    threads = [
        threading.Thread(target=ask_one, args=(number,), daemon=True)
        for number in range(len(items))
    ]
    for thread in threads:
        thread.start()
    deadline = monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    return [answers[number] for number in sorted(answers.copy())]


def first_of_each(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[Item]:
    """The items in their order, without those whose key an earlier one had."""
    first: dict[Hashable, Item] = {}
    for item in items:
        first.setdefault(key(item), item)
    return list(first.values())


def each_core_once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Without further ways to a core that was found already."""
    cores: set[str] = set()
    for finding in findings:
        core = finding.source.core if finding.source else ""
        if not core or core not in cores:
            yield finding
        cores.add(core)
