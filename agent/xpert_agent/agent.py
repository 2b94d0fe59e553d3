"""Runs until it is stopped: reads the sources and sends readings to the panel."""

from __future__ import annotations

import hashlib
import logging
import queue
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from types import FrameType

from xpert_agent.config import Settings, SourceSettings
from xpert_agent.directory import Directory
from xpert_agent.finding import Finding, find_local_cores
from xpert_agent.journal.database import Database
from xpert_agent.journal.outbox import Outbox
from xpert_agent.journal.overview import Overview
from xpert_agent.journal.recording import retire_all
from xpert_agent.mapping import People, Skip
from xpert_agent.panel import Address, Panel, PanelError
from xpert_agent.sender import Backoff, NotAcceptedError, Sender
from xpert_agent.sources.base import Found, SourceError
from xpert_agent.worker import Worker

AFTER_READING = 2.0
"""Seconds that a message waits for the readings that are taken at the same time."""
STOP_TIMEOUT = 15.0
"""Seconds that the last readings may take."""
LOOK_AGAIN = 30.0
LOOK_SELDOM = 5 * 60.0
"""Seconds between two searches for cores; seldom while all that were found can be read."""

log = logging.getLogger(__name__)


def people_of(settings: Settings) -> People:
    address = settings.panel
    return People(
        token=address.token or None,
        everybody_is_own=settings.discover,
        names_go=bool(address.key),
    )


def owner_of(address: Address) -> str:
    """Whose meters they are at which panel, without telling the secret."""
    return hashlib.sha256(f"{address.url} {address.key or address.token}".encode()).hexdigest()


def discovered(found: Found, since: float | None = None) -> SourceSettings:
    """A core that runs here, as a section of agent.ini would name it."""
    return SourceSettings(found.where, found.kind, found.options, since=since)


class Agent:
    def __init__(self, settings: Settings, database: Database) -> None:
        """Raises `PanelError` and `SourceError` for settings that cannot work."""
        self._settings = settings
        self._database = database
        self._panel = Panel(settings.panel)
        self._directory = Directory(database, self._panel, people_of(settings))
        self._outbox = Outbox(database)
        self._overview = Overview(database)
        self._stopped: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._sending = threading.Event()
        self._workers: list[Worker] = []
        self._cores: dict[str, Worker] = {}
        self._told: dict[str, str] = {}
        if self._outbox.bind(owner_of(settings.panel), time.time()):
            log.warning(
                "The panel or the key has changed: totals begin at 0 with what is not sent yet."
            )
        retire_all(database)
        self._interval = settings.interval
        self.before_last_reading: Callable[[], None] = lambda: None
        for source in settings.sources:
            self._add(source)

    def pace(self, interval: float) -> None:
        """Seconds between readings, and between messages, from the next one on. Any thread may call."""
        self._interval = interval
        for worker in self._workers:
            worker.interval = interval

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then everything is read and sent a last time."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        sender = threading.Thread(target=self._send_until_stopped, name="sender", daemon=True)
        for worker in self._workers:
            worker.start()
        sender.start()
        if self._settings.discover:
            self._discover_safely()
        while not self._wait(self._pause()):
            self._discover_safely()
        self._finish(sender)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Only SimpleQueue.put may be called while the main thread holds any lock.
        self._stopped.put(number)

    def _pause(self) -> float | None:
        """Seconds until the next search for cores; None: there is none."""
        if not self._settings.discover:
            return None
        everything_is_well = self._workers and all(worker.is_readable for worker in self._workers)
        return LOOK_SELDOM if everything_is_well else LOOK_AGAIN

    def _wait(self, seconds: float | None) -> bool:
        """Whether the agent shall stop."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            try:
                # In short pieces: on Windows, Ctrl-C does not interrupt a wait.
                self._stopped.get(timeout=1.0)
            except queue.Empty:
                continue
            return True
        return False

    def _finish(self, sender: threading.Thread) -> None:
        log.info("Stopping: a last reading, a last message.")
        self.before_last_reading()
        deadline = time.monotonic() + STOP_TIMEOUT
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(max(deadline - time.monotonic(), 0.1))
        self._sending.set()
        sender.join(STOP_TIMEOUT)
        self._database.close()

    # Sources

    def _add(self, settings: SourceSettings) -> Worker:
        worker = Worker(settings, self._database, self._directory, self._interval)
        self._workers.append(worker)
        return worker

    def _discover_safely(self) -> None:
        try:
            self._discover()
        except Exception:
            log.exception("A fault of the agent itself while searching for cores.")

    def _discover(self) -> None:
        findings = find_local_cores()
        names = {finding.source.where for finding in findings if finding.source}
        for finding in findings:
            if finding.source is None:
                self._tell(finding.found, f"{finding.found} {finding.cannot_know}")
                continue
            running = self._cores.get(_core(finding.source))
            if running is None:
                self._begin(finding)
            elif running.is_failing and running.name not in names:
                self._replace(running, finding)
        if not self._workers:
            self._tell(
                "cores", "No VPN core that can be read runs here; looking again every half minute."
            )

    def _replace(self, running: Worker, finding: Finding) -> None:
        """The core can only be read in another way now. What the first way has told is not told again."""
        since = max(running.read_at, self._database.watching_since)
        running.stop()
        running.join(STOP_TIMEOUT)
        if running.is_alive():
            return
        running.retire()
        self._workers.remove(running)
        self._begin(finding, since)

    def _begin(self, finding: Finding, since: float | None = None) -> None:
        assert finding.source is not None  # noqa: S101  # what cannot be read does not get here
        try:
            worker = self._add(discovered(finding.source, since))
        except SourceError as error:
            self._tell("cores", f"{finding.source.where}: {error}")
            return
        log.info("Found: %s %s", finding.found, finding.cannot_know)
        self._cores[_core(finding.source)] = worker
        worker.start()

    # Sending

    def _send_until_stopped(self) -> None:
        backoff = Backoff()
        sender = Sender(
            self._panel,
            self._outbox,
            self._overview,
            self._database.fact("meter"),
            int(self._database.fact("run")),
        )
        wait = AFTER_READING
        while not self._sending.wait(wait):
            wait = self._send(sender, backoff)
        self._send(sender, backoff)

    def _send(self, sender: Sender, backoff: Backoff) -> float:
        """Seconds until the next message."""
        self._refresh_servers()
        try:
            sender.send(on_progress=backoff.reset)
        except PanelError as error:
            self._tell(
                "sending", f"{error} Counting goes on; what is counted is kept and sent later."
            )
            self._database.keep_facts({"send_error": str(error), "failed_at": repr(time.time())})
            return backoff.wait(error.retry_after if isinstance(error, NotAcceptedError) else 0.0)
        except sqlite3.Error as error:
            self._tell("sending", f"The journal cannot be written: {error}.")
            return backoff.wait()
        except Exception:
            log.exception("A fault of the agent itself while sending.")
            return backoff.wait()
        if self._told.pop("sending", ""):
            log.info("%s takes the readings again.", self._settings.panel.host)
        return self._interval * random.uniform(0.95, 1.0)  # noqa: S311

    def _refresh_servers(self) -> None:
        unknown = any(one.reason == Skip.UNKNOWN_SERVER.value for one in self._overview.unmapped())
        if not self._directory.is_due(time.time(), unknown):
            return
        try:
            self._directory.refresh(time.time())
            self._told.pop("servers", "")
        except PanelError as error:
            self._tell("servers", str(error))

    def _tell(self, topic: str, sentence: str) -> None:
        """Logs what is new about a topic."""
        if sentence != self._told.get(topic):
            log.warning("%s", sentence)
        self._told[topic] = sentence


def _core(found: Found) -> str:
    return found.core or found.where
