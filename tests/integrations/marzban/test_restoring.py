"""A database that was put back to an earlier moment never hands bytes over twice."""

import contextlib
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from integrations.marzban import handover, marks
from integrations.marzban.conf import conf
from integrations.marzban.models import HandOver, PanelLink
from integrations.marzban.running import RunningNode
from operations.databases.transactions import deadline, write_turn
from tests.integrations.marzban.conftest import Start
from tests.integrations.marzban.simulator import Marzban
from tests.integrations.marzban.test_node import connected, until, uses

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="puts a SQLite file back")


def backup(folder: Path) -> Path:
    """All of the database at this moment."""
    target = folder / "backup.db"
    _copy(_live(), target)
    return target


def put_back(path: Path) -> None:
    """As ``restore_traffic`` does, which insists that the node is stopped; here it may run."""
    connection.close()
    with write_turn(deadline()):
        _copy(path, _live())


def _live() -> Path:
    return Path(connection.settings_dict["NAME"])


def _copy(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source)) as there,
        contextlib.closing(sqlite3.connect(target)) as here,
    ):
        there.backup(here)


@pytest.mark.parametrize("is_running", [True, False])
def test_a_restored_database_hands_nothing_over_until_somebody_says_from_when_on(
    marzban: Marzban, link: PanelLink, start: Start, tmp_path: Path, is_running: bool
) -> None:
    running = start(link)
    connected(marzban, "1.alice")
    uses("alice", 100)
    assert marzban.fetch_users() == 100
    until(lambda: HandOver.objects.filter(state="sent").exists())
    uses("alice", 5000)
    saved = backup(tmp_path)
    assert marzban.fetch_users() == 5000
    until(lambda: HandOver.objects.filter(state="sent").count() == 2)
    if not is_running:
        running.close()
    put_back(saved)
    if not is_running:
        running = start(link)
        connected(marzban, "1.alice")
    assert marzban.fetch_users() == 0
    uses("alice", 30)
    assert marzban.fetch_users() + marzban.fetch_servers() == 0
    link.refresh_from_db()
    assert link.state == PanelLink.State.PAUSED
    handover.resume(link, timezone.now(), timezone.now())
    uses("alice", 7)
    assert marzban.fetch_users() == 7
    assert marzban.received == {1: 5107}


def test_a_backup_after_which_nothing_was_handed_over_goes_on_by_itself(
    marzban: Marzban, link: PanelLink, start: Start, tmp_path: Path
) -> None:
    running = start(link)
    connected(marzban, "1.alice")
    uses("alice", 100)
    assert marzban.fetch_users() == 100
    until(lambda: HandOver.objects.filter(state="sent").exists())
    saved = backup(tmp_path)
    running.close()
    put_back(saved)
    start(link)
    connected(marzban, "1.alice")
    uses("alice", 30)
    assert marzban.fetch_users() == 30


def test_the_same_backup_put_back_twice_pauses_twice(
    marzban: Marzban, link: PanelLink, start: Start, tmp_path: Path
) -> None:
    start(link)
    connected(marzban, "1.alice")
    uses("alice", 100)
    saved = backup(tmp_path)
    assert marzban.fetch_users() == 100
    for _ in range(2):
        put_back(saved)
        assert marzban.fetch_users() == 0
        link.refresh_from_db()
        assert link.state == PanelLink.State.PAUSED
        handover.resume(link, timezone.now(), timezone.now())
    assert marzban.received == {1: 100}


def test_a_database_on_another_machine_is_paused(
    marzban: Marzban, link: PanelLink, start: Start
) -> None:
    running = start(link)
    connected(marzban, "1.alice")
    uses("alice", 100)
    assert marzban.fetch_users() == 100
    running.close()
    shutil.rmtree(conf.node_folder)
    start(link)
    link.refresh_from_db()
    assert link.state == PanelLink.State.PAUSED


def test_a_link_that_was_killed_while_it_began_begins_again(link: PanelLink, start: Start) -> None:
    running = start(link)
    running.close()
    shutil.rmtree(conf.node_folder)
    start(link)
    link.refresh_from_db()
    assert link.state == PanelLink.State.ACTIVE
    assert marks.read(link.key) == 1


def test_the_hours_from_the_chosen_moment_on_are_handed_over(
    marzban: Marzban, link: PanelLink, running: RunningNode
) -> None:
    connected(marzban, "1.alice")
    now = timezone.now()
    uses("alice", 100, at=now - timedelta(days=3))
    uses("alice", 20, at=now - timedelta(hours=5))
    PanelLink.objects.update(state=PanelLink.State.PAUSED)
    assert marzban.fetch_users() == 0
    handover.resume(link, now - timedelta(days=1), now)
    assert (marzban.fetch_users(), marzban.fetch_servers()) == (20, 20)
