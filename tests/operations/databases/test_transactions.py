"""Every write is in turn, atomic, and run again if the database aborted it."""

import ast
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import InternalError, OperationalError, connection, connections, transaction
from django.db.backends.utils import CursorWrapper

from operations.databases import engine, postgresql, sqlite, transactions
from operations.databases.transactions import write_transaction, write_turn
from tests.traffic.examples import NOW, a_report
from traffic.ledger.recording import record
from traffic.models import Balance, Subscriber

BOUND = 20  # seconds after which a test that hangs fails
ROOT = Path(__file__).parents[3]

on_a_file = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="PostgreSQL's writers work side by side"
)


def soon() -> float:
    return time.monotonic() + BOUND


@on_a_file
@pytest.mark.django_db(transaction=True)
def test_all_threads_write_with_one_connection_and_get_their_own_back() -> None:
    found: list[tuple[object, bool]] = []

    def write() -> None:
        own = connections["default"]
        with write_transaction():
            writer = connections["default"]
            Subscriber.objects.create(name="by turns")
        found.append((writer, connections["default"] is own and own is not writer))
        own.close()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join(BOUND)
    assert len({id(writer) for writer, _ in found}) == 1
    assert [back for _, back in found] == [True] * 3
    assert Subscriber.objects.count() == 3


@pytest.mark.django_db
def test_inside_a_transaction_it_is_a_part_of_that_one() -> None:
    own = connections["default"]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with write_transaction():
            assert connections["default"] is own
            Subscriber.objects.create(name="goes with it")
        raise ZeroDivisionError
    assert not Subscriber.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_block_that_fails_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), write_transaction():
        Subscriber.objects.create(name="gone")
        raise ZeroDivisionError
    assert not Subscriber.objects.exists()


@on_a_file
@pytest.mark.django_db(transaction=True)
def test_a_turn_that_does_not_come_leaves_nothing_and_is_an_error_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transactions, "DEADLINE", 0.05)
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with write_turn(soon()):
            taken.set()
            assert release.wait(BOUND)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(BOUND)
    with pytest.raises(OperationalError, match="stayed busy"), write_transaction():
        pytest.fail("It has no turn.")
    release.set()
    thread.join(BOUND)


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory"])
def test_a_database_in_memory_needs_no_queue(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = type("Memory", (), {"settings_dict": {"NAME": name}, "in_atomic_block": False})
    monkeypatch.setattr(sqlite, "connection", fake)
    monkeypatch.setattr(sqlite._file_lock, "held", lambda *_: pytest.fail("It was locked."))
    with sqlite.write_turn(soon()):
        pass


# --- forks -------------------------------------------------------------------


@pytest.fixture
def _open_connections() -> Iterator[None]:
    """Open the connections that a process has after a write, before it forks."""
    with write_transaction():
        Subscriber.objects.create(name="before the fork")
    assert Subscriber.objects.exists()
    yield
    connection.close()


def in_a_child(work: str) -> int:
    """The exit code of a forked child that does ``work``."""
    child = os.fork()
    if not child:
        code = 1
        try:
            exec(work, {})  # noqa: S102  the tests' own words
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


WRITE = """
from operations.databases.transactions import write_transaction
from traffic.models import Subscriber
with write_transaction():
    Subscriber.objects.create(name="child")
assert Subscriber.objects.count() == 2
"""


@pytest.mark.usefixtures("_open_connections")
@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_the_child_of_a_fork_writes_with_a_connection_of_its_own() -> None:
    own = connection.connection
    assert in_a_child(WRITE) == 0
    assert connection.connection is own
    with write_transaction():
        Subscriber.objects.create(name="parent")
    assert sorted(Subscriber.objects.values_list("name", flat=True)) == [
        "before the fork", "child", "parent",
    ]  # fmt: skip


@on_a_file
@pytest.mark.usefixtures("_open_connections")
@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_that_is_forked_during_a_write_waits_for_its_turn_like_everybody() -> None:
    busy = """
import time
from django.db import OperationalError
from operations.databases.transactions import write_turn
try:
    with write_turn(time.monotonic() + 0.05):
        raise AssertionError
except OperationalError:
    pass
"""
    with write_transaction():
        assert in_a_child(busy) == 0
        Subscriber.objects.create(name="parent")
    assert Subscriber.objects.count() == 2


# --- whoever watches the statements ------------------------------------------


def stored() -> list[tuple[object, ...]]:
    return list(Balance.objects.values_list("life_upload", "life_download", "life_reports"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("watched", ["nobody", "wrapper", "log"])
def test_watching_the_statements_does_not_change_what_is_recorded(watched: str) -> None:
    Subscriber.objects.create(token="user123")
    statements: list[str] = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    reports = [a_report(event_id=str(n), upload=n) for n in range(20)]
    if watched == "wrapper":
        with connection.execute_wrapper(watch):
            record(reports, NOW)
    else:
        connection.force_debug_cursor = watched == "log"
        record(reports, NOW)
        statements = [query["sql"] for query in connection.queries]
        connection.force_debug_cursor = False
    assert stored() == [(190, 40, 20)]
    tables = ("traffic_subscriber", "traffic_server", "traffic_receivedevent", "traffic_usage",
              "traffic_serverusage", "traffic_balance")  # fmt: skip
    for table in tables:
        seen = [sql for sql in statements if table in sql]
        assert bool(seen) == (watched != "nobody"), table


@on_a_file
@pytest.mark.django_db
def test_a_driver_that_is_not_python_s_own_is_sent_every_statement() -> None:
    class Watching:
        """Wraps a cursor like a tracer between Django and the driver."""

        def __init__(self) -> None:
            self.seen: list[str] = []

        def execute(self, sql: str, params: object) -> None:
            self.seen.append(sql)

    with connection.cursor() as cursor:
        cursor.cursor = Watching()
        sqlite.send(cursor, "SELECT ?", [1])
        assert cursor.cursor.seen == ["SELECT %s"]
        cursor.cursor = type("Closed", (), {"close": lambda _: None})()


@on_a_file
@pytest.mark.django_db
def test_a_monitor_that_replaces_the_cursor_s_method_sees_every_statement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, seen = CursorWrapper.execute, list[str]()

    def execute(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        seen.append(sql)
        return original(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", execute)
    with connection.cursor() as cursor:
        engine.current().send(cursor, "SELECT ?", [1])
        assert cursor.fetchall() == [(1,)]
    assert seen == ["SELECT %s"]


# --- the only way ------------------------------------------------------------

# Copies and dumps, which read a snapshot or write to another database than the panel's.
ALLOWED = {
    "operations/backups/copying.py",
    "operations/backups/postgresql.py",
    "operations/backups/sqlite.py",
    "operations/databases/transactions.py",
}


def test_nothing_else_begins_a_transaction() -> None:
    found = {
        str(path.relative_to(ROOT))
        for app in ("operations", "traffic", "subscriptions", "gateways")
        for path in (ROOT / app).rglob("*.py")
        if _begins_transactions(path)
    }
    assert found == ALLOWED


def _begins_transactions(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
    }
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return bool({"atomic", "Atomic", "set_autocommit"} & (names | imported))


@pytest.mark.django_db
def test_a_commit_that_was_lost_on_a_node_is_unavailable_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine.current(), "is_lost_commit", postgresql.is_lost_commit)
    tried = []

    @write_transaction
    def lose() -> None:
        tried.append(True)
        raise InternalError(
            "could not commit transaction for shard traffic_usage on at least one active node"
        )

    with pytest.raises(OperationalError, match="could not commit"):
        lose()
    assert len(tried) == 1


@pytest.mark.django_db
def test_another_internal_error_is_not_taken_for_a_lost_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine.current(), "is_lost_commit", postgresql.is_lost_commit)
    with pytest.raises(InternalError), write_transaction():
        raise InternalError("out of order")


class Open:
    closed = False


class Closed:
    closed = True


@pytest.mark.parametrize(
    ("sqlstate", "own", "expected"),
    [
        ("08006", Open, True),
        ("08006", Closed, False),
        ("08006", None, False),
        ("57P01", Open, False),
    ],
)
def test_only_an_answer_of_the_coordinator_is_about_a_part_of_the_database(
    sqlstate: str, own: type | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, cause = OperationalError("connection to the remote node failed"), Exception()
    cause.sqlstate = sqlstate  # type: ignore[attr-defined]
    error.__cause__ = cause
    monkeypatch.setattr(postgresql, "connection", SimpleNamespace(connection=own and own()))
    assert postgresql.is_about_a_part(error) is expected
