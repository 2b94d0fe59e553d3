"""Which servers of a source are taken, and under which names: the operator's rules of that source. Pure."""

import re
import time
import unicodedata
from collections.abc import Callable, Iterable

import msgspec

from subscriptions.links import Node, clean_remark, invented_name

from . import country_flags, patterns
from .patterns import PatternError

MAX_RENAMES = 20
MAX_PREFIX = 40
_MAX_REPLACEMENT = 100
# Seconds for all names of a list.
_DEADLINE = 3.0
_ARROW = re.compile(r"\s=>(?:\s|$)")
# Emoji need the joiner and the variation selectors; all other invisible characters are removed.
_JOINER = "\u200d"
# The rest of a character that was cut in half.
_BROKEN = "\ufffd"


class RuleError(ValueError):
    """A rule is refused. ``field``: keep, drop or rename; ``line`` and ``place``: where, from 1."""

    def __init__(self, field: str, code: str, line: int = 1, place: int = 1) -> None:
        self.field = field
        self.code = code
        self.line = line
        self.place = place
        super().__init__(code)


class TooSlow(Exception):  # noqa: N818  an answer about a list
    """The patterns took too long for a list."""


class Rules(msgspec.Struct, frozen=True):
    """Texts as the operator wrote them. ``rename``: lines of ``pattern => replacement``. All empty: no rules."""

    keep: str = ""
    drop: str = ""
    rename: str = ""
    prefix: str = ""
    flags: bool = False


class Ruled(msgspec.Struct, frozen=True):
    """A server with its name from the rules, or with the code of the reason why it is not taken."""

    node: Node
    name: str
    code: str = ""


class _Compiled(msgspec.Struct, frozen=True):
    rules: Rules
    keep: re.Pattern[str] | None
    drop: re.Pattern[str] | None
    renames: list[tuple[re.Pattern[str], str]]


def check(rules: Rules) -> None:
    """Raises RuleError."""
    _compiled(rules)


def apply(
    nodes: Iterable[Node], rules: Rules, clock: Callable[[], float] = time.monotonic
) -> list[Ruled]:
    """The servers in their order. Raises RuleError and TooSlow."""
    ready, end = _compiled(rules), clock() + _DEADLINE
    found: list[Ruled] = []
    for node in nodes:
        if clock() > end:
            raise TooSlow
        found.append(_ruled(node, ready))
    return found


def clean_name(text: str) -> str:
    """A provider's name for a server, without invisible and direction characters; at most 128 characters."""
    kept = "".join(
        letter for letter in unicodedata.normalize("NFC", text.replace(_BROKEN, ""))
        if letter == _JOINER or letter.isspace() or unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )  # fmt: skip
    return " ".join(kept.split())[: patterns.MAX_NAME].rstrip()


def _ruled(node: Node, ready: _Compiled) -> Ruled:
    """A server without a name is known by its protocol and address, as people see it."""
    own = clean_name(node.remark)
    shown = own or clean_name(invented_name(node))
    if ready.keep and not ready.keep.search(shown):
        return Ruled(node, own, "not_kept")
    if ready.drop and ready.drop.search(shown):
        return Ruled(node, own, "dropped")
    name = _renamed(shown, ready)
    return Ruled(node, own if name == shown else name)


def _renamed(shown: str, ready: _Compiled) -> str:
    name = shown
    for pattern, replacement in ready.renames:
        # A name that would be empty stays.
        name = clean_name(clean_remark(pattern.sub(replacement, name))) or name
    if ready.rules.prefix:
        name = f"{ready.rules.prefix.strip()} {name}"
    if ready.rules.flags:
        name = country_flags.with_flag(name, shown)
    return clean_name(name)


def _compiled(rules: Rules) -> _Compiled:
    return _Compiled(
        rules, _pattern("keep", rules.keep), _pattern("drop", rules.drop), _renames(rules.rename)
    )


def _pattern(field: str, text: str, line: int = 1) -> re.Pattern[str] | None:
    if not text:
        return None
    try:
        return patterns.compiled(text)
    except PatternError as error:
        raise RuleError(field, error.code, line, error.place) from None


def _renames(text: str) -> list[tuple[re.Pattern[str], str]]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            found.append(_rename(line.strip(), number))
        if len(found) > MAX_RENAMES:
            raise RuleError("rename", "too_many", number)
    return found


def _rename(line: str, number: int) -> tuple[re.Pattern[str], str]:
    arrow = _ARROW.search(line)
    pattern = _pattern("rename", line[: arrow.start()].strip(), number) if arrow else None
    if arrow is None or pattern is None:
        raise RuleError("rename", "no_arrow", number)
    replacement = line[arrow.end() :].strip()
    if len(replacement) > _MAX_REPLACEMENT:
        raise RuleError("rename", "too_long", number, arrow.end() + _MAX_REPLACEMENT + 1)
    try:
        patterns.check_replacement(pattern, replacement)
    except PatternError as error:
        raise RuleError("rename", error.code, number, arrow.end() + error.place) from None
    return pattern, replacement
