"""Sends unconfirmed readings to the panel, and waits longer after each failure."""

from __future__ import annotations

import http.client
import logging
import random
import time
from collections.abc import Callable, Sequence

from xpert_agent.journal.outbox import Outbox
from xpert_agent.journal.overview import Overview, SourceState
from xpert_agent.panel import Answered, Panel, PanelError, UnreachableError
from xpert_agent.readings import MAX_LINES, Message, NotAnAnswerError, answers, messages

PATH = "/api/xpert/meter-readings"
FIRST_WAIT = 5.0
LONGEST_WAIT = 15 * 60.0
LONGEST_RETRY_AFTER = 60 * 60.0
COUNTED_NOTHING = frozenset({400, 401, 403, 404, 405, 411, 413, 415, 429})
"""Answers that only the panel itself gives, before it counts anything."""

log = logging.getLogger(__name__)


class Backoff:
    """5 seconds, doubled up to 15 minutes, a random part of it."""

    def __init__(self) -> None:
        self._failures = 0

    def wait(self, retry_after: float = 0.0) -> float:
        """Seconds to wait after one more failure."""
        longest = min(FIRST_WAIT * float(2**self._failures), LONGEST_WAIT)
        self._failures = min(self._failures + 1, 16)
        asked = min(retry_after, LONGEST_RETRY_AFTER)
        return max(longest * random.uniform(0.5, 1.0), asked)  # noqa: S311

    def reset(self) -> None:
        self._failures = 0


class NotAcceptedError(PanelError):
    """The panel has answered, and has counted nothing."""

    def __init__(self, sentence: str, retry_after: float) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Sender:
    """Sends from one thread at a time."""

    def __init__(
        self, panel: Panel, outbox: Outbox, overview: Overview, meter: str, run: int
    ) -> None:
        self._panel = panel
        self._outbox = outbox
        self._overview = overview
        self._meter = meter
        self._run = run
        self._max_lines = MAX_LINES

    def send(self, on_progress: Callable[[], None] = lambda: None) -> int:
        """Sends everything; how many lines the panel has confirmed. Raises `PanelError`.

        `on_progress` is called after each message that the panel takes.
        """
        sources = self._overview.sources()
        confirmed = 0
        while True:
            lines = self._outbox.lines(self._max_lines, time.time())
            batch = list(messages(lines, self._panel.clock_offset, self._max_lines)) or [
                self._sign_of_life()
            ]
            progress = 0
            for message in batch:
                progress += self._deliver(message, sources)
                on_progress()
            confirmed += progress
            if len(lines) < self._max_lines or not progress:
                return confirmed

    def _sign_of_life(self) -> Message:
        return Message(self._run, (), "")

    def _deliver(self, message: Message, sources: Sequence[SourceState]) -> int:
        answered = self._panel.ask(
            "POST",
            PATH,
            message.body(self._meter, sources),
            before_sending=lambda: self._outbox.offer(message.lines),
        )
        if answered.status == http.client.OK or self._all_rejected(answered):
            return self._settle(message, answered)
        if answered.status in COUNTED_NOTHING:
            self._outbox.withdraw(message.lines)
        if answered.status == http.client.REQUEST_ENTITY_TOO_LARGE and len(message.lines) > 1:
            self._max_lines = max(len(message.lines) // 2, 1)
            raise NotAcceptedError("The panel takes shorter messages only; they are halved.", 0.0)
        raise NotAcceptedError(self._panel.refusal(answered), answered.retry_after)

    def _settle(self, message: Message, answered: Answered) -> int:
        try:
            said = answers(message.lines, answered.body)
        except NotAnAnswerError as error:
            raise UnreachableError(
                f"{self._panel.address.host} does not answer like an Xpert Panel."
            ) from error
        now = time.time()
        self._outbox.settle(said, now, int(now + self._panel.clock_offset))
        stale = [one for one in said if one.stale_run is not None]
        if stale:
            log.warning(
                "The panel knows larger totals of %d rows: they begin a new run.", len(stale)
            )
        return sum(one.stale_run is None and not one.refusal for one in said)

    @staticmethod
    def _all_rejected(answered: Answered) -> bool:
        return answered.status == http.client.BAD_REQUEST and isinstance(
            answered.body.get("rejected") if isinstance(answered.body, dict) else None, list
        )
