"""Spreads the tables of all apps over the nodes of Citus, as each app wants it (``Extension.places``)."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from django.apps import apps
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from operations.databases import citus, postgresql
from operations.databases.citus import Place
from operations.databases.transactions import write_transaction
from operations.extension import extensions

SHARDS = 16
MAX_SHARDS = 1024
_NO_WAY_BACK = "There is no way back in place: copy_traffic copies it into a plain database."


class DistributionError(Exception):
    """The reason why this database cannot be distributed, as one sentence."""


class Step(msgspec.Struct, frozen=True):
    table: str
    place: Place
    sql: str


class Table(msgspec.Struct, frozen=True):
    """``rows`` are estimated."""

    name: str
    place: Place
    rows: int
    size: int


def tables() -> list[Table]:
    """The tables that are or will be known to Citus, as they should be."""
    sizes = citus.sizes(wanted())
    return [Table(name, place, *sizes.get(name, (0, 0))) for name, place in wanted().items()]


def others() -> int:
    """The number of tables that stay on the coordinator, unknown to Citus."""
    return len(set(connection.introspection.table_names()) - wanted().keys())


def wanted() -> dict[str, Place]:
    """The place of each table that does not stay on the coordinator unknown to Citus, in the order of distribution."""
    found = [
        (apps.get_model(extension.name, name)._meta.db_table, place)  # noqa: SLF001
        for extension in extensions()
        for name, place in extension.places.items()
    ]
    order = (Place.COPIED, Place.SPREAD, Place.KNOWN)
    return {table: place for kind in order for table, place in found if place is kind}


def plan(goal: Mapping[str, Place], now: Mapping[str, Place], shards: int = SHARDS) -> list[Step]:
    """The steps from where the tables are now to the goal. Raises DistributionError for one that is elsewhere already."""
    if wrong := [table for table in sorted(goal.keys() & now.keys()) if now[table] != goal[table]]:
        raise DistributionError(
            f"{wrong[0]} is distributed in another way ({now[wrong[0]].value}) than planned"
            f" ({goal[wrong[0]].value}); it is never converted. {_NO_WAY_BACK}"
        )
    first = next(
        table for found in (now, goal) for table, place in found.items() if place is Place.SPREAD
    )
    return [
        Step(table, place, citus.statement(table, place, beside=first, count=shards))
        for table, place in goal.items()
        if table not in now
    ]


def left_out() -> list[str]:
    """Tables that are planned and not distributed, although others are: an update brought them."""
    if not citus.is_spread():
        return []
    return sorted(wanted().keys() - citus.places().keys())


def outdated() -> list[str]:
    """Planned tables that this node does not have as this release needs them.

    It is asked on a worker, which cannot read which migrations are applied.
    """
    goal = wanted()
    have = citus.columns(goal)
    models = (model._meta for model in apps.get_models() if model._meta.db_table in goal)  # noqa: SLF001
    return sorted(
        options.db_table
        for options in models
        if any(
            (options.db_table, field.column) not in have
            for field in options.local_concrete_fields
            if field.column
        )
    )


def refuse_unready(shards: int | None) -> None:
    """Raise DistributionError if this database cannot be distributed."""
    for find in (_no_cluster, _no_nodes, _not_migrated, _not_ours):
        if sentence := find():
            raise DistributionError(sentence)
    _places()
    now = shards_now()
    if shards is not None and now not in (0, shards):
        raise DistributionError(
            f"The tables are in {now} shards already, and --shards counts only the first time:"
            " alter_distributed_table changes it (docs/scaling.md)."
        )


def refuse_company() -> None:
    if others := postgresql.others_connected():
        raise DistributionError(
            f"{others} other connections use the database: first stop the panel and everything else that uses it."
        )


def _no_cluster() -> str:
    version = citus.version()
    if not version and connection.vendor != "postgresql":
        return "The panel uses SQLite: first move it to PostgreSQL with copy_traffic (docs/scaling.md)."
    if not version:
        return "This database has no Citus: CREATE EXTENSION citus on every node (docs/scaling.md)."
    if version < citus.OLDEST:
        have, need = (".".join(map(str, found)) for found in (version, citus.OLDEST))
        return f"This is Citus {have}: the panel needs {need} or newer."
    if not citus.is_coordinator():
        return "This is not the coordinator of the cluster: DATABASE_URL must name that one."
    return ""


def _no_nodes() -> str:
    if not any(node.holds_rows and not node.is_here for node in citus.nodes()):
        return "The cluster has no other node: citus_set_coordinator_host, then citus_add_node for each (docs/scaling.md)."
    away = [part.address for part in citus.parts() if not part.answers]
    return f"{', '.join(away)} does not answer: start it first." if away else ""


def _not_migrated() -> str:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return "Migrations are not applied: run migrate first."
    return ""


def _not_ours() -> str:
    goal = wanted()
    if keys := citus.foreign_keys(goal):
        return f"The foreign key {keys[0]} leads into or out of a table that would be distributed: drop it first."
    if others := citus.of_others(goal):
        return f"{others[0]} belongs to another role: connect as its owner or as a superuser."
    return ""


def _places() -> dict[str, Place]:
    try:
        return citus.places()
    except ValueError as error:
        raise DistributionError(
            f"{error} is distributed by another column than {citus.SPREAD_BY}; it is never converted. {_NO_WAY_BACK}"
        ) from None


def shards_now() -> int:
    """In how many shards the tables are; 0 if this database is not distributed."""
    if not citus.is_spread():
        return 0
    return citus.shards(
        next(name for name, place in citus.places().items() if place is Place.SPREAD)
    )


def steps(shards: int | None = None) -> list[Step]:
    return plan(wanted(), _places(), shards or SHARDS)


def distribute(todo: Sequence[Step], progress: Callable[[str], object]) -> None:
    """Carry the steps out in one transaction. Raises DistributionError; then nothing was changed."""
    try:
        with write_transaction():
            for step in todo:
                progress(step.sql)
                citus.execute(step.sql)
            for table in with_ids(todo):
                citus.execute(citus.next_id(table))
    except DatabaseError as error:
        raise DistributionError(" ".join(str(error).split())) from None
    tidy(progress)


def with_ids(todo: Iterable[Step]) -> list[str]:
    """The tables whose ids come from a sequence, which Citus begins again when it copies a table to all nodes."""
    generated = {
        model._meta.db_table  # noqa: SLF001
        for model in apps.get_models()
        if model._meta.auto_field is not None  # noqa: SLF001
    }
    return [step.table for step in todo if step.table in generated]


def unsettled() -> list[str]:
    now = _places()
    return citus.unsettled(
        table for table, place in now.items() if place in (Place.COPIED, Place.SPREAD)
    )


def tidy(progress: Callable[[str], object]) -> None:
    """Drop what is left of the tables on the coordinator, and measure them. It can be repeated."""
    for table in unsettled():
        sql = f"SELECT truncate_local_data_after_distributing_table('{table}')"
        progress(sql)
        citus.execute(sql)
    for table in wanted():
        citus.execute(f'ANALYZE "{table}"')
