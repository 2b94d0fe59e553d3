"""Every question finds its rows by an index: none reads the big table from end to end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone

from traffic.figures import overview, statistics
from traffic.ledger import rollups
from traffic.ledger.recording import record
from traffic.models import Server
from traffic.periods import window
from traffic.reports import Report

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        connection.vendor != "sqlite",
        reason="the plans of SQLite; PostgreSQL's depend on its statistics",
    ),
]
UTC = ZoneInfo("UTC")


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    found: list[tuple[str, Any]] = []

    def note(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def plan(sql: str, params: Any) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        return [row[-1] for row in cursor.fetchall()]


def last(days: int) -> Any:
    return window(days, timezone.now())


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(lambda: statistics.user("user1", last(30)), id="user"),
        pytest.param(lambda: statistics.user("user1", last(365)), id="user, a year"),
        pytest.param(
            lambda: statistics.user_series("user1", last(30), "day", UTC), id="series of a user"
        ),
        pytest.param(lambda: statistics.overall(last(30)), id="global"),
        pytest.param(lambda: statistics.overall(last(365)), id="global, a year"),
        pytest.param(lambda: statistics.global_series(last(30), "hour", UTC), id="global series"),
        pytest.param(lambda: statistics.server("vpn.example.com", 443, last(30)), id="server"),
        pytest.param(
            lambda: statistics.server_series(Server.objects.get(), [last(30)], UTC),
            id="series of a server",
        ),
        pytest.param(
            lambda: statistics.server_users(Server.objects.get(), last(30), 10),
            id="users of a server",
        ),
        pytest.param(lambda: overview.hours(timezone.now()), id="dashboard"),
        pytest.param(
            lambda: list(overview.top_subscribers(timezone.now(), UTC, 10)), id="top subscribers"
        ),
        pytest.param(
            lambda: list(overview.silent_subscribers(timezone.now(), 10)), id="silent subscribers"
        ),
        pytest.param(statistics.database, id="database info"),
    ],
)
def test_no_question_scans_the_records(question: Callable[[], object]) -> None:
    moment = int(timezone.now().timestamp())
    record(
        [Report("user1", "vpn.example.com", 443, "vless", 1, 2, moment)],
        timezone.now(),
        create_subscribers=True,
    )
    with statements() as sent:
        question()
    steps = [step for sql, params in sent for step in plan(sql, params)]
    assert steps
    assert [step for step in steps if step.startswith("SCAN traffic_usage")] == []


@pytest.mark.parametrize("column", ["api_key_id", "subscriber_id", "origin"])
def test_the_sender_of_a_message_is_found_by_an_index(column: str) -> None:
    with statements() as sent:
        list(rollups.lock_reporters(column, [1, 2], ["phone"]))
    assert [step for sql, params in sent for step in plan(sql, params) if "SCAN" in step] == []
