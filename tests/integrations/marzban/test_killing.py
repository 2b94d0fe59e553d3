"""The node as a process of its own, killed at every step of a hand-over: no byte goes over twice, and none disappears unseen."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from integrations.marzban.conf import conf
from integrations.marzban.models import HandOver, PanelLink
from tests.integrations.marzban.simulator import Marzban
from tests.integrations.marzban.test_node import connected, until, uses
from tests.test_scripts import environment
from traffic.models import Balance

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="shares a SQLite file"),
]
PATIENCE = 240
REPOSITORY = Path(__file__).resolve().parents[3]

# Kills the process at one step of the hand-over.
_KILL = """
import os, signal
from integrations.marzban import handover, marks, node

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def before(module, name):
    setattr(module, name, kill)

def after(module, name):
    work = getattr(module, name)
    def run(*values):
        found = work(*values)
        if found:
            kill()
        return found
    setattr(module, name, run)
"""
STEPS = {
    "in the transaction": "after(handover, '_remembered')",
    "after the commit": (
        "write = marks.write\nmarks.write = lambda key, number: write(key, number) if number < 2 else kill()"
    ),
    "after the mark": "after(node.Node, 'take_users')",
    "after the answer": "before(node.Node, 'answered')",
}


class NodeProcess:
    """``manage.py marzban_node`` on the database of this test."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.folder = str(settings.XPERT_MARZBAN_FOLDER)
        self.log = log
        self.environment = environment(
            XPERT_ENV_FILE=os.devnull,
            SECRET_KEY="only-for-tests-" + "0123456789abcdef" * 4,
            XPERT_TRAFFIC_DB_PATH=str(connection.settings_dict["NAME"]),
            XPERT_MARZBAN_NODE_LISTEN=settings.XPERT_MARZBAN_NODE_LISTEN,
            XPERT_MARZBAN_NODE_API=settings.XPERT_MARZBAN_NODE_API,
            DJANGO_SETTINGS_MODULE="xpert_panel.settings",
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, fault: str = "") -> None:
        code = (
            "import django\nfrom django.conf import settings\nfrom django.core.management import call_command\n"
            f"django.setup()\nsettings.XPERT_MARZBAN_FOLDER = {self.folder!r}\n"
            f"{_KILL + fault if fault else ''}\ncall_command('marzban_node')"
        )
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def connect(self, marzban: Marzban, *emails: str) -> None:
        """As soon as the process listens."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                marzban.probe(conf.node_listen.port)
                break
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        connected(marzban, *emails)

    def died(self) -> None:
        assert self.process
        assert self.process.wait(PATIENCE) == -signal.SIGKILL, self.log.read_text()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(PATIENCE)


@pytest.fixture
def process(settings: Settings, tmp_path: Path) -> Iterator[NodeProcess]:
    found = NodeProcess(settings, tmp_path / "node.log")
    yield found
    found.kill()


def unknown() -> int:
    return sum(HandOver.objects.filter(state="unknown").values_list("download", flat=True))


def counted() -> int:
    return sum(Balance.objects.values_list("life_download", flat=True))


@pytest.mark.usefixtures("link")
@pytest.mark.parametrize("step", STEPS)
def test_a_node_that_is_killed_hands_nothing_over_twice(
    marzban: Marzban, process: NodeProcess, step: str
) -> None:
    process.start(STEPS[step])
    process.connect(marzban, "1.alice")
    uses("alice", 1000)
    with contextlib.suppress(grpc.RpcError):
        marzban.fetch_users()
    process.died()
    process.start()
    process.connect(marzban, "1.alice")
    uses("alice", 50)
    marzban.fetch_users()
    assert marzban.fetch_users() == 0
    is_lost = step in {"after the commit", "after the mark"}
    assert marzban.received == {1: 50 if is_lost else 1050}
    assert unknown() == (0 if step == "in the transaction" else 1000)
    until(lambda: not HandOver.objects.filter(state="pending").exists())
    assert PanelLink.objects.get().state == PanelLink.State.ACTIVE


@pytest.mark.usefixtures("link")
def test_a_node_that_is_killed_again_and_again_loses_only_what_it_shows(
    marzban: Marzban, process: NodeProcess
) -> None:
    draw = random.Random(7)
    for _ in range(4):
        process.start()
        process.connect(marzban, "1.alice", "2.bob")
        for _ in range(draw.randint(3, 12)):
            uses(draw.choice(["alice", "bob"]), draw.randint(1, 10**6))
            marzban.fetch_users()
        uses("bob", 5)
        asked = marzban.channel.unary_unary(
            "/xray.app.stats.command.StatsService/QueryStats"
        ).future(bytes.fromhex("0a07757365723e3e3e1001"), timeout=PATIENCE)
        time.sleep(draw.random() / 50)
        process.kill()
        with contextlib.suppress(grpc.RpcError):
            marzban.take(asked.result())
    process.start()
    process.connect(marzban, "1.alice", "2.bob")
    marzban.fetch_users()
    received = sum(marzban.received.values())
    assert counted() - unknown() <= received <= counted()


def test_a_node_waits_for_a_link_and_stops_when_it_is_told_to(
    transactional_db: None, marzban: Marzban, process: NodeProcess
) -> None:
    process.start()
    PanelLink.objects.create(
        name="Marzban", url="http://127.0.0.1:8000", client_certificate=marzban.certificate
    )
    process.connect(marzban, "1.alice")
    assert process.process
    begun = timezone.now()
    process.process.terminate()
    assert process.process.wait(PATIENCE) == 0
    assert (timezone.now() - begun).total_seconds() < 10
    assert "Stopped after" in process.log.read_text()
