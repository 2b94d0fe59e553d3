"""Meter readings over HTTP: what a program sends, and what it is told."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from operations import extension
from operations.api.authentication import create_api_key
from operations.extension import Extension
from operations.models import ApiKey
from tests.traffic.examples import DAY, GB, HOUR, NOW, assert_sums_agree, balance
from tests.traffic.metering import METER_READINGS, row, send, send_packed
from traffic.models import (
    Meter,
    Reporter,
    Server,
    SetAside,
    Subscriber,
    Usage,
)
from traffic.readings import MAX_SOURCES, MAX_TOTAL
from traffic.reports import MAX_BATCH

pytestmark = pytest.mark.django_db
RUN = int((NOW - HOUR).timestamp())
ONCE = {"status": "success", "recorded": 1, "unchanged": 0, "stale": [], "rejected": []}
UNCHANGED = ONCE | {"recorded": 0, "unchanged": 1}


@pytest.fixture(autouse=True)
def _ann() -> Any:
    Subscriber.objects.create(token="ann", name="Ann")
    with time_machine.travel(NOW, tick=False):
        yield
    assert_sums_agree()


def used(token: str = "ann") -> tuple[int, int, int]:
    found = balance(token)
    return found.life_upload, found.life_download, found.life_reports


def stale(run: int, up: int, down: int) -> dict[str, Any]:
    return {"index": 0, "run": run, "total_uploaded": up, "total_downloaded": down}


# --- totals and growth ---------------------------------------------------------


def test_a_first_reading_counts_whole(reporter: Client) -> None:
    answer = send(reporter, row(), run=RUN)
    assert (answer.status_code, answer.json()) == (200, ONCE)
    assert used() == (100, 1000, 1)


def test_of_the_next_reading_the_growth_counts(reporter: Client) -> None:
    send(reporter, row(100, 1000), run=RUN)
    assert send(reporter, row(101, 1500), run=RUN).json() == ONCE
    assert used() == (101, 1500, 2)


def test_a_repeat_is_unchanged_and_counts_nothing(reporter: Client) -> None:
    for expected in (ONCE, UNCHANGED, UNCHANGED):
        assert send(reporter, row(), run=RUN).json() == expected
    assert used() == (100, 1000, 1)


@pytest.mark.parametrize("smaller", [(99, 1000), (100, 999), (99, 2000), (0, 0)])
def test_smaller_totals_of_the_same_run_are_stale_and_count_nothing(
    reporter: Client, smaller: tuple[int, int]
) -> None:
    send(reporter, row(100, 1000), run=RUN)
    answer = send(reporter, row(*smaller), run=RUN).json()
    assert answer == ONCE | {"recorded": 0, "stale": [stale(RUN, 100, 1000)]}
    assert used() == (100, 1000, 1)


def test_a_newer_run_counts_whole(reporter: Client) -> None:
    send(reporter, row(100, 1000), run=RUN)
    assert send(reporter, row(50, 2000), run=RUN + 1).json() == ONCE
    assert used() == (150, 3000, 2)


def test_an_older_run_is_stale_whatever_its_totals(reporter: Client) -> None:
    send(reporter, row(100, 1000), run=RUN)
    answer = send(reporter, row(500, 5000), run=RUN - 1).json()
    assert answer["stale"] == [stale(RUN, 100, 1000)]
    assert used() == (100, 1000, 1)


def test_a_message_with_nothing_but_stale_rows_is_no_error(reporter: Client) -> None:
    send(reporter, row(), run=RUN)
    assert send(reporter, row(1, 1), run=RUN).status_code == 200


def test_rows_of_one_key_are_taken_in_their_order(reporter: Client) -> None:
    answer = send(reporter, row(10, 10), row(30, 30), row(20, 20), row(30, 30), run=RUN).json()
    assert (answer["recorded"], answer["unchanged"]) == (2, 1)
    assert answer["stale"] == [stale(RUN, 30, 30) | {"index": 2}]
    assert used() == (30, 30, 2)


def test_nothing_that_grew_is_no_report(reporter: Client) -> None:
    assert send(reporter, row(0, 0), run=RUN).json() == UNCHANGED
    assert not Usage.objects.exists()
    assert send(reporter, row(1, 0), run=RUN).json() == ONCE


@pytest.mark.parametrize("other", [{"port": 444}, {"protocol": "trojan"}, {"server": "b.example"}])
def test_servers_have_totals_of_their_own(reporter: Client, other: dict[str, Any]) -> None:
    assert send(reporter, row(), row(**other), run=RUN).json()["recorded"] == 2


def test_growth_is_booked_in_the_hour_in_which_it_was_read(reporter: Client) -> None:
    yesterday = NOW - DAY
    send(reporter, row(timestamp=yesterday.timestamp()), run=RUN - 86_400 * 2)
    send(reporter, row(110, 1000, timestamp=NOW.isoformat()), run=RUN - 86_400 * 2)
    found = Usage.objects.order_by("hour").values_list("hour", "upload")
    assert [(hour.day, up) for hour, up in found] == [(9, 100), (10, 10)]


def test_a_baseline_remembers_totals_and_counts_nothing(reporter: Client) -> None:
    assert send(reporter, row(100, 1000), run=RUN, baseline=True).json() == UNCHANGED
    assert not Usage.objects.exists()
    assert send(reporter, row(101, 1000), run=RUN).json() == ONCE
    assert used() == (1, 0, 1)


def test_a_baseline_skips_what_has_grown_since_the_last_reading(reporter: Client) -> None:
    send(reporter, row(100, 1000), run=RUN)
    send(reporter, row(200, 2000), run=RUN, baseline=True)
    send(reporter, row(201, 2000), run=RUN)
    assert used() == (101, 1000, 2)


def test_a_baseline_never_goes_back(reporter: Client) -> None:
    send(reporter, row(100, 1000), run=RUN)
    answer = send(reporter, row(50, 50), run=RUN, baseline=True).json()
    assert answer["stale"] == [stale(RUN, 100, 1000)]
    send(reporter, row(100, 1000), run=RUN)
    assert used() == (100, 1000, 1)


def test_an_unchanged_row_is_written_once_an_hour(reporter: Client) -> None:
    send(reporter, row(), run=RUN)
    with time_machine.travel(NOW + HOUR - timedelta(seconds=1), tick=False):
        send(reporter, row(), run=RUN)
    assert Meter.objects.get().read_at == NOW.replace(microsecond=0)
    with time_machine.travel(NOW + HOUR, tick=False):
        send(reporter, row(), run=RUN)
    assert Meter.objects.get().read_at == NOW + HOUR


# --- whose meter it is -----------------------------------------------------------


def test_a_key_has_meters_of_its_own(reporter: Client, manager: Client) -> None:
    for client in (Client(), reporter, manager):
        assert send(client, row(), run=RUN).json() == ONCE
    assert used() == (300, 3000, 3)


def test_the_meters_of_a_key_are_told_apart_by_name(reporter: Client) -> None:
    for meter in ("a", "b", "A"):
        assert send(reporter, row(), run=RUN, meter=meter).json() == ONCE


def test_people_without_a_key_have_meters_of_their_own() -> None:
    Subscriber.objects.create(token="bob")
    answer = send(Client(), row(), row(user_token="bob"), run=RUN)
    assert answer.json()["recorded"] == 2
    assert Reporter.objects.filter(subscriber__token="bob", grade="reported").count() == 1


def test_a_replaced_key_keeps_its_meters(reporter: Client) -> None:
    send(reporter, row(), run=RUN)
    _, secret = create_api_key("other", "report")
    other = ApiKey.objects.get(name="other")
    hashed, other.hash = other.hash, "gone"
    other.save()
    ApiKey.objects.filter(name="reporter").update(hash=hashed)
    again = Client(headers={"x-api-key": secret})
    assert send(again, row(), run=RUN).json() == UNCHANGED


def test_a_person_has_a_bounded_number_of_meters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traffic.ledger.reporters.MAX_METERS_OF_A_PERSON", 2)
    statuses = [send(Client(), row(), run=RUN, meter=f"m{n}").status_code for n in range(3)]
    assert statuses == [200, 200, 400]
    assert send(Client(), row(200, 2000), run=RUN, meter="m0").json() == ONCE


# --- who may -------------------------------------------------------------------


def test_an_unknown_token_is_rejected(reporter: Client) -> None:
    for client in (reporter, Client()):
        answer = send(client, row(), row(user_token="nobody"), run=RUN, meter="x")
        assert answer.status_code == 200
        assert answer.json()["rejected"] == [
            {"index": 1, "errors": {"user_token": ["This token is unknown."]}}
        ]
    assert not Subscriber.objects.filter(token="nobody").exists()


def test_with_open_access_an_unknown_token_becomes_a_subscriber(
    open_access: None, local: Client
) -> None:
    assert send(local, row(user_token="new"), run=RUN).json() == ONCE
    assert used("new") == (100, 1000, 1)


def test_a_key_to_read_may_not_send(reader: Client) -> None:
    assert send(reader, row(), run=RUN).status_code == 403


def test_where_reports_need_a_key_readings_need_one_too(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_REPORTS_NEED_KEY = True
    assert send(Client(), row(), run=RUN).status_code == 401
    assert send(reporter, row(), run=RUN).status_code == 200


def test_while_tracking_is_off_nothing_is_taken(settings: Settings, reporter: Client) -> None:
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    answer = send(reporter, row(), run=RUN)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert not Meter.objects.exists()


def test_a_message_with_a_key_is_one_request_however_many_people_it_holds(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_RATE_REPORTS = "2/day"
    for name in ("bob", "carl"):
        Subscriber.objects.create(token=name)
    rows = [row(user_token=token) for token in ("ann", "bob", "carl")]
    assert [send(reporter, *rows, run=RUN).status_code for _ in range(3)] == [200, 200, 429]


def test_a_message_without_a_key_is_one_request_of_each_distinct_token(
    settings: Settings,
) -> None:
    settings.XPERT_RATE_REPORTS = "2/day"
    Subscriber.objects.create(token="bob")
    assert send(Client(), row(), row(), row(user_token="bob"), run=RUN).status_code == 200
    assert send(Client(), row(), run=RUN).status_code == 200
    assert send(Client(), row(), row(user_token="bob"), run=RUN).status_code == 429
    assert send(Client(), row(user_token="bob"), run=RUN).status_code == 200


# --- the message -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"meter": ""}, "meter"), ({"meter": "a b"}, "meter"), ({"meter": "m" * 65}, "meter"), ({"meter": 5}, "meter"),
        ({"run": 1.5}, "run"), ({"run": "1"}, "run"), ({"run": True}, "run"), ({"run": -1}, "run"),
        ({"run": int(NOW.timestamp()) + 301}, "run"), ({"readings": {}}, "readings"), ({"readings": None}, "readings"),
        ({"run": "\ud83d"}, "run"), ({"run": "1", "note": "\ud83d"}, "run"),
        ({"baseline": 1}, "baseline"), ({"sources": [{}]}, "sources"), ({"sources": 1}, "sources"),
        ({"sources": [{"name": "x"}] * (MAX_SOURCES + 1)}, "sources"),
    ],
)  # fmt: skip
def test_what_is_wrong_beside_the_rows_is_400_naming_the_field(
    reporter: Client, fields: dict[str, Any], field: str
) -> None:
    body = {"meter": "gateway-1", "run": RUN, "readings": [row()]} | fields
    answer = reporter.post(METER_READINGS, body, content_type="application/json")
    assert (answer.status_code, list(answer.json())) == (400, [field])
    assert not Meter.objects.exists()


def test_a_run_may_be_five_minutes_ahead(reporter: Client) -> None:
    assert send(reporter, row(), run=int(NOW.timestamp()) + 300).json() == ONCE


@pytest.mark.parametrize("field", ["meter", "run", "readings"])
def test_meter_run_and_readings_are_required(reporter: Client, field: str) -> None:
    body = {"meter": "gateway-1", "run": RUN, "readings": []}
    del body[field]
    answer = reporter.post(METER_READINGS, body, content_type="application/json")
    assert answer.json() == {field: ["This field is required."]}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"total_uploaded": -1}, "total_uploaded"), ({"total_uploaded": MAX_TOTAL + 1}, "total_uploaded"),
        ({"total_downloaded": 1.5}, "total_downloaded"), ({"total_downloaded": None}, "total_downloaded"),
        ({"total_downloaded": "5"}, "total_downloaded"), ({"total_downloaded": True}, "total_downloaded"),
        ({"port": 0}, "port"), ({"server": "?"}, "server"), ({"protocol": ""}, "protocol"),
        ({"user_token": "global"}, "user_token"), ({"user_token": None}, "user_token"),
        ({"timestamp": NOW.timestamp() + 301}, "timestamp"),
        ({"timestamp": (NOW - 32 * DAY).timestamp()}, "timestamp"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_and_the_others_count(
    reporter: Client, fields: dict[str, Any], field: str
) -> None:
    answer = send(reporter, row() | fields, row(), run=RUN).json()
    assert answer["recorded"] == 1
    assert [(bad["index"], list(bad["errors"])) for bad in answer["rejected"]] == [(0, [field])]


def test_all_rows_rejected_is_400(reporter: Client) -> None:
    answer = send(reporter, row(port=0), row(user_token="nobody"), run=RUN)
    assert answer.status_code == 400
    assert [bad["index"] for bad in answer.json()["rejected"]] == [0, 1]


def test_the_largest_total_counts(reporter: Client, settings: Settings) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 0
    assert send(reporter, row(MAX_TOTAL, 0), run=RUN).json() == ONCE
    assert used()[0] == MAX_TOTAL


def test_a_message_holds_ten_thousand_rows_and_no_more(reporter: Client) -> None:
    assert send(reporter, *[row(n, n) for n in range(MAX_BATCH)], run=RUN).status_code == 200
    assert used()[:2] == (MAX_BATCH - 1, MAX_BATCH - 1)
    answer = send(reporter, *[row()] * (MAX_BATCH + 1), run=RUN)
    assert (answer.status_code, list(answer.json())) == (400, ["readings"])


def test_gzip_is_understood(reporter: Client) -> None:
    assert send_packed(reporter, row(), run=RUN).json() == ONCE


def test_what_is_no_json_is_400(reporter: Client) -> None:
    for body in ("{", "[]", "5", ""):
        answer = reporter.post(METER_READINGS, body, content_type="application/json")
        assert (answer.status_code, list(answer.json())) == (400, ["detail"])


def test_both_slashes_are_answered(reporter: Client) -> None:
    body = {"meter": "m", "run": RUN, "readings": [row()]}
    for url in (METER_READINGS, f"{METER_READINGS}/"):
        assert reporter.post(url, body, content_type="application/json").status_code == 200


# --- reporters ---------------------------------------------------------------------


def test_an_empty_message_of_a_key_is_a_sign_of_life(reporter: Client) -> None:
    assert send(reporter, run=RUN).json() == ONCE | {"recorded": 0}
    found = Reporter.objects.get()
    assert (found.meter, found.grade, found.last_seen_at) == ("gateway-1", "provider", NOW)


def test_an_empty_message_of_nobody_leaves_nothing() -> None:
    assert send(Client(), run=RUN).status_code == 200
    assert not Reporter.objects.exists()


def test_a_sighting_is_written_every_five_minutes_at_most(reporter: Client) -> None:
    send(reporter, run=RUN)
    for seconds, seen in ((299, 0), (300, 300), (599, 300), (900, 900)):
        with time_machine.travel(NOW + timedelta(seconds=seconds), tick=False):
            send(reporter, run=RUN)
        assert Reporter.objects.get().last_seen_at == NOW + timedelta(seconds=seen)


def test_the_expected_interval_is_learnt(reporter: Client) -> None:
    for hours, expected in ((0, None), (1, 3600), (2, 3600), (4, 4500)):
        with time_machine.travel(NOW + hours * HOUR, tick=False):
            send(reporter, run=RUN)
        assert Reporter.objects.get().interval == expected


def test_what_a_program_says_of_its_sources_is_kept(reporter: Client) -> None:
    source = {"name": "xray", "kind": "xray", "ok": False, "read_at": RUN, "error": "refused"}
    send(reporter, run=RUN, sources=[source])
    del source["read_at"]
    assert Reporter.objects.get().sources == [source]
    send(reporter, run=RUN)
    assert Reporter.objects.get().sources == [source]
    send(reporter, run=RUN, sources=[{"name": "x" * 100, "error": "e" * 1000}])
    (kept,) = Reporter.objects.get().sources
    assert (len(kept["name"]), len(kept["error"]), kept["ok"]) == (64, 300, True)


# --- plausible amounts ---------------------------------------------------------------


def test_growth_up_to_the_limit_counts_and_beyond_it_is_set_aside(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 2
    assert send(reporter, row(GB, GB), run=RUN).json() == ONCE
    answer = send(reporter, row(2 * GB, 2 * GB + 1), row(server="b.example"), run=RUN).json()
    assert (answer["recorded"], list(answer["rejected"][0]["errors"])) == (1, ["detail"])
    assert used() == (GB + 100, GB + 1000, 2)
    kept = SetAside.objects.get()
    assert (kept.upload, kept.download, kept.decision) == (GB, GB + 1, "")


def test_what_was_set_aside_is_answered_once_and_the_row_goes_on(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    assert send(reporter, row(GB, GB), run=RUN).status_code == 400
    assert send(reporter, row(GB, GB), run=RUN).json() == UNCHANGED
    assert send(reporter, row(GB + 1, GB), run=RUN).json() == ONCE
    assert used() == (1, 0, 1)


def test_what_is_plausible_grows_with_the_hours_since_the_last_reading(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    send(reporter, row(0, GB), run=RUN)
    with time_machine.travel(NOW + 3 * HOUR, tick=False):
        assert send(reporter, row(0, 4 * GB), run=RUN).json() == ONCE
        assert send(reporter, row(0, 5 * GB + 1), run=RUN).status_code == 400


def test_a_first_reading_may_hold_all_hours_since_its_run_began(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    assert send(reporter, row(0, 2 * GB), run=RUN - 3600).json() == ONCE
    bob = {"server": "b.example"}
    assert send(reporter, row(0, 2 * GB + 1, **bob), run=RUN - 3600).status_code == 400


def test_several_amounts_set_aside_are_one_until_they_are_decided(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 1
    for total in (2, 4, 6):
        send(reporter, row(0, total * GB), run=RUN)
    assert SetAside.objects.get().download == 6 * GB


def test_with_the_limit_off_everything_is_plausible(settings: Settings, reporter: Client) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 0
    assert send(reporter, row(2**59, 2**59), run=RUN).json() == ONCE


def test_growth_that_has_no_room_in_the_life_is_set_aside(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 0
    send(reporter, row(MAX_TOTAL, 0), run=RUN)
    answer = send(reporter, row(7, 0), row(0, 5, server="b.example"), run=RUN + 1)
    assert answer.json()["recorded"] == 1
    assert SetAside.objects.get().upload == 7
    assert send(reporter, row(7, 0), run=RUN + 1).json() == UNCHANGED


def test_without_a_key_new_servers_are_limited(settings: Settings, reporter: Client) -> None:
    settings.XPERT_NEW_SERVERS = "2/day"
    Server.objects.create(host="known.example", port=443, protocol="vless")
    rows = [row(server=f"s{n}.example") for n in range(3)] + [row(server="known.example")]
    answer = send(Client(), *rows, run=RUN).json()
    assert (answer["recorded"], [bad["index"] for bad in answer["rejected"]]) == (3, [2])
    assert Server.objects.count() == 3
    assert send(reporter, *rows, run=RUN).json()["recorded"] == 4


def test_what_was_refused_for_its_server_counts_when_it_is_known(
    settings: Settings, reporter: Client
) -> None:
    settings.XPERT_NEW_SERVERS = "1/day"
    send(Client(), row(server="a.example"), row(), run=RUN)
    Server.objects.create(host="vpn.example.com", port=443, protocol="vless")
    assert send(Client(), row(), run=RUN).json() == ONCE


# --- tokens of linked panels ---------------------------------------------------------


@pytest.fixture
def _linked() -> Any:
    """Tokens that begin with ``panel-`` are a linked panel's, which mints a new one for Ann every time."""
    names = Extension(
        name="linked", own_token=lambda token: "ann" if token.startswith("panel-") else None
    )
    extension.register(names)
    yield
    del extension._registered["linked"]


@pytest.mark.usefixtures("_linked")
def test_all_tokens_of_a_linked_panel_for_one_person_are_one_meter() -> None:
    assert send(Client(), row(user_token="panel-1"), run=RUN).json() == ONCE
    assert send(Client(), row(150, 1000, user_token="panel-2"), run=RUN).json() == ONCE
    assert send(Client(), row(150, 1000), run=RUN).json() == UNCHANGED
    assert used() == (150, 1000, 2)


@pytest.mark.usefixtures("_linked")
def test_people_who_are_named_are_not_looked_up_at_a_linked_panel(reporter: Client) -> None:
    rows = row(person="Ann"), row(user_token="panel-1", port=8443)
    assert send(reporter, *rows, run=RUN).json()["recorded"] == 2
