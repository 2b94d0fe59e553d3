"""Kinds of events, which turn conditions into notifications.

The key of an event stays the same while its condition lasts, so that the condition is reported once.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from django.db import models
from django.utils.functional import Promise

from operations.findings import Condition, Finder
from operations.wording import Text, say


class Event(msgspec.Struct, frozen=True):
    """One event. ``key``: without its kind; ``text``: one sentence; ``data``: for JSON, without secrets.

    ``target``: the row that the event is about, if any.
    """

    key: str
    text: str
    data: dict[str, Any]
    target: models.Model | None = None


class Kind(msgspec.Struct, frozen=True):
    """``name``: up to 32 letters, never changes; ``label``: shown in the form of a receiver.

    An event is made of each condition that ``find`` returns, that has a text for its code, and that ``is_told``.
    """

    name: str
    label: str | Promise
    find: Finder
    texts: Mapping[str, Text]
    key: Callable[[Condition, datetime], str]
    data: Callable[[Condition], dict[str, Any]]
    is_told: Callable[[Condition], bool] = lambda _: True

    def events(self, now: datetime) -> Iterator[Event]:
        """The events in the order of ``find``, which is stable."""
        for found in self.find(now):
            if found.code in self.texts and self.is_told(found):
                text = say(self.texts[found.code], found)
                yield Event(self.key(found, now), text, self.data(found), found.target)


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def seconds(moment: datetime | None) -> int:
    """Unix seconds for a key; 0 for None."""
    return int(moment.timestamp()) if moment else 0
