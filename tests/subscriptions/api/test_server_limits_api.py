"""``/api/xpert/server-limits[/{id}[/restart]]``."""

import json
from typing import Any

import pytest
from django.test import Client
from model_bakery import baker

from operations.models import AuditEntry
from subscriptions.models import Node, Source
from tests.traffic.examples import a_report, stored, subscriber
from traffic.models import LimitedServer, Plan, ServerLimit, Subscriber

pytestmark = pytest.mark.django_db
LIMITS = "/api/xpert/server-limits"
GB = 10**9
ON_ONE = {"server": "VPN.Example.com", "port": 443, "protocol": "vless", "data_limit": GB}


def send(client: Client, method: str, path: str, body: Any, **headers: str) -> Any:
    return client.generic(
        method, path, json.dumps(body), content_type="application/json", headers=headers
    )


def added(client: Client, **body: Any) -> dict[str, Any]:
    answer = send(client, "POST", LIMITS, ON_ONE | body)
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_limit_on_a_server_counts_what_was_used_and_is_listed(manager: Client) -> None:
    stored(a_report(upload=1, download=GB))
    made = added(manager, limit_reset="monthly", reset_day=15, name="Cheap")
    assert made["servers"] == [{"server": "vpn.example.com", "port": 443, "protocol": "vless"}]
    assert (made["name"], made["scope"], made["source"]) == ("Cheap", "each", None)
    assert (made["used"], made["used_up_by"]) == (0, 0)  # a report of 2024 is of an old period
    assert manager.get(LIMITS).json() == [made] == [manager.get(f"{LIMITS}/{made['id']}").json()]


def test_a_limit_on_a_source_is_on_all_its_servers(manager: Client) -> None:
    source = baker.make(Source, name="Provider", url="https://lists.example.com/sub")
    for server in ("a.example.com", "b.example.com"):
        baker.make(Node, source=source, server=server, port=443, protocol="trojan")
    answer = send(
        manager, "POST", LIMITS, {"source": source.pk, "data_limit": GB, "scope": "together"}
    )
    made = answer.json()
    assert (made["name"], made["source"], made["scope"]) == ("Provider", source.pk, "together")
    assert [row["server"] for row in made["servers"]] == ["a.example.com", "b.example.com"]


def test_a_server_that_nobody_knows_yet_gives_its_address_as_name(manager: Client) -> None:
    assert added(manager)["name"] == "vpn.example.com:443 vless"


def test_a_limit_may_be_of_one_subscriber_or_of_a_plan(manager: Client) -> None:
    person, plan = baker.make(Subscriber, token="ann"), baker.make(Plan, name="Month")
    assert added(manager, subscriber=person.pk)["subscriber"] == person.pk
    assert added(manager, plan="Month")["plan"] == plan.name


def test_it_is_changed_restarted_and_deleted_and_the_trail_says_so(manager: Client) -> None:
    made = added(manager)
    one = f"{LIMITS}/{made['id']}"
    changed = send(manager, "PATCH", one, {"data_limit": 2 * GB, "limit_reset": "daily"}).json()
    assert (changed["data_limit"], changed["limit_reset"]) == (2 * GB, "daily")
    assert changed["resets_at"]
    assert send(manager, "POST", f"{one}/restart", {}).status_code == 200
    stored(a_report(user_token="ann"))
    person = subscriber("ann").pk
    assert send(manager, "POST", f"{one}/restart", {"subscriber": person}).status_code == 200
    assert manager.delete(one).status_code == 204
    assert manager.get(one).status_code == 404
    assert not LimitedServer.objects.exists()
    found = AuditEntry.objects.filter(target_kind="traffic.serverlimit").order_by("id")
    assert [row.action for row in found] == [
        "added",
        "changed",
        "period restarted",
        "period restarted",
        "deleted",
    ]


def test_a_repeated_request_adds_one_limit(manager: Client) -> None:
    first, again = (
        send(manager, "POST", LIMITS, ON_ONE, **{"Idempotency-Key": "k1"}) for _ in range(2)
    )
    assert first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true"
    assert ServerLimit.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"source": 1}, "source"),
        ({"source": True}, "source"),
        ({"source": 2**70}, "source"),
        ({"server": None}, "server"),
        ({"server": "bad host"}, "server"),
        ({"port": 0}, "port"),
        ({"port": "443"}, "port"),
        ({"protocol": ""}, "protocol"),
        ({"data_limit": 0}, "data_limit"),
        ({"data_limit": 2**60 + 1}, "data_limit"),
        ({"data_limit": 1.5}, "data_limit"),
        ({"limit_reset": "hourly"}, "limit_reset"),
        ({"reset_day": 32}, "reset_day"),
        ({"scope": "all"}, "scope"),
        ({"subscriber": 999}, "subscriber"),
        ({"plan": "None"}, "plan"),
        ({"plan": "Month", "scope": "together"}, "detail"),
        ({"used": 5}, "used"),
    ],
)
def test_a_bad_field_is_named_and_nothing_changes(
    manager: Client, body: dict[str, Any], field: str
) -> None:
    baker.make(Plan, name="Month")
    answer = send(manager, "POST", LIMITS, ON_ONE | body)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert not ServerLimit.objects.exists()


@pytest.mark.parametrize("missing", ["server", "port", "protocol"])
def test_a_place_must_be_whole(manager: Client, missing: str) -> None:
    body = {name: value for name, value in ON_ONE.items() if name != missing}
    assert "detail" in send(manager, "POST", LIMITS, body).json()


def test_a_source_and_a_server_are_not_one_place(manager: Client) -> None:
    source = baker.make(Source, url="https://lists.example.com/sub")
    answer = send(manager, "POST", LIMITS, ON_ONE | {"source": source.pk})
    assert (answer.status_code, list(answer.json())) == (400, ["detail"])


@pytest.mark.parametrize("field", ["scope", "subscriber", "plan", "source", "server"])
def test_where_and_whose_a_limit_is_stays(manager: Client, field: str) -> None:
    one = f"{LIMITS}/{added(manager)['id']}"
    answer = send(manager, "PATCH", one, {field: 1})
    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_a_key_of_scope_read_changes_nothing(manager: Client, reader: Client) -> None:
    one = f"{LIMITS}/{added(manager)['id']}"
    assert reader.get(one).status_code == 200
    assert send(reader, "PATCH", one, {"data_limit": 1}).status_code == 403
    assert send(reader, "POST", f"{one}/restart", {}).status_code == 403
    assert reader.delete(one).status_code == 403
