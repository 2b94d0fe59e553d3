"""On a Citus cluster (XPERT_TEST_CITUS): what a report changes is committed in two phases, wherever it is."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.utils import timezone

from operations import distribution
from operations.databases import citus, engine
from operations.databases.citus import Place
from operations.watch import conditions
from tests import cluster
from tests.traffic.examples import a_report, assert_sums_agree
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
