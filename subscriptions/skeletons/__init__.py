"""Operators' skeletons of lists: read and checked once, filled with the servers of each list. Pure.

Places in a skeleton are texts like ``<servers>`` and ``<country DE>``; docs/templates.md has them all.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from subscriptions.formats.common import Writer

from . import mihomo, sing_box, xray
from .groups import Filled, Result
from .places import Place, Server
from .problems import Problem, SkeletonError

__all__ = [
    "FORMATS",
    "MAX_SIZE",
    "Filled",
    "Place",
    "Problem",
    "Result",
    "Server",
    "Skeleton",
    "SkeletonError",
    "read",
    "writer",
]
# Bytes of a skeleton.
MAX_SIZE = 256 * 1024


class Skeleton(Protocol):
    """``reserved``: case-folded names that servers must not have. ``render`` may raise anything: skeletons are strange."""

    @property
    def reserved(self) -> frozenset[str]: ...

    @property
    def places(self) -> Sequence[Place]: ...

    def render(self, servers: Sequence[Server]) -> tuple[bytes, Result]: ...


_READERS: dict[str, tuple[Callable[[str], Skeleton], Writer]] = {
    "mihomo": (mihomo.read, mihomo.entry),
    "sing-box": (sing_box.read, sing_box.entry),
    "xray": (xray.read, xray.entry),
}
FORMATS = tuple(_READERS)


def read(format_name: str, text: str) -> Skeleton:
    """Raises SkeletonError."""
    if len(text.encode("utf-8", "replace")) > MAX_SIZE:
        raise SkeletonError(Problem("too_large"))
    if not text.strip():
        raise SkeletonError(Problem("empty"))
    try:
        found = _READERS[format_name][0](text)
    except (RecursionError, UnicodeError, TypeError):
        raise SkeletonError(Problem("not_understood")) from None
    if len(found.render([])[0]) > 2 * MAX_SIZE:  # aliases multiply what is written once
        raise SkeletonError(Problem("too_large"))
    return found


def writer(format_name: str) -> Writer:
    """What writes a server for a skeleton of this format."""
    return _READERS[format_name][1]
