"""Terms that begin with the first use."""

import threading
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from model_bakery import baker

from operations.audit import By
from tests.traffic.examples import DAY, HOUR, NOW, UTC_ZONE, a_report, balance, subscriber
from tests.traffic.ledger.test_recording_concurrently import at_once
from traffic.figures import overview, statistics
from traffic.ledger import terms
from traffic.ledger.recording import Outcome, record
from traffic.models import MAX_COUNTER, Plan, Subscriber
from traffic.people import changes, plans, quotas, subscribers
from traffic.people.quotas import State
from traffic.periods import EPOCH

pytestmark = pytest.mark.django_db
BY = By("anna", NOW)


def on_hold(**fields: Any) -> Subscriber:
    made: Subscriber = baker.make(Subscriber, token="user123", hold_days=30, **fields)
    return made


def state_of(now: datetime = NOW) -> State:
    found = subscriber()
    return quotas.state(found, statistics.usage_of(found, now).period_total, now)


def term() -> tuple[datetime | None, int | None]:
    found = subscriber()
    return found.expires_at, found.hold_days


def test_until_the_first_use_it_is_on_hold_for_ever() -> None:
    on_hold()
    assert state_of(NOW + 3650 * DAY) is State.ON_HOLD
    assert State.ON_HOLD.may_use


def test_the_first_report_begins_the_term() -> None:
    on_hold()
    record([a_report()], NOW)
    assert term() == (NOW + 30 * DAY, None)
    assert state_of() is State.ACTIVE
    assert state_of(NOW + 30 * DAY) is State.EXPIRED


def test_a_term_that_begins_leaves_all_others_on_hold() -> None:
    on_hold()
    other = baker.make(Subscriber, token="other", hold_days=9)
    record([a_report()], NOW)
    other.refresh_from_db()
    assert (other.expires_at, other.hold_days) == (None, 9)


def test_a_term_ends_before_the_largest_date() -> None:
    assert terms.after(NOW, 3_000_000) == datetime(9999, 1, 1, tzinfo=UTC)


def test_later_reports_do_not_move_it() -> None:
    on_hold()
    record([a_report()], NOW)
    record([a_report(NOW + DAY)], NOW + DAY)
    assert term() == (NOW + 30 * DAY, None)


def test_a_late_report_begins_the_term_when_it_comes() -> None:
    on_hold()
    record([a_report(NOW - 9 * DAY)], NOW)
    assert term() == (NOW + 30 * DAY, None)


def test_a_refused_report_begins_nothing() -> None:
    on_hold()
    too_much = a_report(upload=MAX_COUNTER + 1)
    assert record([too_much], NOW) == [Outcome.COUNTER_FULL]
    assert term() == (None, 30)


def test_an_unknown_token_begins_nothing() -> None:
    on_hold()
    record([a_report(user_token="unknown")], NOW)
    assert term() == (None, 30)


def test_the_first_fetch_begins_the_term() -> None:
    made = on_hold()
    subscribers.begin_term(made, NOW)
    assert (made.expires_at, made.hold_days) == (NOW + 30 * DAY, None)
    assert term() == (NOW + 30 * DAY, None)


def test_of_a_fetch_and_a_report_the_first_begins_it() -> None:
    made = on_hold()
    record([a_report()], NOW)
    subscribers.begin_term(made, NOW + HOUR)
    assert made.expires_at == NOW + 30 * DAY


def test_an_expiry_beside_it_is_the_last_moment_to_begin() -> None:
    on_hold(expires_at=NOW)
    assert state_of() is State.EXPIRED


def test_an_interval_counts_from_the_first_use() -> None:
    on_hold(limit_reset="interval", reset_days=10, started_at=EPOCH)
    record([a_report(upload=5, download=0)], NOW)
    assert statistics.usage_of(subscriber(), NOW + 9 * DAY).period_upload == 5
    assert statistics.usage_of(subscriber(), NOW + 10 * DAY).period_upload == 0
    assert balance().period_start == NOW.replace(microsecond=0)


def test_an_interval_counts_from_the_time_of_a_late_first_report() -> None:
    on_hold(limit_reset="interval", reset_days=10, started_at=EPOCH)
    record([a_report(NOW - 2 * DAY, upload=5, download=0)], NOW)
    assert subscriber().started_at == (NOW - 2 * DAY).replace(microsecond=0)
    assert statistics.usage_of(subscriber(), NOW).period_upload == 5


def test_extending_makes_it_longer() -> None:
    made = on_hold()
    other = baker.make(Subscriber, expires_at=NOW + DAY)
    assert changes.extend([made.pk, other.pk], 5, BY) == 2
    assert term() == (None, 35)
    other.refresh_from_db()
    assert other.expires_at == NOW + 6 * DAY


def test_a_date_ends_being_on_hold() -> None:
    made = on_hold()
    assert changes.extend_until([made.pk], NOW + DAY, BY) == 1
    assert term() == (NOW + DAY, None)


def test_a_plan_may_begin_with_the_first_use() -> None:
    made = baker.make(Subscriber, token="user123", expires_at=NOW)
    plan = Plan.objects.create(name="Month", days=30, from_first_use=True)
    plans.apply([made.pk], plan, BY)
    assert term() == (None, 30)
    plans.renew([made.pk], BY)
    assert term() == (None, 60)


def test_a_plan_from_now_ends_being_on_hold() -> None:
    made = on_hold()
    plans.apply([made.pk], Plan.objects.create(name="Month", days=7), BY)
    assert term() == (NOW + 7 * DAY, None)


def test_the_first_screen_counts_those_on_hold() -> None:
    on_hold()
    baker.make(Subscriber)
    found = overview.states(NOW, UTC_ZONE)
    assert (found.active, found.on_hold) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_of_two_first_reports_at_once_one_begins_the_term() -> None:
    on_hold()
    together = threading.Barrier(4)

    def first_use(number: int) -> None:
        together.wait()
        record([a_report(upload=1, download=0)], NOW + number * HOUR)

    at_once([partial(first_use, number) for number in range(4)])
    expires_at, hold_days = term()
    assert hold_days is None
    assert expires_at in {NOW + number * HOUR + 30 * DAY for number in range(4)}
    assert balance().life_upload == 4
