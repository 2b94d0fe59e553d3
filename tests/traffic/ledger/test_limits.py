"""What counts towards limits on servers: booked with the report, whatever comes late, is cleaned or erased."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries, Settings

from operations.audit import By
from tests.traffic.examples import DAY, HOUR, NOW, a_report, subscriber
from traffic.ledger import lookup, retention, verification
from traffic.ledger.lookup import Endpoint
from traffic.ledger.recording import record
from traffic.models import MAX_COUNTER, NOBODY, LimitBalance, Reset, ServerLimit, Subscriber
from traffic.people import erasure, server_limits

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
BERLIN: Endpoint = ("vpn.example.com", 443, "vless")
PARIS: Endpoint = ("fr.example.com", 8443, "trojan")
BY = By("anna", NOW)


def a_limit(*servers: Endpoint, at: datetime = NOW, **fields: Any) -> ServerLimit:
    limit = ServerLimit(**{"name": "Berlin", "data_limit": 100} | fields)
    server_limits.add(limit, servers or (BERLIN,), By("anna", at))
    return limit


def used(limit: ServerLimit, token: str = "user123", now: datetime = NOW) -> int:
    """Bytes that count for this subscriber now."""
    found = server_limits.of_subscriber(subscriber(token), now)
    return next(one.used for one in found if one.limit == limit)


def reported(moment: datetime = NOW, /, now: datetime | None = None, **fields: Any) -> None:
    record([a_report(moment, download=0, **fields)], now or moment)


@pytest.fixture(autouse=True)
def _people() -> None:
    for token in ("user123", "other"):
        baker.make(Subscriber, token=token)


def agree() -> bool:
    return not list(verification.differences())


def test_each_subscriber_fills_a_limit_by_themselves() -> None:
    limit = a_limit()
    reported(upload=60)
    reported(upload=30, user_token="other")
    assert (used(limit), used(limit, "other")) == (60, 30)
    assert agree()


def test_all_subscribers_together_fill_one_limit() -> None:
    limit = a_limit(scope="together")
    reported(upload=60)
    reported(upload=30, user_token="other")
    assert (used(limit), used(limit, "other")) == (90, 90)
    assert agree()


def test_a_limit_of_one_subscriber_counts_nobody_else() -> None:
    limit = a_limit(subscriber=subscriber())
    reported(upload=60)
    reported(upload=30, user_token="other")
    assert used(limit) == 60
    assert not server_limits.of_subscriber(subscriber("other"), NOW)
    assert LimitBalance.objects.count() == 1
    assert agree()


def test_other_servers_do_not_count() -> None:
    limit = a_limit(PARIS)
    reported(upload=60)
    reported(upload=5, server=PARIS[0], port=PARIS[1], protocol=PARIS[2])
    assert used(limit) == 5
    assert agree()


def test_a_server_counts_towards_all_its_limits() -> None:
    one, two = a_limit(), a_limit(BERLIN, PARIS, scope="together")
    reported(upload=60)
    assert (used(one), used(two)) == (60, 60)


def test_an_event_that_comes_twice_counts_once() -> None:
    limit = a_limit()
    for _ in range(2):
        reported(upload=60, event_id="one")
    assert used(limit) == 60


def test_a_new_limit_counts_what_the_period_holds_already() -> None:
    reported(NOW - 11 * DAY, now=NOW, upload=1000)
    reported(NOW - DAY, now=NOW, upload=7)
    limit = a_limit(limit_reset="monthly")
    assert used(limit) == 7
    assert agree()


def test_a_new_limit_takes_the_whole_hour_in_which_its_period_begins(settings: Settings) -> None:
    settings.XPERT_TIME_ZONE = "Asia/Tehran"  # its day begins at half past 20 UTC
    reported(NOW.replace(hour=20) - DAY, now=NOW, upload=7)
    reported(NOW.replace(hour=19) - DAY, now=NOW, upload=1000)
    assert used(a_limit(limit_reset="daily")) == 7


@pytest.mark.parametrize("reset", ["never", "interval"])
def test_a_new_limit_without_a_calendar_counts_from_now(reset: str) -> None:
    reported(NOW - SECOND, now=NOW, upload=1000)
    limit = a_limit(limit_reset=reset)
    reported(upload=5)
    assert used(limit) == 5


def test_a_late_report_counts_in_the_period_of_its_time() -> None:
    limit = a_limit(limit_reset="daily")
    later = NOW + DAY
    reported(later, upload=1)
    reported(NOW, now=later, upload=100)
    assert used(limit, now=later) == 1
    assert agree()


def test_the_next_period_begins_at_zero() -> None:
    limit = a_limit(limit_reset="daily")
    reported(upload=100)
    assert used(limit) == 100
    assert used(limit, now=NOW + DAY) == 0


def test_a_restart_begins_a_period_for_everybody() -> None:
    limit = a_limit(limit_reset="monthly")
    reported(upload=100)
    server_limits.restart(limit, By("anna", NOW + HOUR))
    reported(NOW, now=NOW + HOUR, upload=50)
    reported(NOW + HOUR, upload=3)
    assert used(limit, now=NOW + HOUR) == 3
    assert agree()


def test_a_restart_of_one_subscriber_leaves_the_others() -> None:
    limit = a_limit(limit_reset="monthly")
    reported(upload=100)
    reported(upload=30, user_token="other")
    server_limits.restart(limit, By("anna", NOW + HOUR), subscriber())
    reported(NOW, now=NOW + HOUR, upload=50)  # from before it, and late
    reported(NOW + HOUR, upload=3)
    assert (used(limit, now=NOW + HOUR), used(limit, "other", NOW + HOUR)) == (3, 30)


def test_what_is_used_survives_the_cleanup_of_records() -> None:
    limit = a_limit(limit_reset="monthly")
    together = a_limit(limit_reset="monthly", scope="together")
    reported(upload=100)
    reported(upload=30, user_token="other")
    retention.delete_records(0, NOW)
    assert (used(limit), used(together)) == (100, 130)
    assert agree()
    reported(upload=1)
    assert (used(limit), used(together)) == (101, 131)
    assert agree()


def test_what_is_used_survives_folding() -> None:
    limit = a_limit(limit_reset="yearly", scope="together")
    for hour in range(3):
        reported(NOW + hour * HOUR, upload=10)
    later = NOW + 60 * DAY
    retention.fold(later)
    assert used(limit, now=later) == 30
    assert agree()


def test_erasing_a_person_leaves_the_sum_of_all() -> None:
    each, together = a_limit(), a_limit(scope="together")
    reported(upload=60)
    reported(upload=30, user_token="other")
    erasure.erase(subscriber(), BY)
    assert used(together, "other") == 90
    assert (
        not LimitBalance.objects.filter(limit=each)
        .exclude(subscriber=subscriber("other").pk)
        .exists()
    )
    assert agree()


def test_a_server_that_is_added_brings_what_it_was_used_for() -> None:
    limit = a_limit(limit_reset="monthly")
    reported(upload=5, server=PARIS[0], port=PARIS[1], protocol=PARIS[2])
    assert server_limits.extend(limit, [BERLIN, PARIS], NOW) == 1
    assert used(limit) == 5
    assert server_limits.extend(limit, [BERLIN, PARIS], NOW) == 0
    assert agree()


def test_another_reset_counts_the_servers_of_that_limit_alone() -> None:
    limit, _ = a_limit(limit_reset="monthly"), a_limit(PARIS)
    reported(upload=5)
    reported(upload=60, server=PARIS[0], port=PARIS[1], protocol=PARIS[2])
    server_limits.change(limit, {"limit_reset": "daily"}, BY)
    limit.refresh_from_db()
    assert used(limit) == 5


def test_another_reset_counts_the_period_again() -> None:
    limit = a_limit(limit_reset="daily")
    reported(NOW - 2 * DAY, now=NOW, upload=7)
    reported(upload=5)
    server_limits.change(limit, {"limit_reset": "monthly"}, BY)
    limit.refresh_from_db()
    assert used(limit) == 12
    assert agree()


def test_the_sum_of_all_stops_at_the_largest_counter_and_refuses_nobody() -> None:
    limit = a_limit(scope="together", data_limit=MAX_COUNTER)
    for token in ("user123", "other"):
        for hour in range(2):
            reported(NOW + hour * HOUR, now=NOW + HOUR, upload=2**59, user_token=token)
    assert used(limit, now=NOW + HOUR) == MAX_COUNTER
    assert agree()


def test_a_wrong_counter_is_found() -> None:
    limit = a_limit()
    reported(upload=60)
    LimitBalance.objects.update(life_upload=61)
    found = [str(difference) for difference in verification.differences()]
    whose = f"Subscriber {subscriber().pk} at limit {limit.pk} on servers"
    assert found == [f"{whose}: life_upload is 61, the records say 60"]


def test_a_lost_row_is_found() -> None:
    a_limit(scope="together")
    reported(upload=60)
    LimitBalance.objects.filter(subscriber=NOBODY).delete()
    assert not agree()


def test_without_limits_a_report_asks_nothing_more(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    reported()
    with CaptureQueriesContext(connection) as before:
        reported()
    limit = a_limit(PARIS)
    with django_assert_num_queries(len(before)):
        reported()
    server_limits.remove(limit, BY)
    a_limit()
    with django_assert_num_queries(len(before) + 2):
        reported()


reports = st.lists(
    st.tuples(
        st.sampled_from(["user123", "other"]),
        st.sampled_from([BERLIN, PARIS]),
        st.integers(0, 100),
        st.integers(0, 72),  # hours ago
    ),
    max_size=6,
)
steps = st.lists(
    st.tuples(st.integers(0, 40), reports, st.sampled_from(["", "", "clean", "fold"])),
    max_size=6,
)


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=steps,
    reset=st.sampled_from(Reset.values),
    scope=st.sampled_from(["each", "together"]),
)
def test_whatever_happens_the_counters_hold_the_reports_of_the_period(
    steps: list[Any], reset: str, scope: str
) -> None:
    with transaction.atomic():
        limit = a_limit(limit_reset=reset, reset_days=2, scope=scope)
        now, told = NOW, list[tuple[str, int, datetime]]()
        for hours, batch, action in steps:
            now += hours * HOUR
            for token, endpoint, size, ago in batch:
                moment = now - ago * HOUR
                host, port, protocol = endpoint
                reported(moment, now=now, user_token=token, upload=size, server=host, port=port, protocol=protocol)  # fmt: skip
                if endpoint == BERLIN:
                    told.append((token, size, moment))
            if action == "clean":
                retention.delete_records(1, now)
            if action == "fold":
                retention.fold(now)
        start = lookup.current_period(limit, now)
        for token in ("user123", "other"):
            expected = sum(
                size
                for who, size, moment in told
                if moment >= start and (scope == "together" or who == token)
            )
            assert used(limit, token, now) == expected
        assert agree()
        transaction.set_rollback(True)
