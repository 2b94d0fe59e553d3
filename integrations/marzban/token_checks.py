"""Questions to a panel about tokens: few at a time, one per token, and the answers remembered for a short while."""

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from operations.outbound.errors import OutboundError

from . import panel_client

logger = logging.getLogger(__name__)
# Seconds that an answer is believed, for a removed admin must not get in for long.
REMEMBERED = 30.0
# Seconds that a panel which did not answer is not asked, or every request would wait for it again.
RESTING = 2.0
# Questions at once, and those with the ones that wait for their turn.
PARALLEL = 4
_MAX_OPEN = 32
# Answers that are remembered. The longest known is forgotten first.
_MAX_REMEMBERED = 4096
# Seconds beyond the panel's own time: looking up a name has no time limit of its own.
_SLACK = 0.5
_NO_ANSWER = frozenset({"timeout", "connect_timeout", "stalled", "connection", "dns", "tls"})

Verdict = TypeVar("Verdict")


class _Remembered(NamedTuple, Generic[Verdict]):
    verdict: Verdict
    asked_at: float
    until: float

    def answers(self, now: float, newer_than: float) -> bool:
        return now < self.until and now - self.asked_at < newer_than


class _Resting(NamedTuple):
    code: str
    until: float


class TokenChecks(Generic[Verdict]):
    """``ask`` is given the panel's address and the token; it raises OutboundError when the panel does not say.

    Tokens are kept as digests. ``remembered``: seconds that an answer is believed. ``clock`` counts seconds and never goes
    back.
    """

    def __init__(
        self,
        ask: Callable[[str, str], Verdict],
        clock: Callable[[], float] = time.monotonic,
        remembered: float = REMEMBERED,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._most_remembered = remembered
        self.begin_afresh()

    def begin_afresh(self) -> None:
        """Forget everything: also in a child process, which has none of the parent's threads."""
        # A question that ends at once calls ``_closed`` in the thread that holds the lock.
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(PARALLEL, "token-check")
        self._open: dict[bytes, Future[Verdict]] = {}
        self._remembered: dict[bytes, _Remembered[Verdict]] = {}
        self._resting: dict[str, _Resting] = {}

    def verdict(self, url: str, token: str, *, seconds: float = math.inf) -> Verdict:
        """What the panel says of a token, or said at most ``seconds`` ago. Raises OutboundError."""
        return self.question(url, token, seconds=seconds)()

    def question(
        self, url: str, token: str, *, seconds: float = math.inf, newer_than: float = math.inf
    ) -> Callable[[], Verdict]:
        """The same in two steps: the panel is asked now, and the result waits for what it says.

        ``newer_than``: seconds beyond which a remembered answer is too old for this question. Both raise OutboundError.
        """
        key = hashlib.sha256(f"{url}\0{token}".encode()).digest()
        with self._lock:
            known = self._remembered.get(key)
            if known and known.answers(self._clock(), newer_than):
                return lambda: known.verdict
            self._require_awake(url)
            asked = self._open.get(key) or self._begin(key, url, token, seconds)
        return lambda: self._result(asked)

    def _result(self, asked: "Future[Verdict]") -> Verdict:
        try:
            return asked.result(panel_client.LIMITS.total + _SLACK)
        except TimeoutError:
            asked.cancel()
            raise OutboundError("timeout") from None
        except CancelledError:
            raise OutboundError("timeout") from None

    def _require_awake(self, url: str) -> None:
        resting = self._resting.get(url)
        if resting and resting.until > self._clock():
            raise OutboundError(resting.code)

    def _begin(self, key: bytes, url: str, token: str, seconds: float) -> "Future[Verdict]":
        if len(self._open) >= _MAX_OPEN:
            raise OutboundError("busy")
        question = self._pool.submit(self._answered, key, url, token, seconds)
        self._open[key] = question
        question.add_done_callback(lambda done: self._closed(key, done))
        return question

    def _answered(self, key: bytes, url: str, token: str, seconds: float) -> Verdict:
        asked_at = self._clock()
        try:
            verdict = self._ask(url, token)
        except OutboundError as error:
            self._rest(url, error.code)
            raise
        with self._lock:
            self._remember(
                key, _Remembered(verdict, asked_at, asked_at + min(seconds, self._most_remembered))
            )
        return verdict

    def _rest(self, url: str, code: str) -> None:
        logger.warning("The linked panel could not check a token: %s", code)
        if code in _NO_ANSWER:
            with self._lock:
                self._resting = {url: _Resting(code, self._clock() + RESTING)}

    def _remember(self, key: bytes, found: _Remembered[Verdict]) -> None:
        self._remembered.pop(key, None)
        if len(self._remembered) >= _MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key] = found

    def _closed(self, key: bytes, done: "Future[Verdict]") -> None:
        with self._lock:
            if self._open.get(key) is done:
                del self._open[key]
