"""Reads an operator's YAML or JSON and writes it again, so that every value stays what it was. Pure.

Values that programs read in different ways (``0123``, ``1e3``, ``on``) keep their own characters. Comments are not
written: they are for the operator, and the document goes to subscribers. Anchors are resolved.
"""

import json
import re
from typing import Any

from subscriptions.formats.common import compact
from subscriptions.readers import documents
from subscriptions.readers.documents import TWICE, DocumentError

from .problems import Problem, SkeletonError

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
_TEXT_TAGS = frozenset({"!", "str", "!str", "tag:yaml.org,2002:str"})
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# Values that some reader does not take for a text: switches and numbers of YAML 1.1 and 1.2, and dates.
_NOT_A_TEXT = re.compile(
    r"(?i:true|false|yes|no|on|off|y|n|null)|~|[-+]?\.?[0-9][0-9A-Za-z_.:+-]*|[-+]?\.(?:inf|nan)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}[Tt ][0-9:.+Zz -]*",
    re.ASCII | re.IGNORECASE,
)
# Characters that need no quotes between brackets.
_FLOW = re.compile(r"[0-9A-Za-z_.:+~-]*", re.ASCII)


class Plain(str):
    """A value without quotes, which is written as it was."""

    __slots__ = ()


def read_yaml(text: str) -> Any:
    """Mappings, lists, texts and ``Plain``. Raises SkeletonError."""
    try:
        found = documents.read_yaml(text, _scalar)
    except DocumentError as error:
        raise SkeletonError(Problem("bad_yaml", line=error.line)) from None
    refuse_twice(found)
    return found


def read_json(text: str) -> Any:
    """As above; numbers are ``Plain``. Comments are allowed, as sing-box allows them."""
    try:
        found = _parsed(documents.without_comments(text.strip("\ufeff\0")))
        documents.check_size(found)
    except json.JSONDecodeError as error:
        raise SkeletonError(Problem("bad_json", line=error.lineno)) from None
    except (ValueError, RecursionError):
        raise SkeletonError(Problem("bad_json")) from None
    refuse_twice(found)
    return found


def _parsed(text: str) -> Any:
    return json.loads(
        text, object_pairs_hook=_object, parse_int=Plain, parse_float=Plain, parse_constant=_refuse
    )


def _refuse(_text: str) -> Any:
    raise ValueError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else found | {TWICE: True}


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag in _TEXT_TAGS or (event.tag is None and not event.implicit[0]):
        return text
    if event.tag is not None:
        raise DocumentError(event.start_mark.line + 1)
    is_other = _FLOW.fullmatch(text) is not None and _NOT_A_TEXT.fullmatch(text) is not None
    return Plain(text) if text in _NULLS or is_other else text


def refuse_twice(value: Any) -> None:
    """Raises SkeletonError for a key that occurs twice in a mapping, because programs do not agree on which one counts."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            if TWICE in current:
                raise SkeletonError(
                    Problem("twice", ", ".join(key for key in current if key != TWICE)[:100])
                )
            waiting += current.values()
        elif isinstance(current, list):
            waiting += current


def emit(value: Any) -> str:
    """One line of JSON, which is YAML as well, but for ``Plain`` of YAML."""
    if isinstance(value, Plain):
        return "null" if value in _NULLS else str(value)
    if isinstance(value, dict):
        return f"{{{', '.join(members(value))}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(emit, value))}]"
    return compact(value)


def members(value: dict[str, Any]) -> list[str]:
    """The entries of a mapping, each as ``key: value``."""
    return [f"{emit(key)}: {emit(inner)}" for key, inner in value.items()]


def section(key: str) -> str:
    """A key at the left margin of YAML, where some apps look for its letters."""
    return key if _KEY.fullmatch(key) and not _NOT_A_TEXT.fullmatch(key) else emit(key)


def is_on(value: Any) -> bool:
    """Whether a switch or a list is there: neither false nor empty."""
    if isinstance(value, str):
        return value.casefold() not in {"", "~", "null", "false", "no", "off"}
    return bool(value)
