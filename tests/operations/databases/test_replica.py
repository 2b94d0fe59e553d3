"""What is read from the replica. Here it is a second connection to the database under test."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from operations.databases import replica
from operations.databases.replica import ALIAS, Router
from operations.watch import conditions, doctor, exposition
from tests.test_scripts import environment
from tests.traffic.admin_pages import operator
from tests.traffic.examples import NOW, a_report, stored
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _replica(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(connections.settings, ALIAS, connection.settings_dict)
    monkeypatch.setattr(replica._absence, "until", 0.0)
    settings.DATABASE_ROUTERS = ["operations.databases.replica.Router"]
    # Django's tests refuse connections with another alias than those that they were told of.
    connections[ALIAS] = connections["default"].copy()
    yield
    connections[ALIAS].close()
    del connections[ALIAS]


@contextmanager
def asked() -> Iterator[list[str]]:
    """The statements that the replica gets."""
    found: list[str] = []
    with CaptureQueriesContext(connections[ALIAS]) as captured:
        yield found
    found += [query["sql"] for query in captured.captured_queries]


def figures(client: Client, path: str) -> list[str]:
    with asked() as found:
        assert client.get(f"/api/xpert/{path}").status_code == 200
    return found


@pytest.mark.parametrize(
    "path",
    [
        "traffic-stats/global",
        "traffic-stats/global/series",
        "traffic-stats/server/vpn.example.com/443",
        "marzban-traffic-stats",
    ],
)
def test_statistics_for_operators_come_from_the_replica(path: str, reader: Client) -> None:
    stored(a_report())
    assert any("traffic_" in sql for sql in figures(reader, path))


@pytest.mark.parametrize(
    "path",
    ["traffic-stats/user123", "traffic-stats/user123/series", "sub?user_token=user123"],
)
def test_what_subscribers_see_comes_from_the_primary(path: str, client: Client) -> None:
    stored(a_report())
    assert figures(client, path) == []


def test_downloads_of_lists_come_from_the_replica_while_they_are_sent() -> None:
    stored(a_report())
    client = operator()
    with asked() as found:
        page = client.get("/admin/traffic/subscriber/export/list.csv")
        assert b"name" in b"".join(page.streaming_content)  # type: ignore[attr-defined]
    assert any("traffic_subscriber" in sql for sql in found)
    assert replica._thread.depth == 0


def test_a_replica_that_does_not_answer_is_replaced_by_the_primary_and_left_alone_for_a_while(
    reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bool] = []

    def away() -> None:
        tried.append(True)
        raise OperationalError("away")

    stored(a_report())
    monkeypatch.setattr(connections[ALIAS], "ensure_connection", away)
    for _ in range(2):
        answer = reader.get("/api/xpert/traffic-stats/global?days=3650")
        assert answer.json()["total_users"] == 1
    assert len(tried) == 1


def test_inside_a_transaction_everything_comes_from_the_primary() -> None:
    with transaction.atomic():
        Subscriber.objects.create(name="new")
        with asked() as found, replica.reading():
            assert Subscriber.objects.count() == 1
    assert found == []


def test_what_was_read_from_the_replica_is_written_to_the_primary() -> None:
    Subscriber.objects.create(name="old")
    with replica.reading():
        found = Subscriber.objects.get()
    assert found._state.db == ALIAS
    with asked() as statements:
        found.name = "new"
        found.save()
    assert statements == []
    assert Subscriber.objects.get().name == "new"


def test_nothing_is_migrated_on_a_replica() -> None:
    assert Router().allow_migrate(ALIAS, "traffic") is False
    assert Router().allow_migrate("default", "traffic") is None
    assert Router().allow_relation(User(), User())


def test_without_a_replica_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "is_set", lambda: False)
    with replica.reading():
        assert Router().db_for_read(Subscriber) is None
    assert list(conditions._replica(NOW)) == []


# --- how far behind it is ----------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "code"),
    [(None, "replica-away"), (0.0, "replica-ok"), (60.0, "replica-ok"), (61.0, "replica-late")],
)
def test_doctor_says_how_far_the_replica_is_behind(
    behind: float | None, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "lag", lambda: behind)
    found = list(conditions._replica(NOW))
    assert [line.code for line in doctor.lines(found)] == [code]
    gauges = [sample.value for metric in exposition._replica(found) for sample in metric.samples]
    assert gauges == ([] if behind is None else [behind])


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")
def test_a_database_that_is_no_replica_is_not_behind() -> None:
    assert replica.lag() == 0


def test_a_replica_that_is_away_has_no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr(replica, "connection", type("Away", (), {"cursor": away})())
    assert replica.lag() is None


def _started(**values: str) -> Any:
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        env=environment(XPERT_ENV_FILE="/dev/null", SECRET_KEY="x" * 50, **values),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"DATABASE_URL_READ": "postgres://u:p@h/n"}, "DATABASE_URL, which is empty"),
        (
            {"DATABASE_URL": "postgres://u:p@h/n", "DATABASE_URL_READ": "sqlite:///x.db"},
            "DATABASE_URL_READ takes postgres://",
        ),
    ],
    ids=["without a primary", "another kind"],
)
def test_a_replica_of_nothing_or_of_another_kind_stops_the_start(
    values: dict[str, str], sentence: str
) -> None:
    done = _started(**values)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
