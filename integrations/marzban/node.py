"""One node, without any socket: its session, its people, and its hand-overs. ``rest`` and ``api`` let Marzban talk to it.

Every public method may be called by several threads at once.
"""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta

import msgspec
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from operations.formatting import written_size

from . import handover, people, wire
from .handover import Batch, PausedError
from .membership import Membership
from .models import PanelLink

logger = logging.getLogger(__name__)
# Lines that somebody who opens the log window sees of the time before.
_LINES = 100
# Seconds that a question waits for the one before it; Marzban's other nodes wait as long.
_TURN = 5.0
# How long a webhook may be ahead of the node protocol; Marzban sends a failed one again after three minutes.
_DOUBTED = timedelta(minutes=1)


class SessionError(Exception):
    """The caller is not the one who connected last."""


class NotReadyError(Exception):
    """There is nothing to answer yet. Marzban asks again in its next round."""


class Session(msgspec.Struct, frozen=True):
    """``peer``: the address from which Marzban connected; nobody else may ask for traffic."""

    id: str
    peer: str
    is_started: bool = False


class Node:
    def __init__(self, link: PanelLink) -> None:
        self.link = link
        self.membership = Membership()
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._turn = threading.Lock()
        self._people = threading.Lock()
        self._after = 0
        self._lines: deque[tuple[int, str]] = deque(maxlen=_LINES)
        self._written = 0
        self._answered: list[int] = []
        self._refused: set[int] = set()
        self.seen_at: float | None = None
        self.wake = threading.Event()

    # --- Session ---

    def connect(self, peer: str) -> Session:
        """The older session, if any, is over."""
        with self._lock:
            self._session = Session(str(uuid.uuid4()), peer)
            found = self._session
        self.tell(f"Connected from {peer}.")
        return found

    def start(self, session_id: str | None, config: str) -> Session:
        """A complete list of who is active. Raises SessionError and WireError."""
        self.require(session_id)
        pairs = wire.pairs(config)
        self.membership.replace(pairs)
        with self._lock:
            self._session = msgspec.structs.replace(self._current(session_id), is_started=True)
            found = self._session
        self.tell(f"Started with {len({pair.person for pair in pairs})} active users.")
        self.wake.set()
        return found

    def begin(self, pairs: Iterable[wire.Pair]) -> None:
        """Connect and start in one call, as PasarGuard does: its key is its session."""
        self.membership.replace(pairs)
        with self._lock:
            self._session = Session(str(uuid.uuid4()), "", is_started=True)
        self.tell(f"Started with {len(self.membership.present())} active users.")
        self.wake.set()

    def heard(self) -> None:
        """The panel has called."""
        self.seen_at = time.monotonic()

    def is_started(self) -> bool:
        session = self.session()
        return session is not None and session.is_started

    def disconnect(self) -> None:
        with self._lock:
            self._session = None
        self.tell("Disconnected.")

    def require(self, session_id: str | None) -> Session:
        """Raises SessionError."""
        with self._lock:
            self.seen_at = time.monotonic()
            return self._current(session_id)

    def session(self) -> Session | None:
        with self._lock:
            return self._session

    def admits(self, peer: str) -> bool:
        """Whether this address may ask for traffic. gRPC brings no certificate, so the session's address must do."""
        session = self.session()
        return session is not None and session.is_started and session.peer == peer

    def _current(self, session_id: str | None) -> Session:
        if self._session is None or self._session.id != session_id:
            raise SessionError
        return self._session

    # --- People ---

    def load(self) -> None:
        """Read who was active when the last process ended."""
        self.membership.know(people.active(self.link))

    def alter(self, change: wire.Alteration) -> None:
        self.membership.alter(change, time.monotonic())
        self.wake.set()

    def write_people(self) -> None:
        """Bring the database up to what the membership says. Raises DatabaseError."""
        with self._people:
            changes = self.membership.changes(time.monotonic())
            if not changes:
                return
            people.came(self.link, changes.came, timezone.now())
            people.left(self.link, changes.left, timezone.now())
            self.membership.applied(changes)

    def compare(self) -> None:
        """Look at what others have written about the panel's people: its own list has the last word.

        Raises DatabaseError.
        """
        with self._people:
            self.load()
            before = timezone.now() - _DOUBTED
            people.heal(self.link, self.membership.present(), before)

    # --- Hand-over ---

    def take_users(self) -> Batch | None:
        """Raises NotReadyError, PausedError, OSError and DatabaseError."""
        return self._in_turn(self._take_users)

    def take_servers(self) -> Batch | None:
        """Raises NotReadyError, PausedError, OSError and DatabaseError."""
        return self._in_turn(
            lambda session: handover.take_servers(self.link, session, timezone.now())
        )

    def _in_turn(self, take: Callable[[str], Batch | None]) -> Batch | None:
        session = self.session()
        if session is None or not self._turn.acquire(timeout=_TURN):
            raise NotReadyError
        try:
            return take(session.id)
        except PausedError:
            handover.pause_restored(self.link.pk)
            raise
        finally:
            self._turn.release()

    def _take_users(self, session: str) -> Batch | None:
        # An id may have gone to somebody whom the database does not know yet.
        if self.membership.changes(time.monotonic()).came:
            self.wake.set()
            return None
        highest = self.membership.highest_id()
        batch = handover.take_users(self.link, session, self._after, highest)
        if batch is None and self._after:
            self._after = 0
            batch = handover.take_users(self.link, session, 0, highest)
        self._after = batch.last_id if batch else 0
        return batch

    def waiting_users(self) -> bytes:
        """What waits, for a question that takes nothing. Raises DatabaseError."""
        return handover.waiting_users(self.link, self.membership.highest_id())

    def waiting_servers(self) -> bytes:
        """Raises DatabaseError."""
        return handover.waiting_servers(self.link, timezone.now())

    def answered(self, batch: Batch) -> None:
        """The answer left."""
        with self._lock:
            self._answered.append(batch.pk)
        self.tell(f"Handed over {written_size(batch.size)} in {batch.count} entries.")
        self.wake.set()

    def refused(self, batch: Batch) -> None:
        """Nobody waited for the answer. If this cannot be written down now, it is written down later."""
        with self._lock:
            self._refused.add(batch.pk)
        self.tell(f"Took {written_size(batch.size)} back: Marzban did not wait.")
        try:
            self.settle()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("A batch will be taken back later: %s", error)

    def settle(self) -> None:
        """Write down what became of the batches. A write that fails is tried again. Raises DatabaseError."""
        with self._lock:
            answered, refused = list(self._answered), sorted(self._refused)
        handover.sent(answered)
        for pk in refused:
            handover.give_back(pk)
        with self._lock:
            self._answered = [pk for pk in self._answered if pk not in answered]
            self._refused -= set(refused)

    # --- Log ---

    def tell(self, sentence: str) -> None:
        logger.info("Node of %s: %s", self.link.name, sentence)
        with self._lock:
            self._written += 1
            self._lines.append((self._written, f"{timezone.now():%Y/%m/%d %H:%M:%S} {sentence}"))

    def lines(self, after: int) -> list[tuple[int, str]]:
        """Numbered lines of the log; those that came later than number ``after``."""
        with self._lock:
            return [line for line in self._lines if line[0] > after]

    def pause(self, seconds: float) -> None:
        """Between two looks at the log."""
        time.sleep(seconds)

    def uptime(self) -> int:
        return int(time.monotonic() - self._begun)
