"""Fakes of the agent's journal, its clock and a core's own interface."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from xpert_agent.growth import Known, growth
from xpert_agent.sources import complete_options, open_source
from xpert_agent.sources.base import Counter, Key, Reading, Source

START = 1_795_886_637.0


class MemoryStore:
    """A `Store` that keeps what the disk would keep: JSON."""

    def __init__(self) -> None:
        self.text = "{}"
        self.saves = 0
        self.full = False

    def load(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.text)
        return loaded

    def read_at(self) -> float:
        return 0.0

    def update(self, changed: Iterable[tuple[str, Any]], gone: Iterable[str]) -> None:
        state, dropped = {**self.load(), **dict(changed)}, set(gone)
        self.save({name: value for name, value in state.items() if name not in dropped})

    def save(self, state: dict[str, Any]) -> None:
        if self.full:
            raise OSError("No space left on device")
        self.text = json.dumps(state)
        self.saves += 1


class Clock:
    """Time that moves when a test says so."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Core:
    """A core's HTTP interface: what it answers, and what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.url = ""


@contextmanager
def http_core() -> Iterator[Core]:
    """A core on a loopback port of its own."""
    core = Core()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            core.asked.append((self.path, dict(self.headers)))
            text = core.body if isinstance(core.body, str) else json.dumps(core.body)
            self.send_response(core.status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    core.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield core
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def opened(kind: str, store: MemoryStore | None = None, **options: str) -> Source:
    """A source as the agent opens it."""
    return open_source(kind, complete_options(kind, options), store or MemoryStore())


class Journal:
    """What the agent books of a source's readings, over restarts of the agent too."""

    def __init__(self, since: float = START) -> None:
        self.sums: dict[tuple[str, str], tuple[int, int]] = {}
        self._since = since
        self._known: Known | None = None
        self._counters: dict[Key, Counter] = {}

    def read(self, source: Source) -> dict[tuple[str, str], tuple[int, int]]:
        """Takes one more reading; (person, server) -> bytes booked until now."""
        return self.take(source.read())

    def take(self, reading: Reading) -> dict[tuple[str, str], tuple[int, int]]:
        grown = growth(reading, self._known, self._since)
        same_run = self._known is not None and self._known.run == reading.run
        self._counters = {**(self._counters if same_run else {}), **reading.counters}
        self._known = Known(reading.run, reading.read_at, self._counters)
        for (person, server), (up, down) in grown.amounts.items():
            before = self.sums.get((person, server), (0, 0))
            self.sums[person, server] = (before[0] + up, before[1] + down)
        return self.sums


def booked(reading: Reading) -> dict[tuple[str, str], tuple[int, int]]:
    """Counters as plain tuples."""
    return {
        (key.person, key.server): (counter.up, counter.down)
        for key, counter in reading.counters.items()
    }
