"""Which events are noticed, when, and how often."""

from datetime import datetime
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import DjangoAssertNumQueries, Settings

from operations.api.authentication import create_api_key
from operations.audit import By
from operations.events import Kind
from operations.extension import Extension, register
from operations.findings import Condition
from operations.models import ApiKey, Notification
from operations.notifications import outbox
from operations.watch import readiness
from tests.operations.notifications.loopback import a_receiver
from tests.traffic.examples import DAY, GB, HOUR, NOW, a_report, stored, subscriber
from traffic.models import Balance, Correction, Server, Subscriber
from traffic.people import corrections

pytestmark = pytest.mark.django_db
SECOND = DAY / 86_400


def used(
    size: int, *, limit: int | None = 1000, token: str = "user123", **fields: Any
) -> Subscriber:
    """A subscriber called Ann who has used ``used`` bytes, half of them uploaded."""
    Subscriber.objects.create(token=token, name="Ann", data_limit=limit, **fields)
    stored(a_report(user_token=token, upload=size - size // 2, download=size // 2))
    return subscriber(token)


def noticed(now: datetime = NOW) -> list[str]:
    """The keys of new notifications."""
    before = set(Notification.objects.values_list("key", flat=True))
    outbox.notice(now)
    return sorted(set(Notification.objects.values_list("key", flat=True)) - before)


@pytest.fixture
def _receiver() -> None:
    a_receiver()


@pytest.mark.usefixtures("_receiver")
@pytest.mark.parametrize(
    ("size", "kinds"),
    [(799, []), (800, ["limit80"]), (999, ["limit80"]), (1000, ["limit100"]), (1001, ["limit100"])],
)
def test_a_limit_is_told_at_80_and_at_100_percent(size: int, kinds: list[str]) -> None:
    found = used(size)
    assert noticed() == [f"{kind}:{found.pk}:0:1000" for kind in kinds]


@pytest.mark.usefixtures("_receiver")
def test_80_percent_of_a_limit_that_five_does_not_divide_is_no_less() -> None:
    used(802, limit=1003)
    assert noticed() == []
    used(803, limit=1003, token="other")
    assert len(noticed()) == 1


@pytest.mark.usefixtures("_receiver")
def test_a_limit_is_told_once_a_period() -> None:
    used(900, limit_reset="daily")
    assert len(noticed()) == 1
    assert noticed(NOW + HOUR) == []
    assert noticed(NOW + DAY) == []  # nothing was used in that period yet
    stored(a_report(NOW + DAY, upload=900, download=0), now=NOW + DAY)
    assert len(noticed(NOW + DAY)) == 1


@pytest.mark.usefixtures("_receiver")
def test_80_and_100_percent_are_two_events() -> None:
    used(900)
    assert [key.partition(":")[0] for key in noticed()] == ["limit80"]
    stored(a_report(upload=100, download=0))
    assert [key.partition(":")[0] for key in noticed()] == ["limit100"]


@pytest.mark.usefixtures("_receiver")
def test_another_limit_is_another_event() -> None:
    used(900)
    noticed()
    Subscriber.objects.update(data_limit=1100)
    assert len(noticed()) == 1


@pytest.mark.usefixtures("_receiver")
@pytest.mark.parametrize(
    "fields",
    [
        {"is_active": False},
        {"expires_at": NOW},
        {"hidden_at": NOW},
        {"data_limit": None},
    ],
)
def test_subscribers_with_a_limit_of_0_or_without_a_limit_reach_none(
    fields: dict[str, Any],
) -> None:
    used(1000)
    Subscriber.objects.update(**fields)
    assert [key for key in noticed() if key.startswith("limit")] == []


@pytest.mark.usefixtures("_receiver")
def test_a_correction_counts_towards_the_limit() -> None:
    found = used(700)
    correction = Correction(subscriber=found, upload=100, download=0, in_period=True, reason="late")
    corrections.make(correction, By("ada", NOW))
    assert len(noticed()) == 1


@pytest.mark.usefixtures("_receiver")
def test_the_largest_counters_and_limits_do_no_harm() -> None:
    found = used(1000, limit=2**60)
    Balance.objects.update(period_upload=2**60, period_download=2**60)
    assert noticed() == [f"limit100:{found.pk}:0:{2**60}"]


@pytest.mark.usefixtures("_receiver")
@pytest.mark.parametrize(
    ("left", "told"),
    [(3 * DAY + SECOND, False), (3 * DAY, True), (SECOND, True), (0 * DAY, False), (-DAY, False)],
)
def test_an_expiry_is_told_three_days_before(left: Any, told: bool) -> None:
    Subscriber.objects.create(name="Ann", expires_at=NOW + left)
    assert any(key.startswith("expiring:") for key in noticed()) is told


@pytest.mark.usefixtures("_receiver")
@pytest.mark.parametrize(
    ("ago", "fields", "told"),
    [
        (-SECOND, {}, False),
        (0 * DAY, {}, True),
        (7 * DAY - SECOND, {}, True),
        (7 * DAY, {}, False),
        (DAY, {"is_active": False}, False),
        (DAY, {"hidden_at": NOW}, False),
        (DAY, {"has_next": True}, False),
    ],
)
def test_an_end_is_told_within_a_week(ago: Any, fields: dict[str, Any], told: bool) -> None:
    Subscriber.objects.create(name="Ann", expires_at=NOW - ago, **fields)
    assert any(key.startswith("expired:") for key in noticed()) is told


@pytest.mark.usefixtures("_receiver")
def test_an_expiry_is_told_again_when_it_was_moved() -> None:
    Subscriber.objects.create(name="Ann", expires_at=NOW + DAY)
    assert len(noticed()) == 1
    assert noticed(NOW + HOUR) == []
    Subscriber.objects.update(expires_at=NOW + 30 * DAY)
    assert noticed(NOW + 2 * HOUR) == []
    assert len(noticed(NOW + 28 * DAY)) == 1


@pytest.mark.usefixtures("_receiver")
def test_a_server_that_falls_silent_is_told_once_each_time() -> None:
    stored(a_report(NOW))
    assert noticed(NOW + DAY) == []
    assert len(noticed(NOW + DAY + HOUR)) == 1
    assert noticed(NOW + 3 * DAY) == []
    stored(a_report(NOW + 4 * DAY), now=NOW + 4 * DAY)
    assert noticed(NOW + 4 * DAY) == []
    (key,) = noticed(NOW + 6 * DAY)
    assert key.startswith(f"server-silent:{Server.objects.get().pk}:")


@pytest.mark.usefixtures("_receiver")
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"last_used_at": NOW - DAY}, False),
        ({"last_used_at": NOW - DAY - SECOND}, True),
        ({"last_used_at": NOW - 31 * DAY}, False),
        ({"last_used_at": None}, False),
        ({"last_used_at": NOW - 2 * DAY, "revoked_at": NOW}, False),
        ({"last_used_at": NOW - 2 * DAY, "expires_at": NOW}, False),
        ({"last_used_at": NOW - 2 * DAY, "scope": "read"}, False),
    ],
)
def test_a_reporter_that_falls_silent_is_told(fields: dict[str, Any], told: bool) -> None:
    create_api_key("node 7", "report")
    ApiKey.objects.update(**fields)
    assert bool(noticed()) is told
    assert noticed() == []


@pytest.mark.usefixtures("_receiver")
@pytest.mark.parametrize(
    ("free", "key"),
    [
        (2**30, None),
        (2**30 - 1, "disk:low:2024-02-10"),
        (readiness.DISK_FLOOR, "disk:low:2024-02-10"),
        (readiness.DISK_FLOOR - 1, "disk:full:2024-02-10"),
    ],
)
def test_a_disk_that_fills_is_told_once_a_day(
    free: int, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "disk", lambda: readiness.Disk(100 * GB, free))
    assert noticed() == ([key] if key else [])
    assert noticed(NOW + HOUR) == []
    assert len(noticed(NOW + DAY)) == (1 if key else 0)


@pytest.mark.usefixtures("_receiver")
def test_a_disk_that_is_not_ours_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "disk", lambda: None)
    assert noticed() == []


@pytest.mark.usefixtures("_receiver")
def test_sentences_say_who_and_how_much_and_hold_no_token() -> None:
    found = used(41 * GB, limit=50 * GB, expires_at=NOW + DAY, external_id="shop-17")
    noticed()
    rows = {row.event: row for row in Notification.objects.all()}
    assert rows["limit80"].text == "Ann has used 82 % of the data limit: 41.00 GB of 50.00 GB."
    assert rows["expiring"].text == "The last day of Ann is 2024-02-11 19:20."
    assert rows["limit80"].data == {
        "subscriber": {"id": found.pk, "name": "Ann", "external_id": "shop-17"},
        "used_bytes": 41 * GB,
        "limit_bytes": 50 * GB,
        "period_start": "1970-01-01T00:00:00+00:00",
    }
    assert "user123" not in str(list(Notification.objects.values()))


@pytest.mark.usefixtures("_receiver")
def test_sentences_are_in_the_language_of_the_panel(settings: Settings) -> None:
    settings.LANGUAGE_CODE = "ru"
    settings.XPERT_TIME_ZONE = "Europe/Moscow"
    Subscriber.objects.create(name="Аня", expires_at=NOW + DAY)
    noticed()
    assert Notification.objects.get().text == (
        "Последний день подписчика Аня — 11.02.2024 22:20 Europe/Moscow."
    )


@pytest.mark.usefixtures("_receiver")
def test_a_name_with_line_breaks_stays_in_one_line() -> None:
    Subscriber.objects.create(name="Ann\r\nBcc: eve@example.com", expires_at=NOW + DAY)
    noticed()
    assert "Ann Bcc:" in Notification.objects.get().text


def test_events_that_no_receiver_wants_are_not_looked_for(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    a_receiver(is_active=False)
    used(1000)
    with django_assert_num_queries(1):
        assert outbox.notice(NOW) == 0
    a_receiver(events=["disk", "of-another-version"])
    with django_assert_num_queries(1):
        assert outbox.notice(NOW) == 0


def test_the_first_receiver_of_an_event_is_notified_of_current_conditions() -> None:
    used(1000)
    assert noticed() == []
    a_receiver(events=["limit100"])
    assert len(noticed()) == 1


def test_finding_who_reached_a_limit_costs_the_same_for_one_and_for_many(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    a_receiver(events=["limit100"])
    for number in range(30):
        used(1000, token=f"user{number}")
    noticed()
    with django_assert_num_queries(
        3
    ) as captured:  # receivers, who is over the limit, which of them are known
        outbox.notice(NOW)
    assert "traffic_usage" not in " ".join(query["sql"] for query in captured.captured_queries)


@pytest.mark.usefixtures("only_traffic")
def test_another_app_registers_what_it_notices() -> None:
    kind = Kind(
        name="source",
        label="A source fails",
        find=lambda now: [Condition(code="fails", subject="7"), Condition(code="other")],
        texts={"fails": "Source %(subject)s fails."},
        key=lambda found, now: found.subject,
        data=lambda found: {"source": found.subject},
    )
    register(Extension(name="x", events=(kind,)))
    a_receiver(events=["source"])
    assert noticed() == ["source:7"]
    assert noticed() == []


@pytest.mark.usefixtures("_receiver")
def test_cleanup_keeps_lasting_conditions_and_forgets_those_that_ended() -> None:
    used(1000)
    noticed()
    outbox._write(list(Notification.objects.get().deliveries.all()), state="delivered")
    for days in (60, 120):
        assert noticed(NOW + days * DAY) == []
        assert outbox.drop_old(NOW + days * DAY) == 0
    Subscriber.objects.update(is_active=False)
    noticed(NOW + 200 * DAY)
    assert outbox.drop_old(NOW + 210 * DAY) == 0
    assert outbox.drop_old(NOW + 210 * DAY + HOUR) == 1
    assert not Notification.objects.exists()


@pytest.mark.usefixtures("_receiver")
def test_a_pending_notification_is_not_forgotten() -> None:
    used(1000)
    noticed()
    assert outbox.drop_old(NOW + 365 * DAY) == 0


@pytest.mark.usefixtures("_receiver")
def test_erasing_a_person_drops_what_tells_of_him_and_no_more() -> None:
    ann = used(1000)
    used(1000, token="bob")
    assert len(noticed()) == 2
    call_command("erase_subscriber", ann.token, yes=True, verbosity=0)
    assert [row.target_id for row in Notification.objects.all()] == [subscriber("bob").pk]
