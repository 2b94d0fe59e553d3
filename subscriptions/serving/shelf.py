"""A cache of lists in the process, because a shared cache would transfer them on each request."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from subscriptions.formats import Written

Made = TypeVar("Made")


class Shelf:
    """Results by key, up to ``most`` bytes of text; the oldest is dropped first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._made: dict[Any, Any] = {}
        self._making = threading.Lock()

    def get(self, key: Any, make: Callable[[], Made]) -> Made:
        found: Made | None = self._made.get(key)
        if found is None:
            with self._making:  # made once, not by every waiting thread
                found = self._made.get(key) or self._put(key, make())
        return found

    def clear(self) -> None:
        with self._making:
            self._made.clear()
            self._size = 0

    def _put(self, key: Any, made: Made) -> Made:
        self._made[key] = made
        self._size += _weight(made)
        while self._size > self._most:
            self._size -= _weight(self._made.pop(next(iter(self._made))))
        return made


def _weight(made: object) -> int:
    """Approximate bytes."""
    if isinstance(made, bytes):
        return 200 + len(made)
    if isinstance(made, list):
        return 200 + sum(len(item.text) for item in made if isinstance(item, Written))
    content: bytes = getattr(made, "content", b"")
    return 200 + len(content)
