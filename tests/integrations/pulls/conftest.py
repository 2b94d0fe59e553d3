"""A stand-in of a foreign panel on the loopback interface, under a public name, and a panel that reads it."""

from collections.abc import Iterator

import pytest

from integrations.pulls.models import Panel
from operations import sealing
from tests.integrations.pulls.stand_in import HOST, StandIn
from traffic.models import Subscriber


@pytest.fixture
def there() -> Iterator[StandIn]:
    found = StandIn()
    yield found
    found.close()


@pytest.fixture
def panel(transactional_db: None) -> Panel:
    """A Marzban whose admin's password we have."""
    return Panel.objects.create(
        name="Friend",
        kind="marzban",
        access="login",
        url=f"https://{HOST}",
        username="admin",
        sealed_secret=sealing.seal("s3cr3t"),
    )


@pytest.fixture
def alice(transactional_db: None) -> Subscriber:
    return Subscriber.objects.create(name="alice", token="token-of-alice")
