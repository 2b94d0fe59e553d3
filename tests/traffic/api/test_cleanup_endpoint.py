import json
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from tests.traffic.examples import DAY, NOW, STATISTICS, a_report, balance, stored
from traffic.models import Usage

pytestmark = pytest.mark.django_db
URL = f"{STATISTICS}/cleanup"
NOTHING = {
    "status": "skipped",
    "reason": "retention disabled",
    "deleted_rows": 0,
    "cleanup_days": 0,
}


@pytest.fixture(autouse=True)
def _ages() -> None:
    """Records of today, and of 10, 30 and 100 days ago."""
    stored(*[a_report(NOW - age * DAY) for age in (0, 10, 30, 100)])


def post(client: Client, query: str = "", body: Any = None, url: str = URL) -> Any:
    with time_machine.travel(NOW, tick=False):
        if body is None:
            return client.generic("POST", url + query)
        content = body if isinstance(body, str) else json.dumps(body)
        return client.generic("POST", url + query, content, content_type="application/json")


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
def test_it_answers_the_guide_word_for_word(manager: Client, url: str) -> None:
    response = post(manager, "?days=90", url=url)
    assert response.json() == {"status": "success", "deleted_rows": 1, "cleanup_days": 90}
    assert Usage.objects.count() == 3


@pytest.mark.parametrize(
    ("days", "deleted"), [(3650, 0), (101, 0), (99, 1), (20, 2), (5, 3), (1, 3)]
)
def test_days_come_from_the_query_or_from_the_body(
    manager: Client, days: int, deleted: int
) -> None:
    expected = {"status": "success", "deleted_rows": deleted, "cleanup_days": days}
    assert post(manager, "", {"days": days}).json() == expected
    assert post(manager, f"?days={days}").json() == expected | {"deleted_rows": 0}


def test_zero_given_explicitly_deletes_every_record(manager: Client) -> None:
    for query, body in (("?days=0", None), ("", {"days": 0})):
        stored(a_report())
        assert post(manager, query, body).json()["cleanup_days"] == 0
        assert not Usage.objects.exists()
    assert balance().life_reports == 6


@pytest.mark.parametrize("body", [None, "{}", '{"other": 5}'])
def test_absent_days_are_the_retention(
    manager: Client, settings: Settings, body: str | None
) -> None:
    settings.XPERT_TRAFFIC_RETENTION_DAYS = 20
    assert post(manager, "", body).json() == {
        "status": "success",
        "deleted_rows": 2,
        "cleanup_days": 20,
    }


@pytest.mark.parametrize("body", [None, "{}"])
def test_without_a_retention_nothing_is_deleted(manager: Client, body: str | None) -> None:
    assert post(manager, "", body).json() == NOTHING
    assert Usage.objects.count() == 4


def test_the_query_takes_precedence_over_the_body(manager: Client) -> None:
    assert post(manager, "?days=99", {"days": 1}).json()["deleted_rows"] == 1


@pytest.mark.parametrize(
    "query",
    ["?days=-1", "?days=3651", "?days=", "?days=x", "?days=1.5", "?days=1&days=x", "?days=%00"],
)
def test_bad_days_in_the_query_are_400_naming_the_field(manager: Client, query: str) -> None:
    response = post(manager, query)
    assert (response.status_code, list(response.json())) == (400, ["days"])
    assert Usage.objects.count() == 4


@pytest.mark.parametrize(
    "days", [-1, 3651, "x", "", None, True, False, 90.0, 1.5, [], {}, [90], 10**30]
)
def test_bad_days_in_the_body_are_400_naming_the_field(manager: Client, days: object) -> None:
    response = post(manager, "", {"days": days})
    assert (response.status_code, list(response.json())) == (400, ["days"])
    assert Usage.objects.count() == 4


@pytest.mark.parametrize(
    "body", ["[]", "null", "5", '"x"', "{", "days=90", "\x00", '{"days": NaN}', "[" * 5000]
)
@pytest.mark.parametrize("query", ["", "?days=90"])
def test_a_body_that_is_not_an_object_is_400(manager: Client, body: str, query: str) -> None:
    response = post(manager, query, body)
    assert (response.status_code, list(response.json())) == (400, ["detail"])
    assert Usage.objects.count() == 4


def test_an_empty_form_counts_as_no_body(manager: Client) -> None:
    kind = "application/x-www-form-urlencoded"
    with time_machine.travel(NOW, tick=False):
        assert (
            manager.generic("POST", f"{URL}?days=99", "", content_type=kind).json()["deleted_rows"]
            == 1
        )
        assert manager.generic("POST", URL, "days=0", content_type=kind).status_code == 415
    assert Usage.objects.count() == 3


def test_a_body_of_64_kib_is_taken_and_one_byte_more_is_not(manager: Client) -> None:
    body = '{"days": 99}'
    assert post(manager, "", body.ljust(64 * 1024)).json()["deleted_rows"] == 1
    assert post(manager, "", body.ljust(64 * 1024 + 1)).status_code == 413


def test_it_works_while_tracking_is_off(manager: Client, settings: Settings) -> None:
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    assert post(manager, "?days=90").json()["deleted_rows"] == 1
