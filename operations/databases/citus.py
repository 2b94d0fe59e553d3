"""Citus: PostgreSQL whose tables are spread over several nodes. What the cluster says of itself.

A table is copied to every node, spread by subscriber, or stays on the coordinator. Citus commits on several nodes in two
phases only if it knows of every place that a transaction has changed. Therefore a table that is written together with
the rows of a single subscriber must be known to it: a plain local table would be committed after the node, apart.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any

import msgspec
from django.db import connection

from operations.hosts import join_host_port

# The oldest version that runs joins of a copied table with a spread one on the nodes.
OLDEST = (13, 2)
SPREAD_BY = "subscriber_id"
# Ids that a worker gives begin above; the sequence of the coordinator stays below.
_FIRST_OF_A_WORKER = 2**48
# Transactions of which nobody has said for minutes how they end.
_OLD = (
    "SELECT count(*) FROM pg_prepared_xacts"
    " WHERE database = current_database() AND prepared < now() - interval '5 minutes'"
)


class Place(Enum):
    """Where the rows of a table are."""

    COPIED = "copied to every node"
    SPREAD = "spread by subscriber"
    KNOWN = "stays here, known to Citus"
    LOCAL = "stays here"


class Node(msgspec.Struct, frozen=True):
    address: str
    is_here: bool
    holds_rows: bool


class Part(msgspec.Struct, frozen=True):
    """The answer of a node. ``old``: transactions that have been prepared there for minutes and not ended."""

    address: str
    answers: bool
    old: int = 0


def version() -> tuple[int, ...]:
    """The version of the extension in this database; empty without it."""
    if connection.vendor != "postgresql":
        return ()
    found = _rows("SELECT extversion FROM pg_extension WHERE extname = 'citus'")
    return tuple(int(part) for part in found[0][0].partition("-")[0].split(".")) if found else ()


def is_spread() -> bool:
    """Whether this database has tables on other nodes."""
    return bool(
        version() and _rows("SELECT 1 FROM pg_dist_partition WHERE partmethod = 'h' LIMIT 1")
    )


def places() -> dict[str, Place]:
    """The tables that Citus knows. Raises ValueError for a table that is spread by another column than ours."""
    found = {}
    for table, method, model, column in _rows(
        "SELECT c.relname, p.partmethod, p.repmodel, column_to_column_name(p.logicalrelid, p.partkey)"
        " FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid"
    ):
        if method == "h" and column == SPREAD_BY:
            found[table] = Place.SPREAD
        elif method == "n":
            found[table] = Place.COPIED if model == "t" else Place.KNOWN
        else:
            raise ValueError(table)
    return found


def shards(table: str) -> int:
    return int(
        _rows("SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = %s::regclass", table)[0][0]
    )


def nodes() -> list[Node]:
    found = _rows(
        "SELECT nodename, nodeport, groupid, shouldhaveshards FROM pg_dist_node"
        " WHERE isactive AND noderole = 'primary' ORDER BY groupid"
    )
    return [
        Node(join_host_port(name, port), group == 0, holds) for name, port, group, holds in found
    ]


def is_coordinator() -> bool:
    return int(_rows("SELECT groupid FROM pg_dist_local_group")[0][0]) == 0


def is_worker() -> bool:
    """Whether this database is a node of a cluster other than the coordinator: it has only the tables that Citus knows."""
    return bool(version()) and not is_coordinator()


def columns(tables: Iterable[str]) -> set[tuple[str, str]]:
    """Table and column of what this node has of these tables."""
    found = _rows(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name = ANY(%s)",
        list(tables),
    )
    return {(table, column) for table, column in found}


def parts() -> list[Part]:
    """Asks every worker."""
    found = _rows(
        "SELECT nodename, nodeport, success, result FROM run_command_on_workers(%s)", _OLD
    )
    return [
        Part(join_host_port(name, port), answers, int(result) if answers else 0)
        for name, port, answers, result in found
    ]


def is_kept_in_order() -> bool:
    """Whether the process runs that ends deadlocks and interrupted transactions of this database."""
    return bool(
        _rows(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type LIKE 'Citus Maintenance%%'"
        )
    )


def size_of_workers() -> int:
    """Bytes on the disks of the other nodes that answer."""
    asked = "SELECT pg_database_size(current_database())"
    found = _rows("SELECT success, result FROM run_command_on_workers(%s)", asked)
    return sum(int(result) for answers, result in found if answers)


def sizes(tables: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Rows (as the database estimates them, if it does) and bytes on all nodes of each."""
    found = _rows(
        "SELECT c.relname, c.reltuples::bigint, CASE WHEN p.logicalrelid IS NULL THEN pg_total_relation_size(c.oid)"
        " ELSE citus_total_relation_size(c.oid) END"
        " FROM pg_class c LEFT JOIN pg_dist_partition p ON p.logicalrelid = c.oid"
        " WHERE c.relkind = 'r' AND c.relname = ANY(%s)",
        list(tables),
    )
    return {name: (rows if rows > 0 else _count(name), size) for name, rows, size in found}


def _count(table: str) -> int:
    return int(_rows(f'SELECT count(*) FROM "{table}"')[0][0])  # noqa: S608  a table of ours


def unsettled(tables: Iterable[str]) -> list[str]:
    """Those of these tables whose rows from before they were distributed are still on the coordinator as well."""
    found = _rows(
        "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND pg_relation_size(oid) > 0 ORDER BY relname",
        list(tables),
    )
    return [name for (name,) in found]


def foreign_keys(tables: Iterable[str]) -> list[str]:
    """``table.constraint`` of the constraints at either end of which is one of these tables."""
    names = list(tables)
    found = _rows(
        "SELECT t.relname, k.conname FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid"
        " JOIN pg_class o ON o.oid = k.confrelid"
        " WHERE k.contype = 'f' AND (t.relname = ANY(%s) OR o.relname = ANY(%s)) ORDER BY 1, 2",
        names,
        names,
    )
    return [f"{table}.{name}" for table, name in found]


def of_others(tables: Iterable[str]) -> list[str]:
    """Those of these tables that this role may not distribute."""
    found = _rows(
        "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND NOT pg_has_role(relowner, 'MEMBER') ORDER BY 1",
        list(tables),
    )
    return [name for (name,) in found]


def statement(table: str, place: Place, *, beside: str, count: int) -> str:
    """The SQL that moves a table. ``beside``: the first spread table, with ``count`` shards."""
    match place:
        case Place.COPIED:
            return f"SELECT create_reference_table('{table}')"
        case Place.SPREAD if table == beside:
            return (
                f"SELECT create_distributed_table('{table}', '{SPREAD_BY}', shard_count => {count})"
            )
        case Place.SPREAD:
            return f"SELECT create_distributed_table('{table}', '{SPREAD_BY}', colocate_with => '{beside}')"
        case Place.KNOWN:
            return f"SELECT citus_add_local_table_to_metadata('{table}')"
        case Place.LOCAL:
            raise ValueError(table)


def next_id(table: str) -> str:
    """The SQL that sets the sequence of a table's ids to the last one that the coordinator gave."""
    sequence = f"""pg_get_serial_sequence('"{table}"', 'id')"""
    last = f"max(id) FILTER (WHERE id < {_FIRST_OF_A_WORKER})"
    return f'SELECT setval({sequence}, coalesce({last}, 1), {last} IS NOT NULL) FROM "{table}"'  # noqa: S608  a table of ours


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _rows(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
