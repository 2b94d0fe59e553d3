"""State and level: Python and the database agree on every subscriber."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from model_bakery import baker

from operations import quota_levels
from operations.quota_levels import Level
from tests.traffic.examples import DAY, HOUR, NOW
from traffic.ledger import lookup
from traffic.models import MAX_COUNTER, Balance, Subscriber
from traffic.people import quotas
from traffic.people.quotas import State
from traffic.periods import EPOCH

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("fields", "used", "state"),
    [
        ({}, 0, State.ACTIVE),
        ({}, MAX_COUNTER, State.ACTIVE),
        ({"is_active": False}, 0, State.DISABLED),
        ({"expires_at": NOW + SECOND}, 0, State.ACTIVE),
        ({"expires_at": NOW}, 0, State.EXPIRED),
        ({"expires_at": NOW - DAY}, 0, State.EXPIRED),
        ({"data_limit": 100}, 99, State.ACTIVE),
        ({"data_limit": 100}, 100, State.LIMITED),
        ({"data_limit": 100}, 101, State.LIMITED),
        ({"data_limit": 100, "expires_at": NOW}, 100, State.EXPIRED),
        ({"data_limit": 100, "expires_at": NOW, "is_active": False}, 100, State.DISABLED),
        ({"suspension": "limited"}, 0, State.LIMITED),
        ({"suspension": "limited", "expires_at": NOW}, 0, State.EXPIRED),
        ({"suspension": "expired", "data_limit": 100}, 100, State.EXPIRED),
        ({"suspension": "expired", "is_active": False}, 0, State.DISABLED),
        ({"suspension": "disabled", "expires_at": NOW}, 0, State.DISABLED),
    ],
)
def test_a_subscriber_is_in_one_state(fields: dict[str, Any], used: int, state: State) -> None:
    assert quotas.state(Subscriber(**fields), used, NOW) is state


@pytest.mark.parametrize(
    ("limit", "used", "level"),
    [
        (None, MAX_COUNTER, None),
        (100, 0, Level.LOW),
        (100, 79, Level.LOW),
        (100, 80, Level.HIGH),
        (100, 99, Level.HIGH),
        (100, 100, Level.OVER),
        (1, 0, Level.LOW),
        (1, 1, Level.OVER),
        (0, 0, Level.OVER),
    ],
)
def test_a_limit_is_nearly_used_from_four_fifths_and_used_up_at_the_limit_itself(
    limit: int | None, used: int, level: Level | None
) -> None:
    assert quotas.level(Subscriber(data_limit=limit), used) is level


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [(100, 0, 100), (100, 99, 1), (100, 100, 0), (100, 101, 0)],
)
def test_the_bytes_left_are_never_negative(limit: int, used: int, left: int) -> None:
    assert quota_levels.left(used, limit) == left


@pytest.mark.parametrize(
    ("expires", "is_listed"),
    [
        (None, False),
        (-HOUR, False),
        (0 * HOUR, False),
        (HOUR, True),
        (7 * DAY, True),
        (7 * DAY + SECOND, False),
    ],
)
def test_expiring_means_valid_now_and_no_longer_in_a_week(
    expires: timedelta | None, is_listed: bool
) -> None:
    baker.make(Subscriber, expires_at=None if expires is None else NOW + expires)
    asked = quotas.expires_between(NOW, NOW + 7 * DAY)
    assert Subscriber.objects.filter(asked).exists() == is_listed


def test_a_disabled_subscriber_does_not_expire() -> None:
    baker.make(Subscriber, expires_at=NOW + HOUR, is_active=False)
    assert not Subscriber.objects.filter(quotas.expires_between(NOW, NOW + 7 * DAY)).exists()


# --- the database agrees -----------------------------------------------------


@pytest.mark.parametrize(
    ("left", "is_expired"), [(-SECOND, True), (timedelta(), True), (SECOND, False)]
)
def test_the_database_finds_a_subscriber_expired_from_exactly_that_moment(
    left: timedelta, is_expired: bool
) -> None:
    baker.make(Subscriber, expires_at=NOW + left)
    assert Subscriber.objects.filter(quotas.has_state(State.EXPIRED, NOW)).exists() is is_expired
    assert Subscriber.objects.filter(quotas.is_valid(NOW)).exists() is not is_expired


@contextmanager
def any_limit() -> Iterator[None]:
    """Allow rows that the constraints refuse, such as a limit of 0. Everything is rolled back."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        try:
            yield
        finally:
            cursor.execute("PRAGMA ignore_check_constraints = OFF")
            transaction.set_rollback(True)


moments = st.sampled_from([-40 * DAY, -DAY, -HOUR, -SECOND, timedelta(), SECOND, HOUR, 4 * DAY])
small = st.integers(0, 12)
sizes = small | st.integers(0, MAX_COUNTER)
people = st.fixed_dictionaries(
    {
        "is_active": st.booleans() | st.just(True),
        "data_limit": st.none() | sizes,
        "limit_reset": st.sampled_from(Subscriber.Reset.values),
        "reset_day": st.integers(1, 31),
        "reset_days": st.integers(1, 400),
        "hold_days": st.none() | st.integers(1, 400),
        "started_at": moments.map(lambda ahead: NOW + ahead),
        "expires_at": st.none() | moments.map(lambda ahead: NOW + ahead),
        "suspension": st.sampled_from(["", "", *Subscriber.Suspension.values]),
        "reset_at": st.none() | moments.map(lambda ahead: NOW + ahead),
    }
)
counters = st.none() | st.tuples(
    sizes, sizes, st.just(EPOCH) | moments.map(lambda ahead: NOW + ahead)
)
zones = st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"])


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite stores a limit of 0")
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(made=st.lists(st.tuples(people, counters), min_size=1, max_size=8), zone=zones)
@example(made=[({"data_limit": 0}, None), ({"data_limit": None}, (1, 1, EPOCH))], zone="UTC")
@example(made=[({"expires_at": NOW, "data_limit": 5}, (2, 3, EPOCH))], zone="UTC")
def test_the_database_says_of_everybody_what_python_says_of_one(
    made: list[tuple[dict[str, Any], tuple[int, int, Any] | None]], zone: str
) -> None:
    with any_limit():
        rows = [Subscriber.objects.create(**fields) for fields, _ in made]
        Balance.objects.bulk_create(
            Balance(subscriber=row, period_upload=counted[0], period_download=counted[1], period_start=counted[2])
            for row, (_, counted) in zip(rows, made, strict=True)
            if counted
        )  # fmt: skip
        _compare(ZoneInfo(zone))


def _compare(zone: ZoneInfo) -> None:
    every: Any = quotas.with_usage(Subscriber.objects.all(), NOW, zone)
    found = list(every)

    def asked(question: Any) -> set[int]:
        return set(every.filter(question).values_list("pk", flat=True))

    for state in State:
        same = {row.pk for row in found if quotas.state(row, row.period_used, NOW) is state}
        assert asked(quotas.has_state(state, NOW)) == same
    usable = {row.pk for row in found if quotas.state(row, row.period_used, NOW).may_use}
    assert asked(quotas.may_use(NOW)) == usable
    for level in Level:
        same = {row.pk for row in found if quotas.level(row, row.period_used) is level}
        assert asked(quotas.has_level(level)) == same
        assert level is Level.LOW or same <= asked(quotas.may_have_reached(level))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fields=people, zone=zones)
def test_the_database_knows_when_the_period_of_everybody_began(
    fields: dict[str, Any], zone: str, settings: Any
) -> None:
    settings.XPERT_TIME_ZONE = zone
    fields["data_limit"] = None
    with transaction.atomic():
        made = Subscriber.objects.create(**fields)
        made.refresh_from_db()
        row: Any = quotas.with_usage(Subscriber.objects.all(), NOW, ZoneInfo(zone)).get()
        assert row.period_began == lookup.current_period(made, NOW)
        transaction.set_rollback(True)
