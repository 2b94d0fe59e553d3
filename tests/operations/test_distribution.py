"""What ``distribute_citus`` would do, and what it refuses. Nothing here needs a cluster; tests/test_cluster.py does."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, models, transaction

from operations import distribution
from operations.api import exceptions
from operations.databases import citus, postgresql
from operations.databases.citus import Node, Part, Place
from operations.distribution import DistributionError, plan
from operations.extension import extensions
from operations.watch import conditions, doctor
from script import _prepare
from tests import cluster
from tests.traffic.examples import NOW

OURS = {"operations", "traffic", "subscriptions", "gateways", "integrations"}
GOAL = {"people": Place.COPIED, "usage": Place.SPREAD, "balance": Place.SPREAD, "sums": Place.KNOWN}
plain = pytest.mark.skipif(bool(cluster.WORKERS), reason="about a database that is not distributed")


def planned() -> list[type[models.Model]]:
    goal = distribution.wanted()
    return [model for model in apps.get_models() if model._meta.db_table in goal]


# --- the plan of this panel --------------------------------------------------


def test_every_model_says_where_its_rows_are_on_a_cluster() -> None:
    places = {extension.name: set(extension.places) for extension in extensions()}
    for app in apps.get_app_configs():
        if app.name.partition(".")[0] in OURS:
            assert places.get(app.label, set()) == {model.__name__ for model in app.get_models()}


def test_what_is_spread_has_the_subscriber_in_its_key_and_in_everything_unique() -> None:
    for model in planned():
        if distribution.wanted()[model._meta.db_table] is not Place.SPREAD:
            continue
        unique = [
            {getattr(model._meta.get_field(name), "column", name) for name in found.fields}
            for found in model._meta.total_unique_constraints
        ]
        unique.append({field.column for field in model._meta.pk_fields})
        assert all(citus.SPREAD_BY in columns for columns in unique), model
        assert not [one for one in model._meta.fields if one.unique and not one.primary_key], model


def test_no_foreign_key_leads_into_or_out_of_a_table_that_is_distributed() -> None:
    """It would make Citus take over tables that stay here, and begin their ids again."""
    goal = distribution.wanted()
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_fields:
            if isinstance(field, models.ForeignKey) and getattr(field, "db_constraint", True):
                ends = {model._meta.db_table, field.related_model._meta.db_table}
                assert not ends & goal.keys(), field


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")
@pytest.mark.django_db
def test_the_database_has_no_such_foreign_key_either() -> None:
    assert citus.foreign_keys(distribution.wanted()) == []


def test_people_and_servers_are_distributed_before_what_is_spread_by_them() -> None:
    order = list(distribution.wanted())
    assert order.index("traffic_subscriber") < order.index("traffic_usage")
    assert order.index("traffic_usage") < order.index("traffic_serverusage")


# --- steps -------------------------------------------------------------------


def test_a_new_cluster_gets_everything_and_the_first_spread_table_decides() -> None:
    assert [step.sql for step in plan(GOAL, {}, 8)] == [
        "SELECT create_reference_table('people')",
        "SELECT create_distributed_table('usage', 'subscriber_id', shard_count => 8)",
        "SELECT create_distributed_table('balance', 'subscriber_id', colocate_with => 'usage')",
        "SELECT citus_add_local_table_to_metadata('sums')",
    ]


def test_what_is_done_is_not_done_again() -> None:
    assert plan(GOAL, GOAL) == []


def test_a_table_of_an_update_goes_where_its_kind_is_already() -> None:
    goal = {"newest": Place.SPREAD} | GOAL
    assert [step.sql for step in plan(goal, GOAL)] == [
        "SELECT create_distributed_table('newest', 'subscriber_id', colocate_with => 'usage')"
    ]


def test_a_table_that_is_elsewhere_is_named_and_never_converted() -> None:
    with pytest.raises(DistributionError, match=r"balance .*copy_traffic"):
        plan(GOAL, GOAL | {"balance": Place.COPIED})


def test_a_table_that_only_citus_knows_of_is_not_ours_to_judge() -> None:
    assert plan(GOAL, GOAL | {"of_another_program": Place.COPIED}) == []


# --- a cluster that is only told ---------------------------------------------


class Cluster:
    """Stands in for the answers of a cluster; ``done``: the SQL that was sent."""

    def __init__(self) -> None:
        self.version: tuple[int, ...] = (13, 2)
        self.is_coordinator = True
        self.places: Any = {}
        self.nodes = [Node("c:5432", True, False), Node("w:5432", False, True)]
        self.parts = [Part("w:5432", True)]
        self.foreign_keys: list[str] = []
        self.of_others: list[str] = []
        self.unsettled: list[str] = []
        self.shards = 16
        self.others = 0
        self.is_kept_in_order = True
        self.is_spread = True
        self.done: list[str] = []
        self.fails = ""

    def execute(self, sql: str) -> None:
        if self.fails and self.fails in sql:
            raise DatabaseError("no\nroom")
        self.done.append(sql)

    def told_places(self) -> Any:
        if isinstance(self.places, Exception):
            raise self.places
        return self.places


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    found = Cluster()
    answers: dict[str, Callable[..., Any]] = {
        "version": lambda: found.version,
        "is_coordinator": lambda: found.is_coordinator,
        "places": found.told_places,
        "nodes": lambda: found.nodes,
        "parts": lambda: found.parts,
        "foreign_keys": lambda _: found.foreign_keys,
        "of_others": lambda _: found.of_others,
        "unsettled": lambda _: found.unsettled,
        "shards": lambda _: found.shards,
        "sizes": lambda _: {"traffic_usage": (1234567, 2**20)},
        "is_kept_in_order": lambda: found.is_kept_in_order,
        "is_spread": lambda: (
            found.is_spread
            and isinstance(found.places, dict)
            and Place.SPREAD in found.places.values()
        ),
        "execute": found.execute,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(citus, name, answer)
    monkeypatch.setattr(postgresql, "others_connected", lambda: found.others)
    monkeypatch.setattr(distribution, "write_transaction", nullcontext)
    yield found


def ran(*arguments: str) -> str:
    out = StringIO()
    call_command("distribute_citus", *arguments, stdout=out)
    return out.getvalue()


@plain
@pytest.mark.django_db
def test_a_database_that_is_no_cluster_is_refused_with_what_to_do() -> None:
    expected = "copy_traffic" if connection.vendor == "sqlite" else "CREATE EXTENSION citus"
    with pytest.raises(CommandError, match=f"Nothing was changed: .*{expected}"):
        ran()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": (13, 1)}, "This is Citus 13.1: the panel needs 13.2"),
        ({"is_coordinator": False}, "not the coordinator"),
        ({"nodes": [Node("c:5432", True, True)]}, "citus_add_node"),
        ({"parts": [Part("w:5432", False)]}, "w:5432 does not answer"),
        ({"foreign_keys": ["a.b_fk"]}, "a.b_fk"),
        ({"of_others": ["traffic_usage"]}, "traffic_usage belongs to another role"),
        ({"others": 3}, "3 other connections"),
        (
            {"places": {"traffic_usage": Place.COPIED}},
            "traffic_usage is distributed in another way",
        ),
        ({"places": ValueError("traffic_usage")}, "by another column"),
        ({"fails": "traffic_balance"}, "no room"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.django_db
def test_each_thing_in_the_way_is_one_sentence(
    changes: dict[str, Any], sentence: str, told: Cluster
) -> None:
    for name, value in changes.items():
        setattr(told, name, value)
    with pytest.raises(CommandError, match="Nothing was changed: ") as error:
        ran()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    if "fails" not in changes:
        assert told.done == []


@pytest.mark.django_db
def test_pending_migrations_are_refused(told: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    pending = "operations.distribution.MigrationExecutor.migration_plan"
    monkeypatch.setattr(pending, lambda *_: ["traffic.0099"])
    with pytest.raises(CommandError, match="run migrate first"):
        ran()


@pytest.mark.parametrize("shards", ["0", "1025"])
def test_the_number_of_shards_has_bounds(shards: str) -> None:
    with pytest.raises(CommandError, match="1 to 1024"):
        ran("--shards", shards)


@pytest.mark.parametrize("shards", ["1", "1024"])
@pytest.mark.django_db
def test_it_is_taken_within_them(shards: str, told: Cluster) -> None:
    ran("--shards", shards)
    assert any(f"shard_count => {shards})" in sql for sql in told.done)


@pytest.mark.django_db
def test_it_distributes_once_and_sets_the_next_ids(told: Cluster) -> None:
    assert "Distributed" in ran()
    assert told.done[0].startswith("SELECT create_reference_table(")
    assert any("shard_count => 16" in sql for sql in told.done)
    assert [sql for sql in told.done if "setval" in sql and '"traffic_subscriber"' in sql]
    assert not [sql for sql in told.done if "setval" in sql and '"traffic_usage"' in sql]
    told.places, told.done = distribution.wanted(), []
    assert ran() == "Nothing to do.\n"
    assert told.done == []


@pytest.mark.django_db
def test_what_an_interrupted_run_left_on_the_coordinator_is_dropped_by_the_next(
    told: Cluster,
) -> None:
    told.places, told.unsettled = distribution.wanted(), ["traffic_usage"]
    ran()
    assert "SELECT truncate_local_data_after_distributing_table('traffic_usage')" in told.done


@pytest.mark.django_db
def test_another_number_of_shards_is_refused_later(told: Cluster) -> None:
    told.places = distribution.wanted()
    with pytest.raises(CommandError, match="16 shards already"):
        ran("--shards", "8")
    assert ran("--shards", "16") == "Nothing to do.\n"


@pytest.mark.django_db
def test_a_dry_run_tells_the_plan_and_changes_nothing_even_beside_a_running_panel(
    told: Cluster,
) -> None:
    told.others = 5
    page = ran("--dry-run")
    assert "Citus 13.2: coordinator c:5432, workers w:5432." in page
    assert "1,234,567 rows" in page
    assert "SELECT create_reference_table('traffic_subscriber');" in page
    assert "Nothing was changed." in page
    assert told.done == []


@pytest.mark.django_db
def test_a_dry_run_says_when_there_is_nothing_to_do(told: Cluster) -> None:
    told.places = distribution.wanted()
    assert "Nothing to do." in ran("--dry-run")


# --- what doctor and the metrics say -----------------------------------------


def said() -> dict[str, str]:
    found = list(conditions._cluster(NOW))
    return {line.code: f"{line.message} {line.advice}" for line in doctor.lines(found)}


def test_a_cluster_in_order_is_told_in_one_line(told: Cluster) -> None:
    told.places = distribution.wanted()
    assert said() == {"cluster-ok": "All 2 nodes answer. "}


def test_a_database_on_one_machine_is_not_asked_about_nodes(told: Cluster) -> None:
    told.is_spread = False
    assert said() == {}


def test_what_is_wrong_with_a_cluster_is_named(told: Cluster) -> None:
    told.places = {k: v for k, v in distribution.wanted().items() if k != "traffic_told"}
    told.parts = [Part("w1:5432", False), Part("w2:5432", True, 2)]
    told.is_kept_in_order = False
    found = said()
    assert "w1:5432" in found["cluster-node-away"]
    assert "w2:5432" in found["cluster-unsettled"]
    assert "traffic_told" in found["cluster-incomplete"]
    assert "max_worker_processes" in found["cluster-unkept"]
    assert "cluster-ok" not in found


# --- a worker ----------------------------------------------------------------


def _columns_of_this_release(tables: Iterable[str]) -> set[tuple[str, str | None]]:
    return {
        (model._meta.db_table, field.column)
        for model in planned()
        for field in model._meta.local_concrete_fields
    }


def test_a_worker_is_outdated_when_a_column_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(citus, "columns", _columns_of_this_release)
    assert distribution.outdated() == []
    lost: set[tuple[str, str | None]] = {("traffic_usage", "upload")}
    monkeypatch.setattr(citus, "columns", lambda tables: _columns_of_this_release(tables) - lost)
    assert distribution.outdated() == ["traffic_usage"]


def test_a_worker_is_outdated_when_a_table_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(citus, "columns", lambda tables: set())
    assert distribution.outdated() == sorted(distribution.wanted())


@pytest.mark.parametrize(
    ("old", "code"), [([], "cluster-worker"), (["traffic_usage"], "cluster-worker-old")]
)
def test_doctor_looks_no_further_at_a_worker(
    old: list[str], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(citus, "is_worker", lambda: True)
    monkeypatch.setattr(distribution, "outdated", lambda: old)
    assert conditions.quick(NOW)[-1].code == code
    assert conditions.everything(NOW)[-1].code == code
    assert doctor.lines([conditions.quick(NOW)[-1]])[0].message


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")
@pytest.mark.django_db
@pytest.mark.parametrize(("is_worker", "expected"), [(True, True), (False, False)])
def test_a_missing_table_is_elsewhere_only_at_a_worker(
    is_worker: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(citus, "is_worker", lambda: is_worker)
    with pytest.raises(DatabaseError) as missing, transaction.atomic():
        citus.execute("SELECT 1 FROM nowhere")
    assert exceptions.is_unavailable(missing.value) is expected
    with pytest.raises(DatabaseError) as other, transaction.atomic():
        citus.execute("SELECT nothing FROM traffic_usage")
    assert not exceptions.is_unavailable(other.value)


def test_a_panel_at_a_worker_starts_without_migrating(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(citus, "is_worker", lambda: True)
    monkeypatch.setattr(distribution, "outdated", list)
    monkeypatch.setattr(_prepare, "call_command", lambda *_, **__: pytest.fail("migrated"))
    monkeypatch.setattr(_prepare, "connection", SimpleNamespace(vendor="postgresql"))
    _prepare.make_database()
    assert "a worker of a Citus cluster" in capsys.readouterr().out


def test_a_panel_at_a_worker_does_not_start_on_older_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distribution, "outdated", lambda: ["traffic_usage"])
    with pytest.raises(SystemExit, match="traffic_usage of this cluster is older"):
        _prepare.check_worker()
