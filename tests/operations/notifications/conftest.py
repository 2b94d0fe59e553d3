import socket
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from operations.watch import readiness
from tests.operations.notifications.loopback import Loopback, loopback


@pytest.fixture(name="loopback")
def _loopback() -> Iterator[Loopback]:
    with loopback() as found:
        yield found


@pytest.fixture(autouse=True)
def _receivers_on_this_machine(settings: Settings) -> None:
    settings.XPERT_ALLOW_PRIVATE_RECEIVERS = True


@pytest.fixture(autouse=True)
def _empty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the tests independent of the disk of the machine."""
    monkeypatch.setattr(readiness, "disk", lambda: readiness.Disk(100 * 2**30, 50 * 2**30))


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is bound, so that no other process gets it, but without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
