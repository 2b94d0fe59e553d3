"""Operators are told of a source that fails, and of a provider who runs out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operations.events import Event
from operations.notifications.kinds import kinds
from subscriptions.models import Source

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DAY = timedelta(days=1)
URL = "https://provider.example/s3cr3t-of-the-source"


def a_source(**fields: Any) -> Source:
    return Source.objects.create(**({"name": "Spare", "url": URL} | fields))


def failing(now: datetime) -> list[Event]:
    return list(kinds()["source-failing"].events(now))


def running_out(now: datetime) -> list[Event]:
    return list(kinds()["source-quota"].events(now))


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


@pytest.mark.parametrize(("failures", "told"), [(0, False), (2, False), (3, True), (50, True)])
def test_a_source_is_reported_after_three_failures_in_a_row(failures: int, told: bool) -> None:
    source = a_source(
        failures=failures, last_error="timeout" if failures else "", last_success=NOW - DAY
    )
    found = list(failing(NOW))
    assert bool(found) is told
    if found:
        assert found[0].text == "Source Spare fails: The server is too slow."
        assert found[0].data == {"source": {"id": source.pk, "name": "Spare"}, "error": "timeout"}


def test_each_time_that_a_source_stops_working_is_a_separate_event() -> None:
    source = a_source(failures=3, last_error="dns")
    keys = [event.key for event in failing(NOW)]
    for failures, success in ((9, None), (3, NOW), (4, NOW)):
        Source.objects.update(failures=failures, last_success=success)
        keys += [event.key for event in failing(NOW + DAY)]
    assert (
        keys
        == [f"{source.pk}:{seconds(source.added_at)}"] * 2 + [f"{source.pk}:{seconds(NOW)}"] * 2
    )


@pytest.mark.parametrize(
    ("upload", "download", "total", "told"),
    [
        (0, 899, 1000, False),
        (450, 450, 1000, True),
        (None, 1001, 1000, True),
        (None, None, 1000, False),
        (10, 10, None, False),
        (2**63 - 1, 2**63 - 1, 2**63 - 1, True),
    ],
)
def test_a_provider_is_reported_when_nine_tenths_are_used(
    upload: int | None, download: int | None, total: int | None, told: bool
) -> None:
    a_source(provider_upload=upload, provider_download=download, provider_total=total)
    assert bool(list(running_out(NOW))) is told


def test_a_providers_traffic_is_reported_once_per_month() -> None:
    a_source(provider_download=95, provider_total=100)
    first, again, next_month = (next(iter(running_out(NOW + days * DAY))) for days in (0, 20, 30))
    assert first.text == "Source Spare: 95 % of the provider's traffic is used."
    assert first.key == again.key != next_month.key


@pytest.mark.parametrize(
    ("left", "told"),
    [(4 * DAY, False), (3 * DAY, True), (timedelta(seconds=1), True), (0 * DAY, False)],
)
def test_a_providers_expiry_is_reported_three_days_before(left: timedelta, told: bool) -> None:
    a_source(provider_expire=seconds(NOW + left))
    assert bool(list(running_out(NOW))) is told


def test_an_expiry_beyond_the_calendar_does_no_harm() -> None:
    a_source(provider_expire=2**63 - 1)
    assert list(running_out(NOW)) == []


def test_a_disabled_source_is_not_reported() -> None:
    a_source(enabled=False, failures=9, last_error="dns", provider_download=1, provider_total=1)
    assert [*failing(NOW), *running_out(NOW)] == []


def test_a_notification_never_holds_a_sources_url() -> None:
    a_source(
        failures=9,
        last_error="http_403",
        provider_download=1,
        provider_total=1,
        provider_expire=seconds(NOW + DAY),
    )
    found = [*failing(NOW), *running_out(NOW)]
    assert len(found) == 3
    assert "s3cr3t" not in str(found)


def test_receivers_can_select_the_events_of_sources() -> None:
    assert {"source-failing", "source-quota"} <= kinds().keys()
