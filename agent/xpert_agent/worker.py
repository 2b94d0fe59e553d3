"""Reads one source repeatedly in its own thread, so that a slow one delays nobody else."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import suppress

from xpert_agent.config import SourceSettings
from xpert_agent.directory import Directory
from xpert_agent.journal.database import Database, SourceStore
from xpert_agent.journal.recording import Recorded, Recording
from xpert_agent.sources import open_source
from xpert_agent.sources.base import Source, SourceError

RETRY = 15.0
"""Seconds until a source that could not be read is read again."""

log = logging.getLogger(__name__)


class Worker(threading.Thread):
    def __init__(
        self, settings: SourceSettings, database: Database, directory: Directory, interval: float
    ) -> None:
        """Raises `SourceError` for options that the source refuses."""
        super().__init__(name=settings.name, daemon=True)
        self._settings = settings
        self._directory = directory
        self.interval = interval
        self._stop_event = threading.Event()
        self._recording = Recording(database, settings.name, settings.kind, settings.since)
        self._source: Source = open_source(
            settings.kind, settings.options, SourceStore(database, settings.name)
        )
        self._told: str | None = None
        self.is_readable = False
        self.is_failing = False
        self.read_at = 0.0
        """Unix seconds of the last reading."""

    def run(self) -> None:
        """Reads at once, then once per interval, and a last time when stopped."""
        due = time.monotonic()
        while True:
            self.read()
            pause = min(self.interval, self._settings.longest)
            due = max(due + pause, time.monotonic())
            wait = due - time.monotonic() if self.is_readable else min(RETRY, pause)
            if self._stop_event.wait(wait):
                break
        self.read()
        self._source.close()

    def stop(self) -> None:
        """Ends the thread after one more reading."""
        self._stop_event.set()

    def read(self) -> None:
        """One reading into the journal. Never raises: what goes wrong is logged and remembered.

        A reading that cannot be written is not lost: the next one contains it.
        """
        try:
            reading = self._source.read()
            recorded = self._recording.record(reading, self._directory.mapper(self._settings.map))
        except SourceError as error:
            self._fail(str(error))
        except sqlite3.Error as error:
            self._fail(f"The journal cannot be written: {error}.")
        except Exception as error:
            log.exception("%s: a fault of the agent itself.", self.name)
            self._fail(f"A fault of the agent itself: {type(error).__name__}.")
        else:
            self.read_at = reading.read_at
            self._succeed(recorded)

    def retire(self) -> None:
        """After `stop`: nobody needs to hear of this source any more."""
        self._recording.retire()

    def _fail(self, sentence: str) -> None:
        self.is_readable, self.is_failing = False, True
        if sentence != self._told:
            log.warning("%s: %s", self.name, sentence)
            with suppress(sqlite3.Error):
                self._recording.record_error(sentence)
        self._told = sentence

    def _succeed(self, recorded: Recorded) -> None:
        self.is_readable, self.is_failing = True, False
        said = " ".join(recorded.problems)
        if said and said != self._told:
            log.warning("%s: %s", self.name, said)
        elif self._told != said:
            log.info("%s: is being read.", self.name)
        self._told = said
        if recorded.baseline:
            log.info(
                "%s: what it counted before is not counted again; counting begins now.", self.name
            )
