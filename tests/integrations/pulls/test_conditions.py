"""What doctor, notifications and metrics say of other panels."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from integrations.pulls import condition_words, conditions
from integrations.pulls.models import Panel
from operations.events import Event
from operations.findings import Level
from operations.wording import findings

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def read(panel: Panel) -> Panel:
    Panel.objects.update(added_at=NOW - timedelta(days=9), last_success=NOW - timedelta(minutes=5))
    return panel


def told() -> list[Event]:
    return [event for kind in condition_words.KINDS for event in kind.events(NOW)]


def states() -> list[tuple[str, Level]]:
    return [(found.code, found.level) for found in conditions.panels(NOW)]


def test_a_panel_that_is_read_is_fine(read: Panel) -> None:
    assert states() == [("pull-ok", Level.OK)]
    assert told() == []


def test_a_panel_that_is_switched_off_is_nobodys_concern(read: Panel) -> None:
    Panel.objects.update(enabled=False, last_error="http_401")
    assert states() == []
    assert conditions.expected() == {}


def test_a_failure_is_a_warning_and_after_a_day_an_error(read: Panel) -> None:
    Panel.objects.update(last_error="http_401", failures=1)
    assert states() == [("pull-failing", Level.WARNING)]
    Panel.objects.update(last_success=NOW - timedelta(days=1, seconds=1))
    assert states() == [("pull-failing", Level.ERROR)]


def test_three_failures_in_a_row_are_told_once(read: Panel) -> None:
    Panel.objects.update(last_error="http_401", failures=2)
    assert told() == []
    Panel.objects.update(failures=3)
    (event,) = told()
    assert event.text.startswith("Panel Friend cannot be read: The panel refuses")
    assert event.data == {"panel": {"id": read.pk, "name": "Friend"}, "error": "http_401"}
    Panel.objects.update(failures=4)
    assert told()[0].key == event.key


def test_a_panel_that_nobody_reads_is_stale_after_four_intervals(read: Panel) -> None:
    Panel.objects.update(last_success=NOW - timedelta(minutes=60))
    assert states() == [("pull-ok", Level.OK)]
    Panel.objects.update(last_success=NOW - timedelta(minutes=60, seconds=1))
    assert states() == [("pull-stale", Level.WARNING)]
    assert "has not been read since" in told()[0].text


def test_the_command_is_expected_while_there_is_a_panel(read: Panel) -> None:
    assert conditions.expected() == {"pull_usage": timedelta(hours=2)}


def test_doctor_has_one_line_for_all_that_are_fine(read: Panel) -> None:
    Panel.objects.create(
        name="Other", kind="3x-ui", access="key", url="https://x.example", last_success=NOW
    )
    (line,) = findings(list(conditions.panels(NOW)), condition_words.WORDS)
    assert (line.level, line.message) == (Level.OK, "All were read: Friend, Other.")


def test_failures_and_the_last_success_are_metrics(read: Panel, reader: Client) -> None:
    Panel.objects.update(failures=2, last_error="tls")
    shown = reader.get("/metrics").content.decode()
    assert f'xpert_pull_failures{{id="{read.pk}",name="Friend"}} 2.0' in shown
    assert "xpert_pull_last_success_timestamp_seconds{" in shown
