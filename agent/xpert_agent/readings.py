"""Meter readings on the wire: what goes to the panel, and what its answer says to each line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from xpert_agent.journal.outbox import Answer, Line
from xpert_agent.journal.overview import SourceState

MAX_BYTES = 4 * 1024 * 1024 - 64 * 1024
"""Size of the readings in one message; the panel accepts 4 MiB, decoded."""
MAX_LINES = 1_000
"""Lines in one message. The panel accepts 10,000; fewer need less memory here."""


class NotAnAnswerError(Exception):
    """Whoever answered is not an Xpert Panel."""


@dataclass(frozen=True)
class Message:
    """Lines of one run, encoded."""

    run: int
    lines: tuple[Line, ...]
    readings: str
    """The lines as JSON, separated by commas."""

    def body(self, meter: str, sources: Sequence[SourceState]) -> bytes:
        """Compressed, as it is sent."""
        head = json.dumps(
            {"meter": meter, "run": self.run, "sources": [_source(one) for one in sources]}
        )
        return gzip.compress(f'{head[:-1]}, "readings": [{self.readings}]}}'.encode(), 6, mtime=0)


def messages(lines: Sequence[Line], clock_offset: float, max_lines: int) -> Iterator[Message]:
    """The lines in their order, as few messages as the panel's limits allow.

    `clock_offset`: seconds that the panel's clock is ahead of ours.
    """
    for run, group in groupby(lines, lambda line: line.run):
        chunk: list[Line] = []
        encoded: list[str] = []
        size = 0
        for line in group:
            text = json.dumps(_reading(line, clock_offset), separators=(",", ":"))
            if chunk and (len(chunk) == max_lines or size + len(text) > MAX_BYTES):
                yield Message(run, tuple(chunk), ",".join(encoded))
                chunk, encoded, size = [], [], 0
            chunk.append(line)
            encoded.append(text)
            size += len(text) + 1
        yield Message(run, tuple(chunk), ",".join(encoded))


def answers(lines: Sequence[Line], body: Any) -> list[Answer]:
    """What a 200, or a 400 with `rejected`, says to each line; raises `NotAnAnswerError`."""
    if not isinstance(body, dict):
        raise NotAnAnswerError
    said = {index: Answer(line) for index, line in enumerate(lines)}
    try:
        for one in body["rejected"]:
            said[one["index"]] = _refused(lines[one["index"]], one["errors"])
        for one in body.get("stale", ()):
            said[one["index"]] = Answer(lines[one["index"]], stale_run=int(one["run"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise NotAnAnswerError from error
    return list(said.values())


def _refused(line: Line, errors: Any) -> Answer:
    named = errors if isinstance(errors, dict) else {"": errors}
    text = "; ".join(f"{name}: {_first(said)}".removeprefix(": ") for name, said in named.items())
    return Answer(
        line,
        refusal=text or "refused without a reason",
        refused_time=set(named) == {"timestamp"},
        refused_run=set(named) == {"run"},
    )


def _first(said: Any) -> str:
    return str(said[0] if isinstance(said, list) and said else said)


def _reading(line: Line, clock_offset: float) -> dict[str, object]:
    target = line.target
    return {
        "user_token" if target.by_token else "person": target.person,
        "server": target.endpoint.host,
        "port": target.endpoint.port,
        "protocol": target.endpoint.protocol,
        "total_uploaded": line.total.up,
        "total_downloaded": line.total.down,
        "timestamp": int(line.read_at + clock_offset),
    }


def _source(state: SourceState) -> dict[str, object]:
    said = state.error or " ".join(state.problems)
    read_at = None if state.read_at is None else int(state.read_at)
    return {
        "name": state.name,
        "kind": state.kind,
        "ok": not said,
        "read_at": read_at,
        "error": said[:500],
    }
