"""The people who may use the panel's inbounds now, as the node protocol tells it. Kept in memory only."""

import threading
from collections import Counter
from collections.abc import Iterable

import msgspec

from .wire import Alteration, Pair, Person

# A changed user is removed and added again, tag by tag and in any order. Seconds until a removal is believed.
SETTLING = 3.0


class Changes(msgspec.Struct, frozen=True):
    came: frozenset[Person]
    left: frozenset[Person]

    def __bool__(self) -> bool:
        return bool(self.came or self.left)


_NOTHING = Changes(frozenset(), frozenset())


class Membership:
    """Counts the inbounds of each person; whoever has one is active.

    ``changes`` is what the database does not know yet, ``applied`` says that it does now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs: set[Pair] = set()
        self._inbounds: Counter[Person] = Counter()
        self._owners: dict[int, Person] = {}
        self._known: set[Person] = set()
        self._removed_at: dict[Person, float] = {}
        # Until the panel has sent its list, nobody can have left.
        self._has_list = False
        # Whether the database knows everything: comparing thousands of people at each question takes time.
        self._is_settled = False
        self._highest: int | None = None

    def replace(self, pairs: Iterable[Pair]) -> None:
        """A complete list: whoever is missing has left, without waiting."""
        with self._lock:
            self._pairs = set(pairs)
            self._inbounds = Counter(pair.person for pair in self._pairs)
            self._owners = {person.user_id: person for person in self._inbounds}
            self._removed_at.clear()
            self._has_list = True
            self._touch()

    def know(self, people: Iterable[Person]) -> None:
        """These are active in the database."""
        with self._lock:
            self._known = set(people)
            self._touch()

    def alter(self, change: Alteration, now: float) -> None:
        with self._lock:
            if change.is_added != (change.pair in self._pairs):
                self._touch()
                if change.is_added:
                    self._add(change.pair)
                else:
                    self._remove(change.pair, now)

    def _touch(self) -> None:
        self._is_settled, self._highest = False, None

    def _add(self, pair: Pair) -> None:
        person = pair.person
        before = self._owners.get(person.user_id, person)
        if before != person:  # the id changed hands, and no removal told of it
            self._pairs = {kept for kept in self._pairs if kept.person != before}
            del self._inbounds[before]
        self._owners[person.user_id] = person
        self._pairs.add(pair)
        self._inbounds[person] += 1
        self._removed_at.pop(person, None)

    def _remove(self, pair: Pair, now: float) -> None:
        person = pair.person
        self._pairs.discard(pair)
        self._inbounds[person] -= 1
        if not self._inbounds[person]:
            del self._inbounds[person], self._owners[person.user_id]
            self._removed_at[person] = now

    def changes(self, now: float) -> Changes:
        with self._lock:
            if self._is_settled:
                return _NOTHING
            came = frozenset(self._inbounds.keys() - self._known)
            gone = self._known - self._inbounds.keys() if self._has_list else set()
            self._is_settled = not came and not gone
            left = {
                person
                for person in gone
                if person.user_id not in self._owners
                and now - self._removed_at.get(person, now - SETTLING) >= SETTLING
            }
            return Changes(came, frozenset(left))

    def applied(self, changes: Changes) -> None:
        with self._lock:
            # An id has one owner: whoever had it before was closed with it.
            taken = {person.user_id for person in changes.came}
            kept = {person for person in self._known if person.user_id not in taken}
            self._known = (kept | changes.came) - changes.left
            for person in changes.left:
                self._removed_at.pop(person, None)

    def present(self) -> set[Person]:
        with self._lock:
            return set(self._inbounds)

    def highest_id(self) -> int:
        """SQLite gives the id of the newest user to the next one once it is deleted, but never one below a living user's."""
        with self._lock:
            if self._highest is None:
                self._highest = max(self._owners, default=0)
            return self._highest
