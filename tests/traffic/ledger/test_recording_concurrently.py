"""Many writers at once, each with a connection of its own, on the database of production."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection

from tests.traffic.examples import (
    DAY,
    HOUR,
    NOW,
    a_report,
    assert_sums_agree,
    balance,
    stored,
    sums,
)
from traffic.ledger import retention
from traffic.ledger.recording import Outcome
from traffic.models import ReceivedEvent, Server, Subscriber, Usage
from traffic.reports import Report

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each in a thread of its own."""

    def work(one: Callable[[], Any]) -> Any:
        try:
            return one()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(work, works))


def insisting(*reports: Report) -> list[Outcome]:
    """As a client does that was told that the database is busy: nothing was counted, so it sends again."""
    while True:
        try:
            return stored(*reports)
        except OperationalError as error:
            if "locked" not in str(error):
                raise


def test_64_writers_on_one_key_lose_nothing() -> None:
    def write() -> None:
        for _ in range(3):
            assert insisting(a_report(upload=1, download=2)) == [Outcome.RECORDED]

    at_once([write] * 64)
    assert sums(Usage) == {"Usage": (192, 384, 192)}
    assert Usage.objects.count() == Server.objects.count() == Subscriber.objects.count() == 1
    assert balance().life_reports == 192
    assert_sums_agree()


def test_one_event_from_many_writers_at_once_counts_once() -> None:
    outcomes = at_once([lambda: insisting(a_report(event_id="x"), a_report(event_id="y"))] * 12)
    for place in (0, 1):
        assert sorted(found[place].value for found in outcomes) == ["duplicate"] * 11 + ["recorded"]
    assert ReceivedEvent.objects.count() == 2
    assert sums(Usage) == {"Usage": (2, 4, 2)}
    assert_sums_agree()


def test_writers_of_the_same_rows_in_different_orders_do_not_stop_each_other() -> None:
    def writer(seed: int) -> Callable[[], None]:
        draw = random.Random(seed)
        reports = [
            a_report(NOW - hours * HOUR, user_token=f"user{who}", server=f"s{where}.example", event_id=f"{seed}-{who}-{where}-{hours}")
            for who in range(6)
            for where in range(3)
            for hours in range(2)
        ]  # fmt: skip

        def write() -> None:
            for _ in range(5):
                draw.shuffle(reports)
                assert {found.value for found in insisting(*reports)} <= {"recorded", "duplicate"}

        return write

    at_once([writer(seed) for seed in range(8)])
    assert sums(Usage) == {"Usage": (8 * 36, 8 * 72, 8 * 36)}
    assert_sums_agree()


def test_writers_and_cleanup_at_once_keep_the_sums_in_agreement() -> None:
    old = [
        a_report(NOW - age * DAY, user_token=f"user{age % 4}", server=f"s{age % 3}.example")
        for age in range(25, 80)
    ]

    def write() -> None:
        for number in range(10):
            insisting(old[number * 5])

    def tidy(work: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(3):
                try:
                    work()
                except OperationalError as error:
                    assert "locked" in str(error)

        return run

    stored(*old)
    deletes = tidy(lambda: retention.delete_records(50, NOW))
    folds = tidy(lambda: retention.fold(NOW))
    at_once([write, write, deletes, deletes, folds, folds])
    assert sum(balance(f"user{who}").life_reports for who in range(4)) == 55 + 2 * 10
    retention.delete_records(50, NOW)
    retention.fold(NOW)
    assert_sums_agree()
    assert not Usage.objects.filter(hour__lt=NOW - 52 * DAY).exists()
