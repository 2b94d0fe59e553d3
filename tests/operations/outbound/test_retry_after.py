"""How long a server asks to wait."""

from datetime import UTC, datetime

import pytest

from operations.outbound import retry_after

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        ("86400", 86_400),
        ("86401", 86_400),
        ("9" * 30, 86_400),
        ("Mon, 01 Jan 2024 00:02:00 GMT", 120),
        ("Mon, 01 Jan 2024 00:02:00", 120),
        ("Mon, 01 Jan 2024 02:02:00 +0200", 120),
        ("Sun, 31 Dec 2023 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٥", None),
    ],
)
def test_it_is_read_from_a_number_or_a_date(text: str, seconds: int | None) -> None:
    assert retry_after.parse(text, NOW) == seconds


@pytest.mark.parametrize(
    ("given", "seconds"), [(-1, 0), (0, 0), (1.9, 1), (86_400, 86_400), (10**30, 86_400)]
)
def test_it_is_a_day_at_most(given: float, seconds: int) -> None:
    assert retry_after.bounded(given) == seconds
