"""The same request twice at once, each over a connection of its own: it is done once."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from operations.api.authentication import create_api_key
from operations.models import AuditEntry
from tests.subscriptions.examples import subscriber
from traffic.models import Correction, Subscriber

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/xpert/subscribers"


def at_once(path: str, body: Any, key: str | None, times: int = 8) -> list[Any]:
    secret = create_api_key("shop", "manage")[1]
    headers = {"x-api-key": secret} | ({"idempotency-key": key} if key else {})

    def ask(_: int) -> Any:
        try:
            return Client().generic(
                "POST", path, json.dumps(body), content_type="application/json", headers=headers
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(ask, range(times)))


def test_a_sale_under_one_key_makes_one_subscriber() -> None:
    answers = at_once(URL, {"name": "Ann", "external_id": "order-1"}, "order-1")
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert Subscriber.objects.count() == AuditEntry.objects.count() == 1


def test_a_renewal_under_one_key_is_done_once() -> None:
    row = subscriber("ann-token-1", expires_at=timezone.now() + timedelta(days=2))
    answers = at_once(f"{URL}/{row.pk}/extend", {"days": 30}, "renewal-1")
    assert {answer.status_code for answer in answers} == {200}
    assert Subscriber.objects.get().expires_at == row.expires_at + timedelta(days=30)  # type: ignore[operator]


def test_a_bulk_under_one_key_is_done_once() -> None:
    row = subscriber("ann-token-1")
    body = {"action": "correct", "upload": 5, "reason": "x", "ids": [row.pk]}
    answers = at_once(f"{URL}/bulk", body, "bulk-1")
    assert {answer.status_code for answer in answers} == {200}
    assert Correction.objects.count() == 1


def test_one_external_id_is_given_once_though_there_is_no_key() -> None:
    answers = at_once(URL, {"external_id": "order-1"}, None)
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 7
    assert {name for answer in answers if answer.status_code == 400 for name in answer.json()} == {
        "external_id"
    }


def test_renewals_without_a_key_are_all_done() -> None:
    row = subscriber("ann-token-1", expires_at=timezone.now() + timedelta(days=2))
    at_once(f"{URL}/{row.pk}/extend", {"days": 1}, None)
    assert Subscriber.objects.get().expires_at == row.expires_at + timedelta(days=8)  # type: ignore[operator]
