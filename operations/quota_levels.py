"""Levels of a limit: the one definition of nearly and fully used.

Pure arithmetic on bytes. ``traffic.people.quotas`` has the same rules as database queries.
"""

from enum import StrEnum


class Level(StrEnum):
    LOW = "low"
    # At least four fifths of the limit.
    HIGH = "high"
    # At least the whole limit.
    OVER = "over"


def level(used: int, limit: int) -> Level:
    if used >= limit:
        return Level.OVER
    return Level.HIGH if used >= high_from(limit) else Level.LOW


def high_from(limit: int) -> int:
    """The smallest number of bytes at level HIGH. Uses integers only, so that the database agrees."""
    return limit - limit // 5


def percent(used: int, limit: int) -> int:
    """Whole percent, rounded down. A limit of 0 is always used up."""
    return used * 100 // limit if limit else 100


def left(used: int, limit: int) -> int:
    return max(limit - used, 0)
