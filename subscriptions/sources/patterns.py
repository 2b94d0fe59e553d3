"""Regular expressions of operators, of which none can take long. Pure.

Python's matcher tries alternatives one after the other, so ``(a+)+$`` takes years. Before a pattern is used, its ways to
match a name are counted from its structure, as if each were tried from each character; a pattern with too many is
refused. Names have at most 128 characters, so one search is short, and the whole list has a deadline.
"""

import re
from math import comb
from typing import Any, NamedTuple

# The parser of ``re.compile``, which has no public name.
_structure: Any = vars(re)["_parser"]
MAX_LENGTH = 200
MAX_NAME = 128
_MAX_WAYS = 15_000_000
_TOO_MANY = _MAX_WAYS + 1
# More repetitions than these count as any number.
_FEW = 8
_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_LOOKS = frozenset({"ASSERT", "ASSERT_NOT"})


class PatternError(ValueError):
    """A pattern is refused. ``code``: too_long, syntax, slow or unsupported; ``place``: of the error, from 1."""

    def __init__(self, code: str, place: int = 1) -> None:
        self.code = code
        self.place = place
        super().__init__(code)


def compiled(text: str) -> re.Pattern[str]:
    """Without regard to case. Raises PatternError."""
    if len(text) > MAX_LENGTH:
        raise PatternError("too_long", MAX_LENGTH + 1)
    try:
        tree = _structure.parse(text, re.IGNORECASE)
        ways = _of_sequence(tree)
        # A search may begin at each character.
        if ways.open > _FEW or ways._replace(open=ways.open + 1).total() > _MAX_WAYS:
            raise PatternError("slow")
        return re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError("syntax", (getattr(error, "pos", 0) or 0) + 1) from None


def check_replacement(pattern: re.Pattern[str], text: str) -> None:
    """Raises PatternError if the replacement names a group that the pattern does not have."""
    try:
        pattern.sub(text, "")
    except (re.error, IndexError) as error:
        raise PatternError("syntax", (getattr(error, "pos", 0) or 0) + 1) from None


class _Ways(NamedTuple):
    """``fixed`` ways, each with ``open`` parts of any length, which share the characters of one name."""

    fixed: int = 1
    open: int = 0

    def total(self) -> int:
        return self.fixed * comb(MAX_NAME + self.open, self.open)


def _of_sequence(items: Any) -> _Ways:
    fixed, opened = 1, 0
    for kind, value in items:
        ways = _of_item(str(kind), value)
        fixed, opened = min(fixed * ways.fixed, _TOO_MANY), min(opened + ways.open, _TOO_MANY)
    return _Ways(fixed, opened)


def _of_item(kind: str, value: Any) -> _Ways:
    if kind in _SINGLE:
        return _Ways()
    if kind == "BRANCH":
        found = list(map(_of_sequence, value[1]))
        return _Ways(sum(ways.fixed for ways in found), max(ways.open for ways in found))
    if kind == "SUBPATTERN":
        return _of_sequence(value[-1])
    if kind in _LOOKS:
        return _of_sequence(value[1])
    if kind in _REPEATS:
        return _of_repeat(*value)
    raise PatternError("unsupported")


def _of_repeat(least: int, most: int, items: Any) -> _Ways:
    """Every number of repetitions, each with all ways of what is repeated."""
    inner, most = _of_sequence(items), min(int(most), MAX_NAME)
    least = min(least, most)
    if inner == _Ways():
        return _Ways(1, 1) if most - least > _FEW else _Ways(most - least + 1)
    fixed = 0
    for count in range(least, most + 1):
        fixed = min(fixed + inner.fixed**count, _TOO_MANY)
        if fixed == _TOO_MANY:
            break
    return _Ways(fixed, min(inner.open * most, _TOO_MANY))
