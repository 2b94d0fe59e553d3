"""Usage by calendar month: exact to the byte and the hour, with corrections that stand."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from operations.audit import By
from tests.traffic.examples import GB, HOUR, a_report, stored, subscriber
from traffic.figures import bills
from traffic.figures.bills import Month
from traffic.ledger import retention
from traffic.models import Correction
from traffic.people import corrections

pytestmark = pytest.mark.django_db

MARCH = Month(date(2024, 3, 1))
BEGIN, END = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
NOW = datetime(2024, 3, 20, tzinfo=UTC)
EVA = By("eva", NOW)


def used(at: datetime, **fields: Any) -> None:
    stored(a_report(at, **fields), now=at)


def test_a_month_holds_its_first_hour_and_not_the_next_months() -> None:
    used(BEGIN - HOUR, upload=1, download=0)
    used(BEGIN, upload=10, download=100)
    used(END - HOUR, upload=1000, download=10000)
    used(END, upload=1, download=0)
    (bill,) = bills.subscribers(MARCH)
    assert (bill.upload, bill.download, bill.total) == (1010, 10100, 11110)
    assert [share.total for share in bills.servers(MARCH)] == [11110]


def test_a_month_is_the_same_after_old_hours_were_folded() -> None:
    used(BEGIN, upload=10)
    used(END - HOUR, upload=1000)
    before = bills.subscribers(MARCH), bills.servers(MARCH)
    retention.fold(datetime(2024, 8, 1, tzinfo=UTC))
    assert (bills.subscribers(MARCH), bills.servers(MARCH)) == before


def test_corrections_that_stand_are_added_to_the_bill() -> None:
    used(NOW, upload=5 * GB, download=0)
    ann = subscriber()
    given = Correction(subscriber=ann, upload=-2 * GB, download=0, reason="outage")
    corrections.make(given, EVA)
    taken_back = Correction(subscriber=ann, upload=-GB, download=0, reason="mistake")
    corrections.make(taken_back, EVA)
    corrections.undo(taken_back, EVA)
    (bill,) = bills.subscribers(MARCH)
    assert (bill.corrected, bill.total) == (-2 * GB, 3 * GB)
    statement = bills.statement(ann, MARCH)
    assert (statement.used, statement.total, statement.corrections) == (5 * GB, 3 * GB, [given])
    assert bills.subscribers(Month(MARCH.next)) == []


def test_those_who_used_most_come_first() -> None:
    used(NOW, user_token="ann-token", upload=GB)
    used(NOW, user_token="bob-token", upload=2 * GB)
    assert [bill.upload for bill in bills.subscribers(MARCH)] == [2 * GB, GB]


@pytest.mark.parametrize("text", ["", "2024", "2024-13", "0000-01", "9999-12", "x"])
def test_what_is_not_a_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        bills.parse_month(text)


def test_months_follow_one_another() -> None:
    december = bills.parse_month("2023-12")
    assert (december.previous, december.next) == (date(2023, 11, 1), date(2024, 1, 1))
