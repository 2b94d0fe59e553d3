"""On a Citus cluster (XPERT_TEST_CITUS): what a report changes is committed in two phases, wherever it is."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test import Client
from django.utils import timezone

from operations import distribution
from operations.databases import citus, engine
from operations.databases.citus import Place
from operations.watch import conditions
from tests import cluster
from tests.traffic import metering
from tests.traffic.examples import WEBHOOK, a_report, assert_sums_agree, balance, wire
from traffic.ledger.recording import record
from traffic.models import Subscriber

pytestmark = [
    pytest.mark.skipif(not cluster.WORKERS, reason="about a cluster, which XPERT_TEST_CITUS names"),
    pytest.mark.django_db(transaction=True),
]


@contextmanager
def remote_commands() -> Iterator[list[str]]:
    """What the coordinator sends to the nodes."""
    found: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute("SET citus.log_remote_commands TO on; SET client_min_messages TO notice")
    connection.connection.add_notice_handler(lambda notice: found.append(notice.message_primary))
    yield found
    connection.close()


def test_every_table_is_where_it_is_planned() -> None:
    assert citus.places() == distribution.wanted()
    assert distribution.steps() == []
    assert distribution.unsettled() == []


def test_a_single_report_is_committed_in_two_phases() -> None:
    now = timezone.now()
    record([a_report(now)], now, create_subscribers=True)
    with remote_commands() as found:
        record([a_report(now, event_id="x")], now)
    assert any("PREPARE TRANSACTION" in command for command in found)
    assert_sums_agree()


def test_ids_go_on_after_the_distribution() -> None:
    first, second = Subscriber.objects.create(name="a"), Subscriber.objects.create(name="b")
    assert second.pk == first.pk + 1


def test_the_size_is_that_of_all_nodes() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        here = cursor.fetchone()[0]
    assert citus.size_of_workers() > 0
    assert engine.database_size() >= here + citus.size_of_workers()


def test_a_healthy_cluster_is_in_order() -> None:
    found = [one for one in conditions.quick(timezone.now()) if one.code.startswith("cluster")]
    assert [(one.code, one.figures) for one in found] == [("cluster-ok", {"nodes": 3})]


def test_known_tables_take_part_in_both_phases() -> None:
    assert [name for name, place in citus.places().items() if place is Place.KNOWN] != []


def send(client: Client, event_id: str) -> tuple[int, bool]:
    """The status, and whether the report was a duplicate."""
    answer = client.post(WEBHOOK, wire(event_id=event_id), content_type="application/json")
    return answer.status_code, answer.json().get("duplicate", False)


def test_reports_go_through_any_node(open_access: None, local: Client, reporter: Client) -> None:
    """Subscribers and servers too that the cluster does not know yet, and keys."""
    with cluster.connected_to_a_worker():
        assert send(local, "one") == (200, False)
        assert send(reporter, "two") == (200, False)
    assert [send(local, "one"), send(local, "three")] == [(200, True), (200, False)]
    with cluster.connected_to_a_worker():
        assert send(local, "three") == (200, True)
    assert balance().life_reports == 3
    assert_sums_agree()


def test_meter_readings_go_through_any_node(reporter: Client) -> None:
    Subscriber.objects.create(token="ann")
    assert metering.send(reporter, metering.row(100, 1000), run=1).status_code == 200
    with cluster.connected_to_a_worker():
        assert metering.send(reporter, metering.row(300, 1000), run=1).status_code == 200
    assert balance("ann").life_upload == 300
    assert_sums_agree()


def test_a_worker_is_ready_for_reports() -> None:
    with cluster.connected_to_a_worker():
        assert Client().get("/readyz").status_code == 200
        assert [found.code for found in conditions.everything(timezone.now())][
            -1
        ] == "cluster-worker"


def test_what_only_the_coordinator_knows_is_unavailable_at_a_worker(manager: Client) -> None:
    Subscriber.objects.create(token="ann")
    with cluster.connected_to_a_worker():
        assert manager.get("/api/xpert/sources").status_code == 503
        assert Client().get("/api/xpert/sub?user_token=ann").status_code == 503


def test_migrate_refuses_at_a_worker() -> None:
    with (
        cluster.connected_to_a_worker(),
        pytest.raises(SystemCheckError, match=r"operations\.E037"),
    ):
        call_command("migrate", verbosity=0, skip_checks=False)
