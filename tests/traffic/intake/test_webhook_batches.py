import gzip
import json
from typing import Any

import pytest
import time_machine
from django.test import Client
from model_bakery import baker
from pytest_django import Settings

from tests.traffic.examples import NOW, WEBHOOK, a_report, assert_sums_agree, balance, stored, wire
from traffic.models import MAX_COUNTER, ReceivedEvent, Subscriber, Usage

pytestmark = pytest.mark.django_db
MESSAGE = {"status": "success", "message": "Traffic recorded successfully"}


@pytest.fixture(autouse=True)
def _known() -> None:
    for token in ("user123", "bob"):
        baker.make(Subscriber, token=token)


def post(body: Any, **headers: str) -> Any:
    return Client().post(WEBHOOK, body, content_type="application/json", headers=headers)


@pytest.mark.parametrize(
    "envelope",
    [list, lambda reports: {"reports": reports}, lambda reports: {"reports": reports, "x": 1}],
)
def test_an_array_or_an_envelope_is_a_batch(envelope: Any) -> None:
    response = post(envelope([wire(), wire(user_token="bob"), wire()]))
    assert response.status_code == 200
    assert response.json() == MESSAGE | {"recorded": 3, "duplicates": 0, "rejected": []}
    assert (balance().life_reports, balance("bob").life_reports) == (2, 1)


def test_a_batch_of_one_is_answered_as_a_batch() -> None:
    assert post([wire()]).json() == MESSAGE | {"recorded": 1, "duplicates": 0, "rejected": []}


def test_good_reports_are_recorded_though_others_are_bad() -> None:
    reports: list[Any] = [wire() for _ in range(100)]
    reports[7] = wire(port=0)
    reports[20]["event_id"] = reports[60]["event_id"] = "x"
    found = post({"reports": reports}).json()
    assert (found["recorded"], found["duplicates"]) == (98, 1)
    assert found["rejected"] == [
        {"index": 7, "errors": {"port": ["Expected a whole number from 1 to 65535."]}}
    ]
    assert balance().life_reports == 98


def test_every_kind_of_refusal_is_listed_in_order() -> None:
    reports = [
        wire(user_token="nobody"),
        wire(),
        5,
        wire(port="x"),
        {},
        wire(user_token="global"),
        None,
    ]
    found = post(reports).json()
    assert found["recorded"] == 1
    assert [(entry["index"], list(entry["errors"])) for entry in found["rejected"]] == [
        (0, ["user_token"]), (2, ["detail"]), (3, ["port"]), (4, ["user_token"]), (5, ["user_token"]), (6, ["detail"]),
    ]  # fmt: skip
    assert all(
        isinstance(sentences, list)
        for entry in found["rejected"]
        for sentences in entry["errors"].values()
    )


@pytest.mark.parametrize("bad", [{"port": 0}, {"user_token": "nobody"}])
def test_when_none_was_good_the_batch_is_refused_with_all_reasons(bad: dict[str, Any]) -> None:
    response = post([wire(**bad), wire(**bad)])
    assert response.status_code == 400
    assert [entry["index"] for entry in response.json()["rejected"]] == [0, 1]
    assert not Usage.objects.exists()


def test_duplicates_are_good_reports() -> None:
    post(wire(event_id="x"))
    response = post([wire(event_id="x"), wire(port=0)])
    assert response.status_code == 200
    assert (response.json()["recorded"], response.json()["duplicates"]) == (0, 1)


def test_of_two_equal_ids_in_one_batch_the_first_counts() -> None:
    found = post(
        [wire(event_id="x", bytes_uploaded=1), wire(event_id="x", bytes_uploaded=10)]
    ).json()
    assert (found["recorded"], found["duplicates"]) == (1, 1)
    assert balance().life_upload == 1


def test_of_two_equal_ids_the_first_good_one_counts() -> None:
    found = post([wire(event_id="x", port=0), wire(event_id="x", bytes_uploaded=10)]).json()
    assert (found["recorded"], found["duplicates"], len(found["rejected"])) == (1, 0, 1)
    assert balance().life_upload == 10


def test_one_id_of_two_subscribers_is_two_events() -> None:
    found = post([wire(event_id="x"), wire(user_token="bob", event_id="x")]).json()
    assert (found["recorded"], found["duplicates"]) == (2, 0)


def test_a_resent_batch_counts_nothing_twice() -> None:
    batch = [wire(event_id=str(number)) for number in range(50)]
    assert post(batch).json()["recorded"] == 50
    assert post(batch[::-1]).json() == MESSAGE | {"recorded": 0, "duplicates": 50, "rejected": []}
    assert balance().life_reports == 50


@time_machine.travel(NOW, tick=False)
def test_what_would_pass_a_bound_is_refused_and_the_rest_is_recorded(settings: Settings) -> None:
    settings.XPERT_MAX_GB_PER_HOUR = 0
    stored(a_report(upload=MAX_COUNTER - 10))
    found = post(
        [wire(bytes_uploaded=11, event_id="x"), wire(bytes_uploaded=10), wire(bytes_uploaded=1)]
    ).json()
    assert (found["recorded"], [entry["index"] for entry in found["rejected"]]) == (1, [0, 2])
    assert "2^60" in found["rejected"][0]["errors"]["detail"][0]
    assert not ReceivedEvent.objects.exists()
    assert_sums_agree()


@pytest.mark.parametrize(
    "body",
    [[], {"reports": []}, {"reports": None}, {"reports": {}}, {"reports": "x"}, {"reports": [[]]}],
)
def test_a_batch_holds_at_least_one_report(body: object) -> None:
    assert post(body).status_code == 400
    assert not Usage.objects.exists()


def test_ten_thousand_reports_are_taken_and_one_more_is_refused() -> None:
    many = [
        wire(user_token=("user123", "bob")[number % 2], port=1 + number % 50)
        for number in range(10_000)
    ]
    assert post(many).json() == MESSAGE | {"recorded": 10_000, "duplicates": 0, "rejected": []}
    assert balance().life_reports == 5000
    response = post({"reports": [*many, wire()]})
    assert (response.status_code, list(response.json())) == (400, ["reports"])
    assert balance().life_reports == 5000
    assert_sums_agree()


def test_a_packed_batch_is_unpacked() -> None:
    packed = gzip.compress(json.dumps([wire()] * 500).encode())
    response = Client().post(
        WEBHOOK, packed, content_type="application/json", headers={"content-encoding": "gzip"}
    )
    assert response.json()["recorded"] == 500
