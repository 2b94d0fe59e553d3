"""The line of a list that tells what is left: an entry that connects nowhere. The operator switches it on by format."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from django.utils.translation import override

from operations.formatting import written_size
from subscriptions.conf import conf
from subscriptions.models import Brand
from traffic.models import Subscriber

from . import dates

MARK = "📊"
PLACEHOLDERS = ("left", "used", "limit", "days", "until", "name")
READY = {
    "en": "Left: {left}, until: {until}",
    "ru": "Осталось: {left}, до: {until}",
    "fa": "باقی‌مانده: {left}، تا: {until}",
}
_NO_LIMIT = {"en": "no limit", "ru": "без лимита", "fa": "بدون محدودیت"}
_NO_END = {"en": "no end", "ru": "бессрочно", "fa": "بدون پایان"}
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
# Characters of a line; an app shows little more.
_MOST = 120


class Figures(NamedTuple):
    """Bytes, and the moment after the last day. ``limit`` and ``ends_at``: None = there is none."""

    name: str
    used: int
    limit: int | None
    ends_at: datetime | None
    now: datetime


def unknown_placeholders(text: str) -> list[str]:
    return [name for name in _PLACEHOLDER.findall(text) if name not in PLACEHOLDERS]


def of_person(brand: Brand, subscriber: Subscriber, used: int, language: str, now: datetime) -> str:
    figures = Figures(str(subscriber), used, subscriber.data_limit, subscriber.expires_at, now)
    return line(text_of(brand, language), figures, language)


def text_of(brand: Brand, language: str) -> str:
    """The operator's text in this language, else the ready one."""
    return str(getattr(brand, f"line_{language}")) or READY[language]


def line(text: str, figures: Figures, language: str) -> str:
    """The text with figures in place of the placeholders, on one line."""
    with override(language):
        values = _values(figures, language)
    filled = _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)
    return _CONTROL.sub(" ", filled)[:_MOST].strip()


def _values(figures: Figures, language: str) -> Mapping[str, str]:
    limit, ends_at = figures.limit, figures.ends_at
    no_limit, no_end = _NO_LIMIT[language], _NO_END[language]
    return {
        "name": figures.name,
        "used": _size(figures.used),
        "limit": no_limit if limit is None else _size(limit),
        "left": no_limit if limit is None else _size(max(limit - figures.used, 0)),
        "days": no_end if ends_at is None else dates.digits(str(_days(ends_at, figures.now))),
        "until": no_end if ends_at is None else _last_day(ends_at),
    }


def _size(number: int) -> str:
    return dates.digits(written_size(number))


def _last_day(ends_at: datetime) -> str:
    return dates.in_words(dates.last_day(ends_at, conf.time_zone))


def _days(ends_at: datetime, now: datetime) -> int:
    """The last day and those before it, with today: 1 on the last day."""
    zone = conf.time_zone
    return max((dates.last_day(ends_at, zone) - now.astimezone(zone).date()).days + 1, 0)
