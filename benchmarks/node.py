"""Runs the node of a Marzban and asks it as Marzban does, with bytes for everybody."""

import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integrations.marzban.simulator import Marzban
from tests.ports import free_port

from . import servers
from .servers import Server

_PATIENCE = 120
_COUNT = "SELECT COUNT(*) FROM marzban_panelidentity WHERE is_active AND subscriber_id IS NOT NULL"


def measure(
    environ: dict[str, str], panel: Marzban, people: int, let_all_use: Callable[[], object]
) -> tuple[float, float]:
    """Processor seconds of one answer with everybody's bytes, and the resident MB of the process after it.

    ``let_all_use`` counts bytes for everybody whom the node has made known. That happens once, in a process before.
    """
    with _connected(environ, panel, people):
        _until(lambda: _known(Path(environ["XPERT_TRAFFIC_DB_PATH"])) == people)
    with _connected(environ, panel, people) as node:
        spent = [_answer(node, panel, people, let_all_use) for _ in range(5)]
        return statistics.median(spent), node.resident_mb()


@contextmanager
def _connected(environ: dict[str, str], panel: Marzban, people: int) -> Iterator[Server]:
    """A node to which the panel has said that all these people are active."""
    ports = free_port(), free_port()
    listen = {
        "XPERT_MARZBAN_NODE_LISTEN": f"127.0.0.1:{ports[0]}",
        "XPERT_MARZBAN_NODE_API": f"127.0.0.1:{ports[1]}",
    }
    with _node(environ | listen) as node:
        _until(lambda: panel.probe(ports[0]))
        panel.connect(*ports, [f"{number}.user{number}" for number in range(1, people + 1)])
        yield node
        panel.leave()


def _answer(node: Server, panel: Marzban, people: int, let_all_use: Callable[[], object]) -> float:
    let_all_use()
    panel.received.clear()
    before = node.processor_seconds()
    panel.fetch_users()
    spent = node.processor_seconds() - before
    assert len(panel.received) == people
    return spent


@contextmanager
def _node(environ: dict[str, str]) -> Iterator[Server]:
    command = [sys.executable, "manage.py", "marzban_node"]
    # manage.py chooses the settings of the node, as it does for the service.
    env = {name: value for name, value in environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    process = subprocess.Popen(command, cwd=servers.ROOT, env=env, stdin=subprocess.DEVNULL)
    try:
        yield Server("", process.pid)
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _known(database: Path) -> int:
    connection = sqlite3.connect(database)
    try:
        return int(connection.execute(_COUNT).fetchone()[0])
    finally:
        connection.close()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _holds(condition):
        if time.monotonic() > deadline:
            raise TimeoutError("The node is not ready.")
        time.sleep(0.1)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except OSError:
        return False
