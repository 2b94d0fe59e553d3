"""One list of facts, shown in four ways: by doctor, as a notification, as a gauge and as what needs attention."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.test import Client
from model_bakery import baker
from prometheus_client.parser import text_string_to_metric_families

from operations import wording
from operations.findings import Condition, Level, Watch
from operations.models import ApiKey, Notification
from operations.notifications import outbox
from operations.watch import attention, conditions, doctor, exposition
from operations.wording import Words
from tests.operations.notifications.loopback import a_receiver
from tests.traffic.admin_pages import operator, staff

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
DAY = timedelta(days=1)
WORDS = {
    "near": Words("%(subject)s", "%(used_bytes)s since %(since)s."),
    "silent": Words("Reporters", "Silent: %(subject)s.", is_joined=True),
    "names": Words("Names", "%(names)s"),
}


@pytest.fixture
def _silent() -> None:
    baker.make(ApiKey, name="node 7", scope="report", last_used_at=datetime.now(UTC) - 2 * DAY)


@pytest.mark.usefixtures("_silent")
def test_a_silent_reporter_is_the_same_fact_everywhere() -> None:
    now = datetime.now(UTC)
    a_receiver(events=["reporter-silent"])
    outbox.notice(now)
    assert "node 7" in Notification.objects.get().text
    (line,) = [line for line in doctor.examine(now) if line.subject == "Reporters"]
    assert (line.level, line.message) == (Level.WARNING, "Silent for longer than usual: node 7.")
    (item,) = [one for one in attention.items(now, lambda _: True) if "node 7" in one.text]
    assert item.text == "Reporters: Silent for longer than usual: node 7."
    assert item.link == "/admin/traffic/reporter/?news=silent"
    samples = {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition.text().decode())
        for sample in family.samples
        if sample.name == "xpert_conditions"
    }
    assert samples["reporter-silent", "warning"] == 1


@pytest.mark.usefixtures("_silent")
def test_the_first_screen_says_what_needs_attention_to_those_who_may_see_the_state() -> None:
    page = operator().get("/admin/").content.decode()
    assert "What needs attention" in page
    assert "Silent for longer than usual: node 7." in page
    assert "What needs attention" not in staff("view_usage").get("/admin/").content.decode()


def test_a_text_is_filled_with_figures_as_people_write_them() -> None:
    found = Condition(code="near", subject="Ann", figures={"used_bytes": 2**30}, since=NOW)
    (line,) = wording.findings([found], WORDS)
    assert (line.subject, line.message) == ("Ann", "1.00 GB since 2026-03-04 05:06 UTC.")


def test_many_of_one_code_share_a_line_of_the_worst_level() -> None:
    levels = [Level.WARNING, Level.ERROR, *[Level.WARNING] * 5]
    found = [
        Condition(code="silent", level=level, subject=name)
        for level, name in zip(levels, "abcdefg", strict=True)
    ]
    (line,) = wording.findings(found, WORDS)
    assert (line.level, line.message) == (Level.ERROR, "Silent: a, b, c, d, e and 2 more.")


def test_a_name_with_a_percent_sign_is_no_placeholder() -> None:
    (line,) = wording.findings([Condition(code="silent", subject="100 %s")], WORDS)
    assert line.message == "Silent: 100 %s."


def test_a_condition_without_words_makes_no_line() -> None:
    assert wording.findings([Condition(code="unknown")], WORDS) == []


def test_a_finder_without_a_database_is_told_once_and_stops_the_quick_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(now: datetime) -> list[Condition]:
        raise OperationalError("secret address")

    def never(now: datetime) -> list[Condition]:
        raise AssertionError("it was asked")

    monkeypatch.setattr(conditions, "_FIRST", (Watch(away), Watch(never)))
    assert [found.code for found in conditions.quick(NOW)] == ["database-away"]


def test_a_finder_that_meets_a_wrong_setting_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(now: datetime) -> list[Condition]:
        raise ImproperlyConfigured("XPERT_X takes …")

    monkeypatch.setattr(conditions, "_FIRST", (Watch(wrong),))
    monkeypatch.setattr(conditions, "_rest", lambda: iter(()))
    assert conditions.everything(NOW) == []


@pytest.mark.parametrize(("permission", "status"), [("view_commandrun", 200), ("view_usage", 403)])
def test_metrics_are_for_staff_who_may_see_the_state(permission: str, status: int) -> None:
    assert staff(permission).get("/metrics").status_code == status
    assert Client().get("/metrics").status_code == 401
