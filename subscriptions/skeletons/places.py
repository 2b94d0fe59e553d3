"""The places of a skeleton: texts like ``<servers>`` and ``<country DE NL>``, and which servers go there. Pure."""

import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from subscriptions.sources import country_flags, patterns
from subscriptions.sources.patterns import PatternError

from .problems import refuse

# Seconds of the processor for all patterns of a list and all its names.
_DEADLINE = 1.0
# Names that all groups of a list may have together.
MAX_NAMES = 500_000
_PLACE = re.compile(r"<([a-z]+)(?: ++(\S.*)| *+)>", re.DOTALL)
_CODE = re.compile(r"[A-Z]{2}", re.ASCII)
# In the name of a group that is repeated for each country; and its groups as members of others.
COUNTRY, COUNTRIES = "<country>", "<countries>"
_WITH_WORDS = frozenset({"country", "source", "name", "protocol"})
CODES = country_flags.CODES
_ALONE = frozenset({"servers", "direct", "countries"})


class Server(msgspec.Struct, frozen=True):
    """``name``: unique, as in every list. ``text``: as the format writes it. ``sources``: case-folded names.

    ``is_direct``: a direct configuration. ``is_note``: an entry that tells something and connects nowhere.
    """

    name: str
    text: str
    protocol: str
    sources: frozenset[str] = frozenset()
    is_direct: bool = False
    is_note: bool = False

    @property
    def country(self) -> str:
        return _country(self.name)


@lru_cache(20_000)
def _country(name: str) -> str:
    return country_flags.country_of(name)


class Place(msgspec.Struct, frozen=True):
    """Where servers go. ``words``: what they must have one of; empty for all."""

    kind: str
    words: tuple[str, ...] = ()
    pattern: Any = None

    @property
    def sources(self) -> tuple[str, ...]:
        return self.words if self.kind == "source" else ()

    def holds(self, server: Server) -> bool:
        return _HOLDS[self.kind](self, server)


def _by_country(place: Place, server: Server) -> bool:
    return not server.is_note and server.country in place.words


def _by_source(place: Place, server: Server) -> bool:
    return not server.sources.isdisjoint(place.words)


def _by_name(place: Place, server: Server) -> bool:
    return not server.is_note and place.pattern.search(server.name[: patterns.MAX_NAME]) is not None


_HOLDS: dict[str, Callable[[Place, Server], bool]] = {
    "servers": lambda _place, _server: True,
    "direct": lambda _place, server: server.is_direct,
    "protocol": lambda place, server: not server.is_note and server.protocol in place.words,
    "country": _by_country,
    "source": _by_source,
    "name": _by_name,
}


class Fitting:
    """Finds the servers of one list that fit its places, within what one list may cost."""

    def __init__(
        self, servers: Sequence[Server], clock: Callable[[], float] = time.thread_time
    ) -> None:
        self.servers = servers
        self._clock = clock
        self._end = clock() + _DEADLINE
        self._names = 0

    def servers_of(self, place: Place) -> list[Server]:
        """Raises SkeletonError if the list's patterns take too long together."""
        found = []
        for server in self.servers:
            if place.pattern is not None and self._clock() > self._end:
                raise refuse("slow")
            if place.holds(server):
                found.append(server)
        return found

    def count(self, names: int) -> None:
        """Add names to the list. Raises SkeletonError beyond ``MAX_NAMES``."""
        self._names += names
        if self._names > MAX_NAMES:
            raise refuse("too_long")


def of_country(code: str) -> Place:
    return Place("country", (code,))


def place_of(text: object) -> Place | None:
    """The place that a member of a list stands for; None if it is the name of something. Raises SkeletonError."""
    found = _PLACE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    kind, words = found[1], (found[2] or "").rstrip(" ")
    if kind in _ALONE and not words:
        return Place(kind)
    if kind not in _WITH_WORDS or not words:
        raise refuse("bad_place", found[0])
    return _with_words(kind, words, found[0])


def _with_words(kind: str, words: str, text: str) -> Place:
    if kind == "name":
        try:
            return Place(kind, pattern=patterns.compiled(words))
        except PatternError:
            raise refuse("bad_pattern", text) from None
    if kind == "source":
        return Place(kind, (words.casefold(),))
    each = tuple(words.replace(",", " ").split())
    if kind == "country" and not all(_CODE.fullmatch(code) and code in CODES for code in each):
        raise refuse("bad_country", text)
    return Place(kind, each)


def shown(code: str) -> str:
    """A country in the name of its group."""
    return f"{country_flags.flag(code)} {code}"
