"""What an app that makes bound keys tells the app that counts: whose meter a key is, and whom its names mean."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import msgspec


class Meant(NamedTuple):
    """Whom a name means: the token of a subscriber, and host, port and protocol of a server if the name says so too."""

    token: str
    server: tuple[str, int, str] | None = None


Names = Callable[[Collection[str]], Mapping[str, Meant]]


class Meter(msgspec.Struct, frozen=True):
    """What the holder of a bound key may report, by the words of the app that counts.

    ``name``: of its one meter. ``kind``, ``grade``: of the reporter that it is. ``names``: finds whom the names in a
    message mean, without those of whom the key may not tell; a name must mean the same person for ever.
    """

    name: str
    kind: str
    grade: str
    names: Names
