"""Conditions of the panel: facts with a code and without a language. ``wording`` makes sentences of them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any

import msgspec
from django.db import models


class Level(IntEnum):
    """The highest level that was found is also the exit code of ``doctor``."""

    OK = 0
    WARNING = 1
    ERROR = 2


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that holds now.

    ``code``: identifies the fact for programs; never changes. ``subject``: the name of the object, if there are
    several. ``figures``: numbers, times and names; keys that end in ``_bytes`` are sizes. ``since``: when the fact
    began to hold, or when it last did not. ``target``: the row that the fact is about.
    """

    code: str
    level: Level = Level.OK
    subject: str = ""
    figures: Mapping[str, Any] = {}
    since: datetime | None = None
    target: models.Model | None = None


Finder = Callable[[datetime], Iterable[Condition]]


class Watch(msgspec.Struct, frozen=True):
    """A finder of conditions. ``is_quick``: cheap enough for every scrape and every view of the first screen."""

    find: Finder
    is_quick: bool = True


class Finding(msgspec.Struct, frozen=True):
    """One line of ``doctor``, in the reader's language: the subject, its state and the advice. ``code``: its condition."""

    level: Level
    subject: str
    message: str
    advice: str = ""
    code: str = ""
