"""Reads YAML and JSON of strangers into plain values, within limits. Pure.

A value that programs read in different ways becomes ``Unclear`` instead of a guess: ``012`` is ten for Go, and
``1e5`` is no longer the password that somebody wrote.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import yaml

# The most values in a document, each counted as often as an alias repeats it.
MAX_VALUES = 250_000
MAX_DEPTH = 40
# In place of a key that occurs twice, so that its entry is refused: programs do not agree on which one counts.
TWICE = "\0twice"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_SWITCHES = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
# Floats, octal, hexadecimal and binary numbers, numbers with underscores, infinity and dates. An IP address is a text.
_NUMERIC = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?",
    re.ASCII,
)
_TEXT_TAGS = frozenset({"!", "str", "!str", "tag:yaml.org,2002:str"})
# A text, or a comment as sing-box allows it. An unclosed one goes to the end, with a backslash there, so that each character is read once.
_COMMENT = re.compile(
    r'("[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z))|//[^\n]*|#[^\n]*|/\*(?:.*?\*/|.*)', re.DOTALL
)
_LAST_COMMA = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z))|,(?=\s*+[}\]])', re.DOTALL)


class DocumentError(ValueError):
    """The text is not a document of its kind, or it exceeds a limit. ``line``: where, from 1; 0 if nobody knows."""

    def __init__(self, line: int = 0) -> None:
        self.line = line
        super().__init__(line)


class Unclear(msgspec.Struct, frozen=True):
    """A value that programs read in different ways."""

    text: str


class _Built(msgspec.Struct, frozen=True):
    """A value, and the number of values in it."""

    value: Any
    weight: int = 1


def read_json(text: str) -> Any:
    """Raises DocumentError. Comments and a comma before a closing bracket are ignored, as sing-box does."""
    text = text.strip("\ufeff\0 \t\r\n")
    for candidate in (text, without_comments(text)):
        try:
            found = json.loads(
                candidate,
                object_pairs_hook=_object,
                parse_int=_number,
                parse_float=Unclear,
                parse_constant=Unclear,
            )
        except (ValueError, RecursionError):
            continue
        check_size(found)
        return found
    raise DocumentError


def without_comments(text: str) -> str:
    """JSON without comments and without a comma before a closing bracket. Lines keep their numbers."""
    bare = _COMMENT.sub(lambda found: found[1] or " " + "\n" * found[0].count("\n"), text)
    return _LAST_COMMA.sub(lambda found: found[1] or "", bare)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else found | {TWICE: True}


def _number(text: str) -> int | Unclear:
    return int(text) if _WHOLE.fullmatch(text) else Unclear(text[:100])


def check_size(value: Any) -> None:
    """Raises DocumentError if there are too many values, or one is too deep."""
    waiting, count = [(value, 0)], 0
    while waiting:
        current, depth = waiting.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise DocumentError
        inner = current.values() if isinstance(current, dict) else current
        if isinstance(current, dict | list):
            waiting += ((each, depth + 1) for each in inner)


def read_yaml(text: str, scalar: Callable[[Any], Any] | None = None) -> Any:
    """The first document. Raises DocumentError. ``scalar``: reads the event of one; None: as Go does.

    The parser's events are counted, so nothing is built that is too large or too deep. Aliases share their value
    and count with everything in it. An alias inside its own anchor is refused.
    """
    try:
        return _Builder(yaml.parse(text, Loader=_LOADER), scalar or _scalar).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DocumentError(mark.line + 1 if mark else 0) from None
    except (yaml.YAMLError, RecursionError, UnicodeError):
        raise DocumentError from None


class _Builder:
    def __init__(self, events: Iterator[Any], scalar: Callable[[Any], Any]) -> None:
        self._events = events
        self._scalar = scalar
        self._anchors: dict[str, _Built] = {}
        self._values = 0

    def document(self) -> Any:
        for event in self._events:
            if isinstance(event, yaml.NodeEvent):
                return self._built(event, 0).value
        raise DocumentError

    def _built(self, event: Any, depth: int) -> _Built:
        if depth > MAX_DEPTH:
            raise DocumentError
        if isinstance(event, yaml.AliasEvent):
            return self._counted(self._anchors.get(str(event.anchor)))
        found = self._fresh(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = found
        return found

    def _fresh(self, event: Any, depth: int) -> _Built:
        if isinstance(event, yaml.ScalarEvent):
            return self._counted(_Built(self._scalar(event)))
        self._counted(_Built(None))
        inner = self._inner(depth)
        weight = 1 + sum(each.weight for each in inner)
        if isinstance(event, yaml.SequenceStartEvent):
            return _Built([each.value for each in inner], weight)
        return _Built(_mapping([each.value for each in inner]), weight)

    def _inner(self, depth: int) -> list[_Built]:
        found: list[_Built] = []
        for event in self._events:
            if isinstance(event, yaml.CollectionEndEvent):
                return found
            found.append(self._built(event, depth + 1))
        raise DocumentError

    def _counted(self, found: _Built | None) -> _Built:
        if found is None:
            raise DocumentError
        self._values += found.weight
        if self._values > MAX_VALUES:
            raise DocumentError
        return found


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag in _TEXT_TAGS or (event.tag is None and not event.implicit[0]):
        return text
    if event.tag is not None:
        return Unclear(text[:100])
    return _plain(text)


def _plain(text: str) -> Any:
    """A text without quotes, as Go reads it."""
    if text in _NULLS:
        return None
    if text in _SWITCHES:
        return _SWITCHES[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return Unclear(text[:100]) if _NUMERIC.fullmatch(text) else text


def _mapping(parts: list[Any]) -> dict[str, Any]:
    """Keys and values in turn. A value of its own wins over a merged one (``<<``)."""
    found: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        if key == "<<":
            merged = _merged(value) | merged
            continue
        name = key if isinstance(key, str) else _name(key)
        found |= {TWICE: True} if name in found else {name: value}
    return merged | found


def _merged(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict):
            raise DocumentError
        found = each | found
    return found


def _name(key: Any) -> str:
    if isinstance(key, bool) or not isinstance(key, int):
        return TWICE
    return str(key)
