from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from model_bakery import baker
from prometheus_client.parser import text_string_to_metric_families

from operations import wording
from operations.findings import Finding, Level
from operations.watch import command_runs
from operations.watch import doctor as panel
from subscriptions import condition_words, conditions
from subscriptions.models import Endpoint, Source

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_source(**fields: Any) -> Source:
    return Source.objects.create(**{"name": "one", "url": "https://s3cr3t.example/sub"} | fields)


def lines() -> list[Finding]:
    return wording.findings(list(conditions.sources(NOW)), condition_words.WORDS)


def levels() -> list[Level]:
    return [finding.level for finding in lines()]


def test_without_sources_there_is_nothing_to_say() -> None:
    assert levels() == []


def test_sources_that_are_fetched_are_well() -> None:
    a_source(last_success=NOW)
    assert levels() == [Level.OK]


@pytest.mark.parametrize(
    ("last_success", "level"),
    [(NOW - 24 * HOUR, Level.WARNING), (NOW - 25 * HOUR, Level.ERROR), (None, Level.ERROR)],
)
def test_a_failing_source_is_reported_with_the_reason(
    last_success: datetime | None, level: Level
) -> None:
    a_source(last_error="dns", failures=3, last_success=last_success)
    (found,) = lines()
    assert (found.level, found.subject, found.message) == (
        level,
        "Source one",
        "The host name was not found.",
    )


@pytest.mark.parametrize(
    ("fields", "is_named"),
    [
        ({"provider_total": 10, "provider_upload": 4, "provider_download": 6}, True),
        ({"provider_total": 10, "provider_upload": 4, "provider_download": 5}, True),
        ({"provider_total": 10, "provider_upload": 4, "provider_download": 4}, False),
        ({"provider_total": 0, "provider_upload": 4}, False),
        ({"provider_expire": int((NOW + 71 * HOUR).timestamp())}, True),
        ({"provider_expire": int((NOW + 73 * HOUR).timestamp())}, False),
        ({"provider_expire": int((NOW - HOUR).timestamp())}, True),
        ({"provider_expire": 0}, False),
    ],
)
def test_a_provider_that_runs_out_is_reported_in_time(
    fields: dict[str, Any], is_named: bool
) -> None:
    a_source(**fields)
    assert levels() == [Level.WARNING if is_named else Level.OK]


def test_a_source_that_is_off_is_not_looked_at() -> None:
    a_source(enabled=False, last_error="dns")
    assert levels() == []


def test_timers_are_expected_when_they_have_something_to_do() -> None:
    assert conditions.expected() == {}
    a_source()
    baker.make(Endpoint)
    assert set(conditions.expected()) == {"refresh_sources", "check_nodes"}
    assert set(command_runs.expected()) > {"refresh_sources", "check_nodes"}


def test_the_panel_s_doctor_asks_for_sources() -> None:
    a_source(last_error="dns")
    assert "Source one" in {finding.subject for finding in panel.examine(NOW)}


def test_metrics_show_the_state_of_sources_without_urls(reader: Client) -> None:
    a_source(failures=2, last_success=NOW)
    a_source(name="https://s3cr3t.example/2", url="https://s3cr3t.example/2")
    text = reader.get("/metrics").content.decode()
    found = {
        (sample.name, sample.labels["name"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name.startswith("xpert_source")
    }
    assert found == {
        ("xpert_source_failures", "one"): 2,
        ("xpert_source_failures", "http…"): 0,
        ("xpert_source_last_success_timestamp_seconds", "one"): NOW.timestamp(),
    }
    assert "s3cr3t" not in text
