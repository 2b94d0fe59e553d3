"""Days and numbers as a reader of the page writes them. Persian readers use the Solar Hijri calendar and their own digits.

The calendar is counted by its cycle of 33 years with 8 leap years, which agrees with the astronomical one from 1244
to 1472 (1865 to 2093): M. Heydari-Malayeri, "A concise review of the Iranian calendar".
"""

from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

from django.utils.dateformat import format as format_date
from django.utils.dates import MONTHS_3, MONTHS_ALT
from django.utils.translation import get_language

_PERSIAN = "fa"
_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_MONTHS = (
    "فروردین", "اردیبهشت", "خرداد", "تیر", "مرداد", "شهریور", "مهر", "آبان", "آذر", "دی", "بهمن", "اسفند",
)  # fmt: skip
# Leap years by their place in the cycle.
_LEAP = (1, 5, 9, 13, 17, 22, 26, 30)
_CYCLE = 33
# A year of which Nowruz is known.
_ANCHOR_YEAR, _ANCHOR = 1386, date(2007, 3, 21)
# Between the years of the two calendars after Nowruz.
_YEARS_APART = 621
_LONG_MONTHS, _LONG, _SHORT = 6, 31, 30


class SolarDay(NamedTuple):
    year: int
    month: int
    day: int


def solar(day: date) -> SolarDay:
    """The day in the Solar Hijri calendar."""
    year = day.year - _YEARS_APART
    if day < _first_day(year):
        year -= 1
    passed = (day - _first_day(year)).days
    if passed < _LONG_MONTHS * _LONG:
        return SolarDay(year, passed // _LONG + 1, passed % _LONG + 1)
    passed -= _LONG_MONTHS * _LONG
    return SolarDay(year, _LONG_MONTHS + passed // _SHORT + 1, passed % _SHORT + 1)


def _first_day(year: int) -> date:
    """The first day of a year: Nowruz."""
    years = year - _ANCHOR_YEAR
    return _ANCHOR + timedelta(days=365 * years + _leap_years(year) - _leap_years(_ANCHOR_YEAR))


def _leap_years(year: int) -> int:
    """How many leap years are before this year."""
    cycles, place = divmod(year, _CYCLE)
    return cycles * len(_LEAP) + sum(leap < place for leap in _LEAP)


def digits(text: str) -> str:
    return text.translate(_DIGITS) if get_language() == _PERSIAN else text


def in_words(day: date) -> str:
    """The day with the name of its month and its year."""
    if get_language() != _PERSIAN:
        return format_date(day, "j E Y")
    found = solar(day)
    return digits(f"{found.day} {_MONTHS[found.month - 1]} {found.year}")


def without_year(day: date) -> str:
    if get_language() != _PERSIAN:
        return f"{day.day} {MONTHS_ALT[day.month]}"
    found = solar(day)
    return digits(f"{found.day} {_MONTHS[found.month - 1]}")


def shortest(day: date) -> str:
    """The day as a chart's label."""
    if get_language() != _PERSIAN:
        return f"{day.day} {MONTHS_3[day.month]}"
    return without_year(day)


def clock(moment: datetime) -> str:
    return digits(f"{moment:%H:%M}")


def last_day(ends_at: datetime, zone: tzinfo) -> date:
    """The last day of which any moment is before ``ends_at``."""
    return (ends_at - datetime.resolution).astimezone(zone).date()
