"""Days as readers write them; the Persian ones were compared with ICU for every day from 1925 to 2092."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import translation

from subscriptions.serving import dates


@pytest.mark.parametrize(
    ("day", "solar"),
    [
        (date(1925, 4, 1), (1304, 1, 12)),
        (date(1979, 2, 11), (1357, 11, 22)),
        (date(2021, 3, 20), (1399, 12, 30)),
        (date(2021, 3, 21), (1400, 1, 1)),
        (date(2025, 3, 20), (1403, 12, 30)),
        (date(2025, 3, 21), (1404, 1, 1)),
        (date(2026, 9, 22), (1405, 6, 31)),
        (date(2026, 9, 23), (1405, 7, 1)),
        (date(2092, 12, 30), (1471, 10, 10)),
    ],
)
def test_a_day_has_its_place_in_the_solar_year(day: date, solar: tuple[int, int, int]) -> None:
    assert dates.solar(day) == solar


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "31 January 2027"), ("ru", "31 января 2027"), ("fa", "۱۱ بهمن ۱۴۰۵")],
)
def test_each_language_has_its_calendar_and_digits(language: str, words: str) -> None:
    with translation.override(language):
        assert dates.in_words(date(2027, 1, 31)) == words


@pytest.mark.parametrize(
    ("ends_at", "last"),
    [
        (datetime(2027, 1, 31, 21, tzinfo=UTC), date(2027, 1, 31)),
        (datetime(2027, 1, 31, 21, 0, 1, tzinfo=UTC), date(2027, 2, 1)),
        (datetime(2027, 1, 31, 20, 59, tzinfo=UTC), date(2027, 1, 31)),
    ],
)
def test_the_last_day_is_the_one_before_midnight(ends_at: datetime, last: date) -> None:
    assert dates.last_day(ends_at, ZoneInfo("Europe/Moscow")) == last
