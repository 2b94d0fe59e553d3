from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from integrations.three_x_ui import booking_threads, draining
from integrations.three_x_ui.spool import Spool
from operations.api.authentication import create_api_key

Inform = Callable[..., Any]


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """Each test has a spool of its own, which nothing empties by itself."""
    settings.XPERT_SPOOL_FOLDER = str(tmp_path / "spool")
    monkeypatch.setattr(draining.drainer, "wake", lambda: None)
    yield draining.current()


@pytest.fixture(autouse=True)
def no_idle_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booking_threads, "IDLE", 0.0)


@pytest.fixture
def key(db: None) -> str:
    return create_api_key("friend", "report")[1]


@pytest.fixture
def inform(key: str) -> Inform:
    """Posts clients as 3x-ui does: ``inform({"email": "alice", "up": 1})``."""

    def post(*clients: dict[str, Any], **rest: Any) -> Any:
        body = {"clientTraffics": list(clients), "inboundTraffics": None}
        url = f"/api/xpert/inform/3x-ui/{key}"
        return Client().post(url, body, "application/json; charset=UTF-8", **rest)

    return post
