"""Clash cores: mihomo, OpenClash, Clash Verge and other apps, sing-box by its clash_api."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from time import thread_time, time
from typing import Any, Callable, ClassVar
from uuid import uuid4

from xpert_agent.sources.base import Counter, Key, Option, Reading, SourceError, Store
from xpert_agent.sources.clash_log import ConnectionLog
from xpert_agent.sources.connection_ledger import Connection, Ledger
from xpert_agent.sources.controller import Controller

_SHORTEST_PAUSE, _IDLE_PAUSE, _LONGEST_PAUSE = 0.05, 0.2, 1.0
"""Seconds between two looks. The shorter, the fewer connections come and go unseen."""
_SHARE_OF_PROCESSOR = 0.007
_PATIENCE = 8.0
"""Seconds that a reading waits for a look; a named pipe has no time-out of its own."""
_NO_PROXY = "DIRECT"


class Clash:
    """Looks at the connections of one core several times a second, from the first reading on."""

    kind: ClassVar[str] = "clash"
    options: ClassVar[tuple[Option, ...]] = (
        Option("controller", "127.0.0.1:9090, unix:/path, or pipe:\\\\.\\pipe\\name"),
        Option("secret", "the controller's secret", ""),
        Option(
            "person_by",
            "user (of the proxy), or address (of the device: on a router)",
            "user",
        ),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        if options["person_by"] not in _PERSON_BY:
            raise SourceError("person_by is user or address.")
        self._person = _PERSON_BY[options["person_by"]]
        self._controller = Controller(options["controller"], options["secret"])
        self._store = store
        state = store.load()
        self._run = state.get("run") or uuid4().hex
        self._began = state.get("began") or time()
        self._address = options["controller"]
        self._ledger = Ledger(_ledger_state(state, self._address))
        self._saved: dict[str, Any] = state
        self._has_users = any(key.person for key in self._ledger.counters())
        self._changed = threading.Condition()
        self._log = ConnectionLog(self._controller, self._person)
        self._names_users = options["person_by"] == "user"
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self._is_wanted = threading.Event()
        self._begun = self._ended = 0
        self._error = ""

    def read(self) -> Reading:
        """The sums after a look that begins now; raises `SourceError`."""
        self._start()
        with self._changed:
            look = self._begun + 1
            self._is_wanted.set()
            if not self._changed.wait_for(lambda: self._ended >= look, _PATIENCE):
                raise SourceError(f"{self._controller.place} does not answer in time.")
            if self._error:
                raise SourceError(self._error)
            counters, now, ledger = self._ledger.counters(), time(), self._ledger.state()
        self._save(
            {
                "run": self._run,
                "began": self._began,
                "controller": self._address,
                "ledger": ledger,
            }
        )
        return Reading(self._run, self._began, counters, now)

    def close(self) -> None:
        """Ends the thread, at the latest after the look that is under way."""
        self._is_closing = True
        self._is_wanted.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="clash", daemon=True)
            self._thread.start()

    def _save(self, state: dict[str, Any]) -> None:
        """Saves before the counters are reported: a reported sum must not be smaller after a crash."""
        if state != self._saved:
            self._store.save(state)
            self._saved = state

    def _follow(self) -> None:
        while not self._is_closing:
            self._is_wanted.clear()
            began = thread_time()
            shortest = _SHORTEST_PAUSE if self._look() else _IDLE_PAUSE
            spent = thread_time() - began
            self._is_wanted.wait(min(_LONGEST_PAUSE, max(shortest, spent / _SHARE_OF_PROCESSOR)))
        self._controller.close()
        self._log.close()

    def _look(self) -> bool:
        """Whether anything has flowed since the last look."""
        with self._changed:
            self._begun += 1
        error, now, has_flowed = "", time(), False
        try:
            if self._error or not self._ended:
                self._learn_users()
            totals, connections = self._parsed(self._controller.get_json("/connections"))
        except SourceError as refused:
            error = str(refused)
        with self._changed:
            if not error:
                has_flowed = self._ledger.look(totals, connections, now, self._opened(connections))
            self._error = error
            self._ended = self._begun
            self._changed.notify_all()
        return has_flowed

    def _learn_users(self) -> None:
        """Whether the core's ports want a user's name, which the log does not tell."""
        with suppress(SourceError):  # whether it can be read, the list tells
            settings = self._controller.get_json("/configs")
            if isinstance(settings, dict) and settings.get("authentication"):
                self._has_users = True

    def _opened(self, connections: list[Connection]) -> Mapping[Key, int]:
        """What the log tells, unless people are users: it does not name them."""
        opened = self._log.taken()
        self._has_users = self._has_users or any(one.key.person for one in connections)
        return {} if self._names_users and self._has_users else opened

    def _parsed(self, document: Any) -> tuple[Counter, list[Connection]]:
        try:
            totals = Counter(int(document["uploadTotal"]), int(document["downloadTotal"]))
            return totals, list(self._connections(document.get("connections") or ()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(f"{self._controller.place} is not a Clash controller.") from error

    def _connections(self, rows: Any) -> Iterator[Connection]:
        for row in rows:
            chain = row.get("chains") or [_NO_PROXY]
            key = Key(self._person(row["metadata"]), str(chain[0]))
            total = Counter(int(row["upload"]), int(row["download"]))
            yield Connection(str(row["id"]), key, total, str(row.get("start", "")))


def _ledger_state(state: Mapping[str, Any], controller: str) -> dict[str, Any]:
    """At another controller the totals so far stay, and all that it tells first is history."""
    ledger: dict[str, Any] = state.get("ledger") or {}
    if ledger and state["controller"] != controller:
        return {"sums": ledger["sums"]}
    return ledger


def _user(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("inboundUser") or "")


def _user_or_address(metadata: Mapping[str, Any]) -> str:
    """The device's address; the core's own connections, and this machine's, belong to nobody else."""
    user, address = _user(metadata), str(metadata.get("sourceIP") or "")
    if user or not address:
        return user
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return "" if parsed.is_loopback else str(parsed)


_PERSON_BY: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "user": _user,
    "address": _user_or_address,
}
