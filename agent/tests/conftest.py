from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_panel import FakePanel
from singbox_core import Gateway, Origin

from xpert_agent.journal.database import Database


@pytest.fixture
def panel() -> Iterator[FakePanel]:
    panel = FakePanel(token="t0ken-of-alice")
    yield panel
    panel.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "journal.sqlite3", time.time() - 10)
    yield database
    database.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    origin = Origin()
    gateway = Gateway(tmp_path, origin)
    yield gateway
    gateway.stop()
    origin.close()
