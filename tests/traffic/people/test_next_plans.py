"""Plans that are bought ahead begin by themselves, each once, and lose neither days nor bytes."""

import threading
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_bakery import baker

from operations.audit import By
from operations.models import AuditEntry
from tests.traffic.examples import DAY, HOUR, NOW, a_report, balance, subscriber
from tests.traffic.ledger.test_recording_concurrently import at_once
from traffic.figures import statistics
from traffic.ledger import verification
from traffic.ledger.recording import record
from traffic.models import NextPlan, Plan, Subscriber
from traffic.people import next_plans, quotas
from traffic.people.quotas import State

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
START = NOW.replace(microsecond=0)
BY = By("anna", START)


@pytest.fixture
def plan() -> Plan:
    return Plan.objects.create(name="Month", days=30, data_limit=100)


def a_subscriber(**fields: Any) -> Subscriber:
    made: Subscriber = baker.make(Subscriber, token="user123", **fields)
    return made


def reported(size: int, at: datetime = START, now: datetime | None = None) -> None:
    record([a_report(at, upload=size, download=0)], now or at)


def state_at(now: datetime) -> State:
    found = subscriber()
    return quotas.state(found, statistics.usage_of(found, now).period_total, now)


def used(now: datetime) -> int:
    return statistics.usage_of(subscriber(), now).period_total


def test_it_waits_until_the_term_ends(plan: Plan) -> None:
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY)
    assert next_plans.begin_due(START + DAY - SECOND) == 0
    assert next_plans.begin_due(START + DAY) == 1
    assert subscriber().expires_at == START + 31 * DAY
    assert not NextPlan.objects.exists()
    assert not subscriber().has_next


def test_the_new_term_begins_where_the_old_one_ended(plan: Plan) -> None:
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY)
    next_plans.begin_due(START + 3 * DAY)
    assert subscriber().expires_at == START + 31 * DAY


def test_what_is_bought_after_the_end_begins_at_once(plan: Plan) -> None:
    made = a_subscriber(expires_at=START - 9 * DAY)
    next_plans.add([made.pk], plan, BY)
    assert subscriber().expires_at == START + 30 * DAY
    assert state_at(START) is State.ACTIVE


def test_a_report_begins_it_before_it_is_counted(plan: Plan) -> None:
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY)
    reported(40)
    reported(7, START + DAY + HOUR)
    assert (used(START + 2 * DAY), balance().life_upload) == (7, 47)
    reported(5, START, START + 2 * DAY)
    assert (used(START + 2 * DAY), balance().life_upload) == (7, 52)


def test_the_report_that_uses_up_the_limit_begins_it(plan: Plan) -> None:
    made = a_subscriber(data_limit=50, expires_at=START + 9 * DAY)
    next_plans.add([made.pk], plan, BY)
    reported(49)
    assert subscriber().has_next
    reported(1, START + HOUR)
    found = subscriber()
    assert (found.has_next, found.data_limit, found.expires_at) == (False, 100, START + HOUR + 30 * DAY)  # fmt: skip
    assert used(START + HOUR) == 0
    reported(100, START + 2 * HOUR)
    assert state_at(START + 2 * HOUR) is State.LIMITED


@pytest.mark.parametrize(
    ("begins", "at_term", "at_quota"), [("either", 1, 1), ("term", 1, 0), ("quota", 0, 1)]
)
def test_it_begins_at_the_end_of_the_term_or_of_the_quota(
    plan: Plan, begins: str, at_term: int, at_quota: int
) -> None:
    one = a_subscriber(expires_at=START + DAY)
    next_plans.add([one.pk], plan, BY, begins)
    assert next_plans.begin_due(START + DAY) == at_term
    NextPlan.objects.all().delete()
    Subscriber.objects.update(expires_at=None, data_limit=10)
    next_plans.add([one.pk], plan, BY, begins)
    reported(10, START + DAY)
    assert NextPlan.objects.count() == 1 - at_quota


def test_one_that_renews_begins_again_and_again(plan: Plan) -> None:
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY, renews=True)
    next_plans.begin_due(START + DAY)
    next_plans.begin_due(START + 31 * DAY)
    assert subscriber().expires_at == START + 61 * DAY
    assert NextPlan.objects.count() == 1


def test_after_a_long_silence_the_terms_follow_each_other(plan: Plan) -> None:
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY, renews=True)
    assert next_plans.begin_due(START + 100 * DAY) == 4
    assert subscriber().expires_at == START + 121 * DAY


def test_the_oldest_is_the_next(plan: Plan) -> None:
    other = Plan.objects.create(name="Year", days=365)
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY)
    next_plans.add([made.pk], other, BY)
    next_plans.begin_due(START + DAY)
    assert subscriber().plan == plan
    assert list(NextPlan.objects.values_list("plan__name", flat=True)) == ["Year"]


def test_a_plan_that_is_cancelled_never_begins(plan: Plan) -> None:
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY)
    following = NextPlan.objects.get()
    assert next_plans.cancel(following, BY)
    assert next_plans.begin_due(START + DAY) == 0
    assert not subscriber().has_next


def test_whoever_is_deleted_gets_none(plan: Plan) -> None:
    made = a_subscriber(hidden_at=START)
    assert next_plans.add([made.pk], plan, BY) == 0


def test_each_step_is_noted(plan: Plan) -> None:
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY)
    next_plans.begin_due(START + DAY)
    entries = AuditEntry.objects.order_by("id").values_list("action", "author")
    assert list(entries) == [("changed", "anna"), ("renewed", "next plan")]


@pytest.mark.django_db(transaction=True)
def test_of_reports_and_askers_at_once_one_begins_it(plan: Plan) -> None:
    made = a_subscriber(expires_at=START + DAY)
    next_plans.add([made.pk], plan, BY)
    together = threading.Barrier(4)

    def use(number: int) -> None:
        together.wait()
        if number % 2:
            next_plans.begin_due(START + DAY)
        else:
            reported(1, START + DAY)

    at_once([partial(use, number) for number in range(4)])
    assert subscriber().expires_at == START + 31 * DAY
    assert AuditEntry.objects.filter(action="renewed").count() == 1
    assert used(START + DAY) == 2


steps = st.lists(
    st.tuples(st.integers(1, 40 * 24), st.sampled_from(["report", "ask"]), st.integers(0, 60)),
    max_size=8,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps, bought=st.integers(0, 3))
def test_days_and_bytes_are_spent_once(plan: Plan, steps: list[Any], bought: int) -> None:
    """By the term alone: each plan adds its days to the end of the one before, and all bytes are in the life."""
    with transaction.atomic():
        made = a_subscriber(expires_at=START + 10 * DAY)
        for _ in range(bought):
            next_plans.add([made.pk], plan, BY, "term")
        now, life = START, 0
        for hours, action, size in steps:
            now += hours * HOUR
            if action == "report":
                reported(size, now)
                life += size
            else:
                next_plans.begin_due(now)
        next_plans.begin_due(now)
        begun = bought - NextPlan.objects.count()
        assert subscriber().expires_at == START + (10 + 30 * begun) * DAY
        assert begun == bought or START + (10 + 30 * begun) * DAY > now
        assert statistics.usage_of(subscriber(), now).life_total == life
        assert not list(verification.differences())
        transaction.set_rollback(True)
