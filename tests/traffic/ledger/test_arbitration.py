"""One flow told twice is counted once: the best grade that told within 24 hours counts, the others are controls."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db.models import Sum
from model_bakery import baker

from operations.api.authentication import create_api_key
from operations.audit import By
from tests.traffic.examples import DAY, HOUR, NOW, assert_sums_agree, balance
from tests.traffic.ledger.test_recording_concurrently import at_once
from traffic.intake import acceptance
from traffic.intake.acceptance import Caller
from traffic.ledger import group_commit, retention, verification
from traffic.ledger.meters import Answer, Readings
from traffic.ledger.owners import Sending
from traffic.ledger.recording import write
from traffic.models import MeteredPerson, Reporter, Server, SetAside, Subscriber, Told, Usage
from traffic.people import adoption, erasure
from traffic.readings import Message, Reading, Row, checked_rows
from traffic.reports import Decoded, Report

pytestmark = pytest.mark.django_db
RUN = int((NOW - 40 * DAY).timestamp())
GATEWAY = Sending(origin="link:1", grade=Reporter.Grade.MEASURED)
PANEL = Sending(origin="pull:1")
OTHER_PANEL = Sending(origin="pull:2")
DEVICE = Sending()


@pytest.fixture(autouse=True)
def _ann() -> Any:
    baker.make(Server)  # so that no server has the id of a subscriber
    Subscriber.objects.create(token="ann", name="Ann")
    with time_machine.travel(NOW, tick=False):
        yield
    assert_sums_agree()


def tell(
    sending: Sending,
    total: int,
    at: datetime = NOW,
    *,
    token: str = "ann",
    person: str | None = None,
    host: str = "a.example",
    baseline: bool = False,
) -> Answer:
    who: dict[str, Any] = {"person": person} if person else {"user_token": token}
    row = Row(
        server=host, port=443, protocol="vless", upload=total, timestamp=at.timestamp(), **who
    )
    message = Message("m", RUN, baseline, *checked_rows([row], max(at, NOW)))
    return acceptance.book(message, sending, max(at, NOW))


def used(token: str = "ann") -> int:
    found = Usage.objects.filter(subscriber__token=token).aggregate(up=Sum("upload"))["up"]
    return found or 0


def told(sending: Sending) -> tuple[int, int]:
    """Counted and control."""
    rows = Told.objects.filter(reporter__origin=sending.origin)
    found = rows.aggregate(counted=Sum("upload"), control=Sum("control_upload"))
    return found["counted"] or 0, found["control"] or 0


# --- who counts ----------------------------------------------------------------


def test_a_worse_grade_is_a_control_while_a_better_one_tells() -> None:
    tell(GATEWAY, 100)
    assert tell(PANEL, 90).recorded == 1
    assert (used(), told(GATEWAY), told(PANEL)) == (100, (100, 0), (0, 90))


@pytest.mark.parametrize(
    ("better", "worse"), [(GATEWAY, PANEL), (GATEWAY, DEVICE), (PANEL, DEVICE)]
)
def test_every_better_grade_counts_before_every_worse_one(better: Sending, worse: Sending) -> None:
    tell(better, 100)
    tell(worse, 90)
    assert (told(better), told(worse)) == ((100, 0), (0, 90))


def test_equal_grades_add() -> None:
    tell(PANEL, 100)
    tell(OTHER_PANEL, 50)
    assert (used(), told(PANEL), told(OTHER_PANEL)) == (150, (100, 0), (50, 0))


def test_what_was_counted_before_a_better_one_came_stays() -> None:
    tell(DEVICE, 10)
    tell(PANEL, 100)
    tell(DEVICE, 15)
    assert (used(), told(DEVICE), told(PANEL)) == (110, (10, 5), (100, 0))


@pytest.mark.parametrize(
    ("after", "counts"),
    [(DAY - timedelta(seconds=1), False), (DAY, False), (DAY + timedelta(seconds=1), True)],
)
def test_a_better_one_counts_for_24_hours_after_its_last_reading(
    after: timedelta, counts: bool
) -> None:
    tell(GATEWAY, 100)
    with time_machine.travel(NOW + after, tick=False):
        tell(DEVICE, 7, NOW + after)
    assert told(DEVICE) == ((7, 0) if counts else (0, 7))


def test_a_reading_without_growth_tells_too() -> None:
    tell(GATEWAY, 100, NOW - 2 * DAY)
    tell(GATEWAY, 100, NOW)
    tell(DEVICE, 7)
    assert told(DEVICE) == (0, 7)


def test_a_baseline_tells_too() -> None:
    tell(GATEWAY, 100, baseline=True)
    tell(DEVICE, 7)
    assert (used(), told(DEVICE)) == (0, (0, 7))


def test_traffic_from_before_a_better_one_told_counts_though_it_comes_late() -> None:
    tell(GATEWAY, 100)
    tell(DEVICE, 7, NOW - 3 * DAY)
    assert told(DEVICE) == (7, 0)


def test_late_traffic_of_a_day_on_which_a_better_one_told_is_a_control() -> None:
    tell(GATEWAY, 100, NOW - 3 * DAY)
    tell(GATEWAY, 200, NOW)
    tell(DEVICE, 7, NOW - 3 * DAY)
    assert told(DEVICE) == (0, 7)


@pytest.mark.parametrize(("late", "counts"), [(DAY, False), (DAY + timedelta(seconds=1), True)])
def test_late_traffic_is_a_control_up_to_24_hours_before_a_better_one_told(
    late: timedelta, counts: bool
) -> None:
    """Beyond that it depends on whether the better one told of that day or the day before."""
    tell(GATEWAY, 100)
    tell(DEVICE, 7, NOW - late)
    assert told(DEVICE) == ((7, 0) if counts else (0, 7))


@pytest.mark.parametrize(("days", "counts"), [(-2, True), (-1, False), (0, False), (1, True)])
def test_old_late_traffic_is_a_control_if_a_better_one_told_of_its_day_or_the_day_before(
    days: int, counts: bool
) -> None:
    midnight = (NOW - 5 * DAY).replace(hour=0, minute=0, second=0)
    tell(GATEWAY, 100, midnight + days * DAY)
    tell(GATEWAY, 200, NOW)
    tell(DEVICE, 7, midnight)
    assert told(DEVICE) == ((7, 0) if counts else (0, 7))


def test_what_a_worse_one_told_of_a_day_makes_nothing_of_it_a_control() -> None:
    tell(DEVICE, 5, NOW - 3 * DAY)
    tell(GATEWAY, 100)
    tell(DEVICE, 12, NOW - 3 * DAY)
    assert told(DEVICE) == (12, 0)


def test_other_servers_and_other_people_are_not_concerned() -> None:
    Subscriber.objects.create(token="bob")
    tell(GATEWAY, 100)
    tell(DEVICE, 7, host="b.example")
    tell(DEVICE, 8, token="bob")
    assert told(DEVICE) == (15, 0)


def test_within_one_transaction_the_first_work_is_known_to_the_second() -> None:
    rows = [Row(server="a.example", port=443, protocol="vless", upload=5, user_token="ann")]
    message = Message("m", RUN, False, *checked_rows(rows, NOW))
    write([Readings(message, GATEWAY), Readings(message, DEVICE)], NOW)
    assert (told(GATEWAY), told(DEVICE)) == ((5, 0), (0, 5))


def test_within_one_transaction_the_order_decides_as_in_two() -> None:
    rows = [Row(server="a.example", port=443, protocol="vless", upload=5, user_token="ann")]
    message = Message("m", RUN, False, *checked_rows(rows, NOW))
    write([Readings(message, DEVICE), Readings(message, GATEWAY)], NOW)
    assert (told(GATEWAY), told(DEVICE)) == ((5, 0), (5, 0))


def test_single_reports_always_count_and_their_key_has_told_them() -> None:
    tell(GATEWAY, 100)
    key = create_api_key("shop", "report")[0]
    moment = int(NOW.timestamp())
    report = Report("ann", "a.example", 443, "vless", 30, 0, moment)
    acceptance.accept(Decoded({0: report}, {}, False), Caller(key.pk, ""), NOW)
    acceptance.accept(Decoded({0: report}, {}, False), Caller(None, ""), NOW)
    found = Reporter.objects.get(api_key=key)
    assert (found.kind, found.meter, found.grade) == ("webhook", "", "provider")
    assert (Told.objects.get(reporter=found).upload, used()) == (30, 160)


def test_a_key_of_single_reports_is_seen_every_five_minutes() -> None:
    key = create_api_key("shop", "report")[0]
    report = Report("ann", "a.example", 443, "vless", 1, 0, int(NOW.timestamp()))

    def seen(after: timedelta, grade: str = "provider") -> tuple[datetime, str]:
        caller = Caller(key.pk, "", grade=grade)
        acceptance.accept(Decoded({0: report}, {}, False), caller, NOW + after)
        found = Reporter.objects.get(api_key=key)
        return found.last_seen_at, found.grade

    minute = timedelta(minutes=1)
    assert seen(0 * minute) == (NOW, "provider")
    assert seen(4 * minute) == (NOW, "provider")
    assert seen(5 * minute) == (NOW + 5 * minute, "provider")
    assert seen(6 * minute, "measured") == (NOW + 5 * minute, "measured")
    assert Told.objects.get().upload == used() == 4


def test_the_sums_of_all_orders_agree() -> None:
    """Each byte is counted or is a control, whatever came first."""
    totals = [(sending, total) for sending in (GATEWAY, PANEL, DEVICE) for total in (10, 20, 30)]
    for seed in range(5):
        token = f"person-{seed}"
        Subscriber.objects.create(token=token)
        for sending, total in random.Random(seed).sample(totals, len(totals)):
            tell(sending, total, token=token)
        rows = Told.objects.filter(subscriber__token=token)
        assert sum(row.upload for row in rows) == used(token)
        assert sum(row.upload + row.control_upload for row in rows) == 90
        assert rows.get(reporter__origin=GATEWAY.origin).upload == 30


def test_controls_never_pass_what_a_column_holds() -> None:
    tell(GATEWAY, 1)
    for run in range(12):
        rows = [Row(server="a.example", port=443, protocol="vless", upload=2**60, user_token="ann")]
        message = Message("m", RUN + run, False, *checked_rows(rows, NOW))
        write([Readings(message, DEVICE)], NOW)
    assert told(DEVICE) == (0, 2**60)


# --- what operators decide -------------------------------------------------------


def test_who_is_adopted_from_the_beginning_counts_only_what_nobody_better_has_told() -> None:
    tell(PANEL, 40, person="eve")
    tell(GATEWAY, 100)
    tell(PANEL, 50, person="eve", host="b.example")
    eve = MeteredPerson.objects.get(name="eve")
    adoption.adopt(eve, Subscriber.objects.get(), By("op", NOW), from_beginning=True)
    assert (used(), told(PANEL)) == (150, (50, 40))


def test_an_amount_that_is_counted_after_all_was_told_by_its_reporter(settings: Any) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    with_time = Message(
        "m",
        int(NOW.timestamp()),
        False,
        *checked_rows(
            [Row(server="a.example", port=443, protocol="vless", upload=2**40, user_token="ann")],
            NOW,
        ),
    )
    acceptance.book(with_time, PANEL, NOW)
    assert told(PANEL) == (0, 0)
    adoption.count_set_aside(SetAside.objects.get(), By("op", NOW))
    assert told(PANEL) == (2**40, 0)


# --- what becomes of it ------------------------------------------------------------


def test_cleanup_forgets_who_told_of_the_days_that_it_deletes() -> None:
    tell(PANEL, 10, NOW - 20 * DAY)
    tell(PANEL, 30, NOW)
    retention.delete_records(10, NOW)
    assert (used(), told(PANEL)) == (20, (20, 0))


def test_what_is_older_than_a_year_is_forgotten() -> None:
    panel = baker.make(Reporter, origin="pull:9", grade="provider", api_key=None, subscriber=None)
    server = baker.make(Server)
    for age in (400, 401):
        Told.objects.create(
            subscriber_id=Subscriber.objects.get().pk,
            server=server,
            reporter=panel,
            day=NOW - age * DAY,
            control_upload=1,
        )
    assert retention.drop_told(0, NOW) == 1
    assert retention.drop_told(30, NOW) == 1
    assert not Told.objects.exists()


def test_folding_keeps_who_told() -> None:
    tell(PANEL, 10, NOW - 31 * DAY)
    retention.fold(NOW + 5 * DAY)
    assert told(PANEL) == (10, 0)


def test_erasing_a_person_forgets_who_told_of_them() -> None:
    tell(PANEL, 10)
    erasure.erase(Subscriber.objects.get(), By("op", NOW))
    assert not Told.objects.exists()


def test_check_traffic_finds_more_told_than_there_is_and_repairs_it() -> None:
    tell(PANEL, 10)
    Told.objects.update(upload=11)
    (found,) = verification.differences(repair=True)
    assert "upload is 11, the records say 10" in str(found)
    assert not Told.objects.exists()
    assert balance("ann").life_upload == 10


def test_a_reading_of_the_hour_before_midnight_belongs_to_its_day() -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    tell(PANEL, 10, midnight - HOUR)
    tell(PANEL, 30, midnight)
    days = Told.objects.order_by("day").values_list("day", "upload")
    assert list(days) == [(midnight - DAY, 10), (midnight, 20)]


# --- many senders at once -------------------------------------------------------------


def _senders() -> list[Sending]:
    """Of every grade: keys, parts of the panel, and people who read for themselves."""
    keys = [create_api_key(f"k{n}", "report")[0].pk for n in range(4)]
    grades = Reporter.Grade
    return [
        Sending(keys[0], grade=grades.MEASURED),
        Sending(keys[1], grade=grades.MEASURED),
        Sending(keys[2]),
        Sending(keys[3], grade=grades.REPORTED),
        *(Sending(origin=f"pull:{n}") for n in range(3)),
        *[DEVICE] * 3,
    ]


def _history(draw: random.Random, people: int, readings: int) -> list[tuple[str, str, int, int]]:
    """Growing totals of all people on five servers, as one meter tells them."""
    found = []
    for person in range(people):
        for server in range(5):
            up = down = 0
            for _ in range(readings):
                up += draw.randrange(1000) * draw.randrange(2)
                down += draw.randrange(10**6)
                found.append((f"user{person}", f"s{server}.example", up, down))
    return found


def _messages(
    draw: random.Random, senders: list[Sending], people: int, readings: int
) -> tuple[list[tuple[Sending, Message]], int]:
    """In random order, with a fifth of them twice; and the sum of all last totals."""
    messages, total = [], 0
    for number, sending in enumerate(senders):
        rows = _history(draw, people, readings)
        last = {(token, host): up + down for token, host, up, down in rows}
        total += sum(last.values())
        rows += draw.sample(rows, len(rows) // 5)
        draw.shuffle(rows)
        for start in range(0, len(rows), 200):
            read = {
                place: Reading(token, "", (host, 443, "vless"), up, down, int(NOW.timestamp()))
                for place, (token, host, up, down) in enumerate(rows[start : start + 200])
            }
            messages.append((sending, Message(f"m{number}", RUN, False, read, {})))
    draw.shuffle(messages)
    return messages, total


def _send_all(messages: list[tuple[Sending, Message]], threads: int) -> None:
    def send(mine: list[tuple[Sending, Message]]) -> None:
        for sending, message in mine:
            group_commit.submit(Readings(message, sending), NOW)

    at_once([lambda mine=messages[n::threads]: send(mine) for n in range(threads)])  # type: ignore[misc]


def _prove(people: int, readings: int, threads: int) -> None:
    draw = random.Random(5)
    Subscriber.objects.bulk_create([Subscriber(token=f"user{n}") for n in range(people)])
    messages, total = _messages(draw, _senders(), people, readings)
    _send_all(messages, threads)
    told: dict[str, int] = {}
    for row in Told.objects.select_related("reporter"):
        told["counted"] = told.get("counted", 0) + row.upload + row.download
        control = row.control_upload + row.control_download
        told[row.reporter.grade] = told.get(row.reporter.grade, 0) + control
    usage = Usage.objects.aggregate(up=Sum("upload"), down=Sum("download"))
    assert told["counted"] == usage["up"] + usage["down"]
    assert told["measured"] == 0
    assert told["provider"] > 0
    assert told["reported"] > 0
    assert sum(told.values()) == total


@pytest.mark.django_db(transaction=True)
def test_many_senders_at_once_are_counted_or_kept_as_controls_to_the_byte() -> None:
    _prove(people=2, readings=4, threads=8)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_hundred_thousand_readings_of_many_senders_are_exact() -> None:
    """10 senders × 20 people × 5 servers × 100 readings, and 20,000 of them twice."""
    _prove(people=20, readings=100, threads=6)
