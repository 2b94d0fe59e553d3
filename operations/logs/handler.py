"""A log handler that limits similar lines, so that a misbehaving client cannot fill the disk."""

import logging
import time
from http import HTTPStatus
from typing import Any, NamedTuple

from operations.addresses import client_address, shortened
from operations.conf import conf

from .formatters import Answered


class _Held(NamedTuple):
    """The lines of one kind within one time window."""

    until: float
    written: int
    left_out: int


class BoundedHandler(logging.StreamHandler[Any]):
    """Writes a few lines per minute of each kind of warning and of each throttled client, then a summary."""

    limit = 30
    seconds = 60.0
    # The number of kinds that are counted separately. Only an attempt to fill the log produces more.
    kinds = 1000

    def __init__(self, stream: Any = None) -> None:
        super().__init__(stream)
        self._held: dict[tuple[Any, ...], _Held] = {}
        self._next_look = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._sum_up(now)
        if self._admits(record, now):
            super().emit(record)

    def _admits(self, record: logging.LogRecord, now: float) -> bool:
        kind = _kind(record)
        if kind is None:
            return True
        if kind not in self._held and len(self._held) >= self.kinds:
            kind = ("other",)
        held = self._held.get(kind) or _Held(now + self.seconds, 0, 0)
        admits = held.written < self.limit
        self._held[kind] = held._replace(
            written=held.written + admits, left_out=held.left_out + (not admits)
        )
        return admits

    def _sum_up(self, now: float) -> None:
        """Write summaries at most once per second, when a line is logged; there is no thread for this."""
        self._next_look = now + 1
        for kind in [kind for kind, held in self._held.items() if held.until <= now]:
            if left_out := self._held.pop(kind).left_out:
                message = (
                    f"{left_out} more lines were left out: {' '.join(str(part) for part in kind)}"
                )
                super().emit(
                    logging.LogRecord("xpert.log", logging.WARNING, "", 0, message, (), None)
                )


def _kind(record: logging.LogRecord) -> tuple[Any, ...] | None:
    """The kind of a line; None: the line is always written."""
    answered: Answered | None = getattr(record, "answered", None)
    if answered is not None:
        if answered.status != HTTPStatus.TOO_MANY_REQUESTS:
            return None
        address = shortened(client_address(answered.request.META, conf.trusted_proxies))
        return "429", answered.route, address
    if record.levelno < logging.WARNING:
        return None
    # The text of these messages comes from the client.
    words = "" if record.name.startswith("django.security") else record.msg
    error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    return record.name, words, error
