"""Plans: applying sets limit and term, renewing extends the term and starts a period."""

from datetime import datetime
from typing import Any

import pytest

from operations.audit import By
from operations.models import AuditEntry
from tests.traffic.examples import DAY, GB, NOW, a_report, balance, stored
from traffic.models import Plan, Subscriber
from traffic.people import plans

pytestmark = pytest.mark.django_db

EVA = By("eva", NOW)


def a_plan(**fields: Any) -> Plan:
    return Plan.objects.create(
        **{"name": "Month", "data_limit": 50 * GB, "days": 30, "limit_reset": "monthly"} | fields
    )


def a_subscriber(**fields: Any) -> Subscriber:
    return Subscriber.objects.create(token="user123", **fields)


def test_applying_sets_limit_reset_and_term() -> None:
    plan, ann = a_plan(reset_day=5), a_subscriber(data_limit=1, expires_at=NOW - DAY)
    assert plans.apply([ann.pk], plan, EVA) == 1
    ann.refresh_from_db()
    assert (ann.plan, ann.data_limit, ann.limit_reset, ann.reset_day, ann.expires_at) == (
        plan,
        50 * GB,
        "monthly",
        5,
        NOW + 30 * DAY,
    )
    entry = AuditEntry.objects.get()
    assert entry.changes["plan"] == [None, "Month"]
    assert entry.changes["data_limit"] == [1, 50 * GB]


def test_a_plan_without_limit_and_days_takes_both_away() -> None:
    ann = a_subscriber(data_limit=1, expires_at=NOW + DAY)
    plans.apply([ann.pk], a_plan(data_limit=None, days=None), EVA)
    ann.refresh_from_db()
    assert (ann.data_limit, ann.expires_at) == (None, None)


@pytest.mark.parametrize(
    ("expires_at", "expected"),
    [
        (NOW + 5 * DAY, NOW + 35 * DAY),
        (NOW - 90 * DAY, NOW + 30 * DAY),
        (None, None),
    ],
)
def test_renewing_extends_the_term_and_starts_a_period(
    expires_at: datetime | None, expected: datetime | None
) -> None:
    ann = a_subscriber(plan=a_plan(), expires_at=expires_at)
    stored(a_report(NOW - DAY, upload=5))
    assert plans.renew([ann.pk], EVA) == (1, set())
    ann.refresh_from_db()
    assert ann.expires_at == expected
    assert ann.reset_at == NOW.replace(microsecond=0)
    assert (balance().period_upload, balance().life_upload) == (0, 5)
    entry = AuditEntry.objects.get()
    assert (entry.author, entry.action) == ("eva", "renewed")


def test_renewing_by_days_needs_no_plan() -> None:
    ann = a_subscriber(expires_at=NOW)
    assert plans.renew([ann.pk], EVA) == (0, {ann.pk})
    assert plans.renew([ann.pk], EVA, 7) == (1, set())
    ann.refresh_from_db()
    assert ann.expires_at == NOW + 7 * DAY


def test_a_plan_that_is_deleted_leaves_its_people_as_they_are() -> None:
    plan = a_plan()
    ann = a_subscriber()
    plans.apply([ann.pk], plan, EVA)
    plan.delete()
    ann.refresh_from_db()
    assert (ann.plan, ann.data_limit) == (None, 50 * GB)
    assert plans.renew([ann.pk], EVA) == (0, {ann.pk})
