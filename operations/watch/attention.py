"""What needs attention: the quick part of ``doctor``, and what apps count, each with the list that settles it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import msgspec
from django.core.cache import cache
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from operations.caches import cache_errors
from operations.extension import Concern, extensions
from operations.findings import Finding, Level

from . import conditions, doctor

_DOCTOR = "operations_commandrun_changelist"
_CONDITIONS = "operations.view_commandrun"
_KEY = "xpert-attention"
# Seconds for which the numbers beside the menu are remembered.
_REMEMBERED = 60
May = Callable[[str], bool]


class Item(msgspec.Struct, frozen=True):
    """``permission``: what a reader needs to see it."""

    text: str
    link: str
    level: Level
    permission: str


def items(now: datetime, may: May) -> list[Item]:
    """The worst first. ``may`` says whether the reader has a permission."""
    found = [*_findings(now, may), *_concerns(now, may)]
    return sorted(found, key=lambda item: -item.level)


def count(now: datetime, may: May) -> int:
    """The number of items for this reader, which may be a minute old."""
    try:
        return sum(number for permission, number in _numbers(now).items() if may(permission))
    except cache_errors():
        return 0


def _numbers(now: datetime) -> Mapping[str, int]:
    """How many items need each permission: counted once a minute for all readers."""
    known: Mapping[str, int] | None = cache.get(_KEY)
    if known is None:
        known = dict(Counter(item.permission for item in items(now, lambda _: True)))
        cache.set(_KEY, known, _REMEMBERED)
    return known


def _findings(now: datetime, may: May) -> Iterator[Item]:
    """One item per kind of condition, with the first of its lines."""
    if not may(_CONDITIONS):
        return
    lines: dict[str, list[Finding]] = {}
    for line in doctor.lines(conditions.quick(now)):
        if line.level:
            lines.setdefault(line.code, []).append(line)
    lists = {code: place for one in extensions() for code, place in one.settled_in.items()}
    for code, same in lines.items():
        text = f"{same[0].subject}: {same[0].message}"
        if more := len(same) - 1:
            text = _("%(first)s (and %(count)d more)") % {"first": text, "count": more}
        level = max(line.level for line in same)
        yield Item(text, _link(lists.get(code, _DOCTOR)), level, _CONDITIONS)


def _concerns(now: datetime, may: May) -> Iterator[Item]:
    concerns: list[Concern] = [found for one in extensions() for found in one.concerns]
    for concern in concerns:
        if may(concern.permission) and (number := concern.count(now)):
            text, link = concern.text(number), _link(concern.place)
            yield Item(text, link, Level.WARNING, concern.permission)


def _link(place: str) -> str:
    """The URL of ``route?query``; of the doctor's page where an app has no admin."""
    route, _mark, query = place.partition("?")
    try:
        return f"{reverse(f'admin:{route}')}{query and '?'}{query}"
    except NoReverseMatch:
        return reverse(f"admin:{_DOCTOR}")
