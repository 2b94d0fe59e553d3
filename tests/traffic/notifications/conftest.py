import socket
from collections.abc import Iterator

import pytest

from traffic import health

from .loopback import Loopback, loopback


@pytest.fixture(name="loopback")
def _loopback() -> Iterator[Loopback]:
    with loopback() as found:
        yield found


@pytest.fixture(autouse=True)
def _empty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine the tests run on."""
    monkeypatch.setattr(health, "disk", lambda: health.Disk(100 * 2**30, 50 * 2**30))


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
