"""sing-box 1.14 and newer, by the connection stream of its api service. Exact to the byte."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from xpert_agent.protobuf import as_number, fields, number_field
from xpert_agent.sources.base import Counter, Option, Reading, SourceError, Store
from xpert_agent.sources.grpc_web import Stream, Target, call
from xpert_agent.sources.singbox_events import events, events_of
from xpert_agent.sources.singbox_ledger import LISTED, REMEMBERED, Ledger

SERVICE = "daemon.StartedService"
UPDATES = 2 * 10**9
"""Nanoseconds between two updates of open connections."""
GATHER = 0.25
"""Seconds during which events gather in the socket, to be read in one piece."""
AT_ONCE = 0.1
"""Seconds to wait for what has arrived already."""
RECONNECT = 1.0
PATIENCE = 60.0
"""Seconds without any event until the core is asked whether it is still the same."""
TIMEOUT = 5.0
SAVE_AFTER = 8
"""Closings. sing-box forgets closed connections from time to time: they are on disk before."""
SAVE_AT_LEAST = 5.0
"""Seconds between two saves while connections close."""
CHECK = 0.5
"""Seconds between two looks at connections that have closed. The last bytes of a connection may
be counted after it was reported closed, and sing-box forgets it when it collects garbage."""
CONTROL = 2.0
"""Seconds between two questions for the core's total."""
FOLLOWS = 0.5
"""Seconds after which events have told what the core's total contained."""
NEVER = 3600 * 10**9
"""Nanoseconds between two updates where the first message alone is wanted."""


class SingBox:
    kind: ClassVar[str] = "singbox"
    options: ClassVar[tuple[Option, ...]] = (
        Option("url", "address of sing-box's api service", "http://127.0.0.1:9095"),
        Option("secret", "its secret", ""),
        Option(
            "server_by",
            "what names the server: outbound (a gateway) or inbound (a server)",
            "outbound",
        ),
    )

    def __init__(self, options: Mapping[str, str], store: Store) -> None:
        parts = urlsplit(options["url"])
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SourceError(f"“{options['url'][:40]}” is not an http:// address.")
        if options["server_by"] not in ("outbound", "inbound"):
            raise SourceError("server_by is outbound or inbound.")
        self._target = Target(options["url"], options["secret"])
        self._store = store
        self._lock = threading.Lock()
        self._ledger = Ledger(store.load(), time.time(), options["server_by"] == "inbound")
        self._follower: threading.Thread | None = None
        self._stream: Stream | None = None
        self._stopping = threading.Event()
        self._attempted = threading.Event()
        """Set while the stream is known to flow, or to have failed."""
        self._is_synchronised = False
        self._error = ""
        self._saved_at = self._checked_at = self._status_at = 0.0
        self._check_next: list[str] = []
        self._save()

    def read(self) -> Reading:
        self._follow()
        self._attempted.wait(TIMEOUT)
        if not self._is_synchronised:
            raise SourceError(self._error or f"{self._target.place} tells no connections.")
        self._settle()
        with self._lock:
            self._ledger.rebase()
            self._save()
            return Reading(
                self._ledger.run, self._ledger.began, self._ledger.counters(), time.time()
            )

    def _settle(self) -> None:
        """What the core has carried until now is booked, or known to be missing."""
        known = self._ledger.core
        status = self._ask_for_status()
        time.sleep(FOLLOWS)
        closings = self._ledger.closings
        listed = [event for message in self._list() for event in events(message)]
        # Asked last: a core that began in between has told all of this of other connections.
        core = started_at(self._target, TIMEOUT)
        with self._lock:
            if not known == core == self._ledger.core:
                raise SourceError(f"{self._target.place} has begun again.")
            if self._ledger.closings - closings > REMEMBERED - LISTED:
                raise SourceError(f"{self._target.place} closes connections faster than is read.")
            self._ledger.check(listed, ())
            self._ledger.compare(status)

    def _ask_for_status(self) -> Counter:
        with self._lock:
            accounted = self._ledger.accounted
        status = self._status()
        with self._lock:
            self._ledger.control(status, accounted)
        return status

    def close(self) -> None:
        self._stopping.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def _status(self) -> Counter:
        message = call(self._target, f"{SERVICE}/SubscribeStatus", number_field(1, 10**9), TIMEOUT)
        found = dict(fields(message))
        return Counter(as_number(found.get(8)), as_number(found.get(9)))

    def _follow(self) -> None:
        if self._follower is None:
            self._follower = threading.Thread(
                target=self._follow_until_stopped, name="sing-box", daemon=True
            )
            self._follower.start()

    def _follow_until_stopped(self) -> None:
        while not self._stopping.is_set():
            try:
                self._subscribe()
            except (SourceError, ValueError) as error:
                self._error = str(error)
            self._is_synchronised = False
            self._attempted.set()
            self._stopping.wait(RECONNECT)

    def _subscribe(self) -> None:
        self._attempted.clear()
        began = started_at(self._target, TIMEOUT)
        self._stream = Stream(
            self._target, f"{SERVICE}/SubscribeConnections", number_field(1, UPDATES), PATIENCE
        )
        try:
            with self._lock:
                self._ledger.begin_core(began)
            while not self._stopping.is_set():
                patience = CHECK if self._ledger.unchecked() else PATIENCE
                messages = self._stream.messages(patience)
                if (
                    not messages
                    and patience == PATIENCE
                    and started_at(self._target, TIMEOUT) != began
                ):
                    return
                self._take(messages)
                self._look_after(time.monotonic())
                self._stopping.wait(GATHER)
        except SourceError:
            self._take_rest(self._stream)
            raise
        finally:
            self._stream.close()

    def _take_rest(self, stream: Stream) -> None:
        """What a core that died has told before: another question to it may have failed first."""
        try:
            while messages := stream.messages(AT_ONCE):
                self._take(messages)
        except (SourceError, OSError):  # the end of the stream, or `close` has closed it
            return

    def _take(self, messages: list[bytes]) -> None:
        with self._lock:
            for message in messages:
                if self._is_synchronised:
                    for event in events(message):
                        self._ledger.take(event)
                else:
                    self._ledger.begin_stream(events(message))
                    self._is_synchronised = True
                    self._attempted.set()

    def _look_after(self, now: float) -> None:
        if now - self._checked_at >= CHECK:
            self._checked_at = now
            self._check_closed()
        if now - self._status_at >= CONTROL:
            self._status_at = now
            self._ask_for_status()
        closings = self._ledger.unsaved_closings
        if closings >= SAVE_AFTER or (closings and now - self._saved_at > SAVE_AT_LEAST):
            with self._lock:
                self._save()

    def _check_closed(self) -> None:
        """Each is looked at twice: at once, because the core may forget it, and later."""
        unchecked = self._ledger.unchecked()
        if not unchecked:
            return
        listed = self._list()
        with self._lock:
            for message in listed:
                self._ledger.check(events_of(message, unchecked), self._check_next)
        self._check_next = unchecked

    def _list(self) -> list[bytes]:
        """All connections, as the core tells a new subscriber."""
        stream = Stream(
            self._target, f"{SERVICE}/SubscribeConnections", number_field(1, NEVER), TIMEOUT
        )
        try:
            return stream.messages()
        finally:
            stream.close()

    def _save(self) -> None:
        self._store.save(self._ledger.state())
        self._saved_at = time.monotonic()


def started_at(target: Target, timeout: float) -> int:
    """When the core has started, in Unix milliseconds; raises `SourceError`."""
    message = call(target, f"{SERVICE}/GetStartedAt", b"", timeout)
    return as_number(dict(fields(message)).get(1))
