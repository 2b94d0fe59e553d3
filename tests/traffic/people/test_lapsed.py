"""People whose subscription is over are switched off, and deleted later."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from model_bakery import baker
from pytest_django import Settings

from operations.models import AuditEntry
from tests.traffic.examples import DAY, NOW, a_report
from traffic import conditions
from traffic.ledger.recording import record, restart_period
from traffic.models import Subscriber
from traffic.people import lapsed
from traffic.people.lapsed import Lapsed

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
NOBODY = Lapsed(0, 0)


@pytest.fixture(autouse=True)
def _days(settings: Settings) -> None:
    settings.XPERT_SWITCH_OFF_AFTER_DAYS = 3
    settings.XPERT_DELETE_AFTER_DAYS = 10


def a_subscriber(**fields: Any) -> Subscriber:
    made: Subscriber = baker.make(Subscriber, token="user123", **fields)
    return made


def is_active() -> bool:
    return Subscriber.objects.get().is_active


def is_hidden() -> bool:
    return Subscriber.objects.get().hidden_at is not None


@pytest.mark.parametrize(
    ("days", "off", "hidden"),
    [
        (3 * DAY - SECOND, False, False),
        (3 * DAY, True, False),
        (10 * DAY - SECOND, True, False),
        (10 * DAY, False, True),
    ],
)
def test_whoever_has_expired_is_switched_off_and_deleted_later(
    days: timedelta, off: bool, hidden: bool
) -> None:
    a_subscriber(expires_at=NOW)
    expected = Lapsed(int(off), int(hidden))
    assert lapsed.count(NOW + days) == expected
    assert lapsed.tidy(NOW + days) == expected
    assert (not is_active(), is_hidden()) == (off, hidden)
    assert lapsed.tidy(NOW + days) == NOBODY


def test_whoever_is_used_up_is_noted_first() -> None:
    a_subscriber(data_limit=1)
    record([a_report()], NOW)
    assert lapsed.tidy(NOW) == NOBODY
    assert lapsed.tidy(NOW + 3 * DAY - SECOND) == NOBODY
    assert lapsed.count(NOW + 3 * DAY) == Lapsed(1, 0)
    assert lapsed.tidy(NOW + 3 * DAY) == Lapsed(1, 0)
    assert lapsed.tidy(NOW + 10 * DAY) == Lapsed(0, 1)


def test_a_new_period_ends_being_used_up() -> None:
    made = a_subscriber(data_limit=1)
    record([a_report()], NOW)
    lapsed.tidy(NOW)
    restart_period(made, NOW + DAY)
    lapsed.tidy(NOW + DAY)
    record([a_report(NOW + 2 * DAY)], NOW + 2 * DAY)
    lapsed.tidy(NOW + 2 * DAY)
    assert lapsed.tidy(NOW + 4 * DAY) == NOBODY
    assert lapsed.tidy(NOW + 5 * DAY) == Lapsed(1, 0)


def test_all_others_stay() -> None:
    for fields in ({}, {"expires_at": NOW + 99 * DAY}, {"hold_days": 1}, {"data_limit": 5}):
        baker.make(Subscriber, **fields)
    assert lapsed.tidy(NOW + 90 * DAY) == NOBODY


def test_without_the_settings_nobody_is_touched(settings: Settings) -> None:
    settings.XPERT_SWITCH_OFF_AFTER_DAYS = settings.XPERT_DELETE_AFTER_DAYS = 0
    a_subscriber(expires_at=NOW)
    assert lapsed.tidy(NOW + 3650 * DAY) == NOBODY


def test_each_change_is_noted() -> None:
    a_subscriber(expires_at=NOW)
    lapsed.tidy(NOW + 3 * DAY)
    lapsed.tidy(NOW + 10 * DAY)
    entries = AuditEntry.objects.order_by("id").values_list("action", "author")
    assert list(entries) == [("switched off", "cleanup"), ("deleted", "cleanup")]


def test_a_dry_run_says_how_many_and_touches_nobody() -> None:
    a_subscriber(expires_at=NOW)
    output = StringIO()
    with time_machine.travel(NOW + 3 * DAY, tick=False):
        call_command("cleanup_traffic", "--dry-run", stdout=output)
    assert "switch off 1 subscribers" in output.getvalue()
    assert is_active()


def test_the_command_does_it() -> None:
    a_subscriber(expires_at=NOW)
    output = StringIO()
    with time_machine.travel(NOW + 10 * DAY, tick=False):
        call_command("cleanup_traffic", stdout=output)
    assert "deleted 1 subscribers" in output.getvalue()
    assert is_hidden()


def test_the_operator_is_told_before() -> None:
    a_subscriber(expires_at=NOW)
    assert not list(conditions.lapsed_people(NOW))
    (found,) = conditions.lapsed_people(NOW + 3 * DAY)
    assert found.figures == {"switched_off": 1, "deleted": 0}
