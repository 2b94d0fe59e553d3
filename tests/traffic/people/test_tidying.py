from datetime import datetime

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings
from time_machine import travel

from operations.models import CommandRun
from tests.traffic.examples import DAY, HOUR, NOW, a_report, balance, stored
from traffic.conditions import periods
from traffic.ledger.recording import restart_period
from traffic.models import ReceivedEvent, Subscriber, Usage
from traffic.people import tidying

pytestmark = pytest.mark.django_db


def cleaned_up(moment: datetime) -> None:
    CommandRun.objects.create(
        command="cleanup_traffic", began_at=moment, ended_at=moment, succeeded_at=moment
    )


@pytest.mark.parametrize(
    ("ran", "traffic", "expected"),
    [
        (None, None, False),
        (NOW - DAY, None, False),
        (NOW + 70 * DAY, None, False),
        (NOW - 31 * DAY, None, True),
        (NOW - 70 * DAY, NOW - 70 * DAY, True),
        (NOW - 70 * DAY, NOW - HOUR, True),  # told by the clock in doubt
        (NOW - 70 * DAY, NOW - 8 * DAY, False),  # only the timer has stopped
    ],
)
def test_a_clock_that_jumped_is_known_by_the_silence_before(
    ran: datetime | None, traffic: datetime | None, expected: bool
) -> None:
    if ran is not None:
        cleaned_up(ran)
    if traffic is not None:
        stored(a_report(traffic))
    assert tidying.has_jumped(NOW) is expected


def test_nothing_is_deleted_while_the_clock_is_in_doubt(
    settings: Settings, manager: Client
) -> None:
    settings.XPERT_TRAFFIC_RETENTION_DAYS = 60
    stored(a_report(event_id="x"))
    cleaned_up(NOW)
    with travel(NOW + 70 * DAY, tick=False):
        with pytest.raises(CommandError, match="--clock-is-right"):
            call_command("cleanup_traffic")
        answer = manager.post("/api/xpert/traffic-stats/cleanup", content_type="application/json")
        assert (answer.status_code, list(answer.json())) == (503, ["detail"])
        assert Usage.objects.exists()
        assert ReceivedEvent.objects.exists()
        call_command("cleanup_traffic", "--clock-is-right")
        assert not Usage.objects.exists()


def test_a_period_that_a_fast_clock_has_begun_is_counted_anew() -> None:
    subscriber = Subscriber.objects.create(token="ann", limit_reset=Subscriber.Reset.DAILY)
    report = a_report(NOW, user_token="ann", upload=5, download=7)
    stored(report, now=NOW)
    stored(a_report(NOW + 3 * DAY, user_token="ann", upload=1, download=1), now=NOW + 3 * DAY)
    stored(report, now=NOW)
    assert balance("ann").period_upload == 1
    assert [found.figures["count"] for found in periods(NOW)] == [1]
    assert tidying.tidy(NOW).periods == 1
    assert not list(periods(NOW))
    found = balance("ann")
    assert found.period_start <= NOW
    assert (found.period_upload, found.period_download) == (11, 15)
    assert tidying.tidy(NOW).periods == 0
    assert subscriber.reset_at is None


def test_a_period_that_was_restarted_by_a_fast_clock_begins_now() -> None:
    subscriber = Subscriber.objects.create(token="ann", limit_reset=Subscriber.Reset.MONTHLY)
    stored(a_report(NOW, user_token="ann", upload=5), now=NOW)
    restart_period(subscriber, NOW + 3 * DAY)
    assert tidying.tidy(NOW).periods == 1
    subscriber.refresh_from_db()
    assert subscriber.reset_at == NOW.replace(microsecond=0)
    assert balance("ann").period_upload == 5  # of this hour
