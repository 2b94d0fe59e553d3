"""Conditions as sentences: a text for each code, filled with localised figures."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from operations.conf import conf
from operations.findings import Condition, Finding
from operations.formatting import written_size

# The number of names on one line.
_SHOWN = 5

Text = str | Promise | Callable[[Condition], str]
"""A text with ``%(subject)s`` and names of figures, or a function that makes the whole text."""


class Words(msgspec.Struct, frozen=True):
    """The line of ``doctor`` for one code. ``is_joined``: all conditions of the code share one line."""

    subject: Text
    message: Text
    advice: Text = ""
    is_joined: bool = False


def findings(found: Sequence[Condition], words: Mapping[str, Words]) -> list[Finding]:
    """One line for each condition that has words, or for all of one code, in the order of the first."""
    lines: dict[object, list[Condition]] = {}
    for number, condition in enumerate(found):
        if condition.code in words:
            key = condition.code if words[condition.code].is_joined else number
            lines.setdefault(key, []).append(condition)
    return [_finding(line, words[line[0].code]) for line in lines.values()]


def _finding(line: Sequence[Condition], words: Words) -> Finding:
    first = line[0]
    if len(line) > 1:
        first = msgspec.structs.replace(first, subject=some([one.subject for one in line]))
    level = max(condition.level for condition in line)
    return Finding(
        level,
        say(words.subject, first),
        say(words.message, first),
        say(words.advice, first),
        first.code,
    )


def say(text: Text, condition: Condition) -> str:
    if callable(text):
        return text(condition)
    shown = {name: _shown(name, value) for name, value in condition.figures.items()}
    since = {} if condition.since is None else {"since": moment(condition.since)}
    told = str(text)
    filled = {"subject": condition.subject} | since | shown
    return told % filled if "%" in told else told


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, list | tuple):
        return some(value)
    return written_size(value) if name.endswith("_bytes") else value


def some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    rest = len(names) - _SHOWN
    return (
        _("%(names)s and %(count)d more") % {"names": shown, "count": rest} if rest > 0 else shown
    )


def moment(value: datetime) -> str:
    """The localised time in the panel's time zone."""
    zone, form = conf.time_zone, _("Y-m-d H:i")
    return f"{date_format(localtime(value, zone), form)} {zone.key}"
