"""A prepared Citus cluster, on which the suite may run: DATABASE_URL names its coordinator, XPERT_TEST_CITUS its workers.

``XPERT_TEST_CITUS=127.0.0.1:5602,127.0.0.1:5603``. The role may create databases and extensions on every node.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from django.db import connection
from psycopg import sql

WORKERS = os.environ.get("XPERT_TEST_CITUS", "")
# As docs/scaling.md says: what the panel sets for its own connections does not reach the workers.
_LOCK_TIMEOUT = sql.SQL("ALTER DATABASE {} SET lock_timeout = '10s'")
# Every test that empties the tables empties each shard.
SHARDS = 4


class Node(NamedTuple):
    host: str
    port: int


def workers() -> list[Node]:
    found = (place.rpartition(":") for place in WORKERS.split(",") if place)
    return [Node(host, int(port)) for host, _, port in found]


def coordinator(settings: dict[str, Any]) -> Node:
    return Node(settings["HOST"] or "127.0.0.1", int(settings["PORT"] or 5432))


@contextmanager
def joined(name: str, settings: dict[str, Any]) -> Iterator[None]:
    """Databases of this name on the workers, of which the existing one on the coordinator knows."""
    first = coordinator(settings)
    for node in workers():
        _drop(node, name, settings)
        _run(node, "postgres", settings, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        _run(node, name, settings, "CREATE EXTENSION citus")
        _run(node, "postgres", settings, _LOCK_TIMEOUT.format(sql.Identifier(name)))
    _run(first, name, settings, "CREATE EXTENSION citus")
    _run(first, name, settings, _call("citus_set_coordinator_host", first))
    for node in workers():
        _run(first, name, settings, _call("citus_add_node", node))
    try:
        yield
    finally:
        # Its daemon keeps the database in use.
        _run(first, name, settings, "DROP EXTENSION citus CASCADE")
        for node in workers():
            _drop(node, name, settings)


@contextmanager
def connected_to_a_worker() -> Iterator[None]:
    """The panel of this process uses the database of the first worker, as if its DATABASE_URL named that one."""
    settings, node = connection.settings_dict, workers()[0]
    kept = {name: settings[name] for name in ("HOST", "PORT")}
    connection.close()
    settings |= {"HOST": node.host, "PORT": node.port}
    try:
        yield
    finally:
        connection.close()
        settings |= kept


def _call(function: str, node: Node) -> sql.Composed:
    return sql.SQL("SELECT {}({}, {})").format(
        sql.Identifier(function), sql.Literal(node.host), sql.Literal(node.port)
    )


def _drop(node: Node, name: str, settings: dict[str, Any]) -> None:
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    _run(node, "postgres", settings, statement)


def _run(node: Node, name: str, settings: dict[str, Any], statement: Any) -> None:
    with psycopg.connect(
        host=node.host,
        port=node.port,
        dbname=name,
        user=settings["USER"],
        password=settings["PASSWORD"],
        autocommit=True,
    ) as connection:
        connection.execute(statement)
