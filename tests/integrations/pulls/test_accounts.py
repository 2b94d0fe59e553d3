"""One account, one reading: a provider's header does not count what another panel tells already."""

from typing import Any

import pytest
from django.utils import timezone

from integrations.pulls import accounts
from integrations.pulls.models import Panel
from operations.extension import is_account_read
from tests.integrations.pulls.stand_in import HOST
from traffic.models import MeteredPerson, Reporter, Subscriber

URL = f"https://{HOST}/sub/t0k3n?x=1"


@pytest.fixture
def read(panel: Panel) -> Panel:
    Panel.objects.update(last_success=timezone.now())
    panel.refresh_from_db()
    return panel


def tells_of(panel: Panel, person: Subscriber) -> None:
    now = timezone.now()
    reporter = Reporter.objects.create(
        origin=panel.origin, meter=panel.meter, first_seen_at=now, last_seen_at=now
    )
    MeteredPerson.objects.create(
        reporter=reporter, name="a", folded="a", subscriber=person, first_seen_at=now
    )


def test_a_panel_that_tells_of_the_person_reads_their_account(
    read: Panel, alice: Subscriber
) -> None:
    assert not accounts.reads(URL, alice.pk)
    tells_of(read, alice)
    assert accounts.reads(URL, alice.pk)
    assert is_account_read(URL, alice.pk)
    assert not accounts.reads(URL, alice.pk + 1)


def test_a_link_reads_the_account_of_its_person(read: Panel, alice: Subscriber) -> None:
    Panel.objects.update(access="link", url=f"https://{HOST}/sub/t0k3n", subscriber=alice)
    assert accounts.reads(URL, alice.pk)
    assert not accounts.reads(URL, alice.pk + 1)


@pytest.mark.parametrize("fields", [{"enabled": False}, {"last_success": None}])
def test_a_panel_that_is_not_read_reads_no_account(
    read: Panel, alice: Subscriber, fields: dict[str, Any]
) -> None:
    tells_of(read, alice)
    Panel.objects.update(**fields)
    assert not accounts.reads(URL, alice.pk)


@pytest.mark.parametrize("url", ["https://other.example.com/sub/t0k3n", "not a URL", ""])
def test_another_host_is_another_account(read: Panel, alice: Subscriber, url: str) -> None:
    tells_of(read, alice)
    assert not accounts.reads(url, alice.pk)
