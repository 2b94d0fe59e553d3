"""The operator's pages about limits on servers."""

import html
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from operations.audit import By
from operations.models import AuditEntry
from subscriptions.sources import limited_places
from tests.subscriptions.examples import A, B, direct, source, stored, subscriber, use
from traffic.models import LimitBalance, ServerLimit
from traffic.people import server_limits

pytestmark = pytest.mark.django_db
LIST = "/admin/traffic/serverlimit/"
BERLIN = ("vpn.example.com", 443, "vless")


def a_limit(**fields: Any) -> ServerLimit:
    limit = ServerLimit(**{"name": "Berlin", "data_limit": 1000} | fields)
    server_limits.add(limit, [BERLIN], By("ada", timezone.now()))
    return limit


def form(**fields: Any) -> dict[str, Any]:
    return {
        "place": "server a.example 1 trojan",
        "scope": "each",
        "data_limit": "50 GB",
        "limit_reset": "monthly",
        "reset_day": "",
        "reset_days": "",
    } | fields


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def test_a_limit_on_one_server_is_named_after_it(admin_client: Client) -> None:
    direct(A, B)
    assert admin_client.post(f"{LIST}add/", form()).status_code == 302
    limit = ServerLimit.objects.get()
    assert (limit.name, limit.data_limit, limit.origin) == ("A", 50 * 2**30, "")
    assert [str(server) for server in limit.servers.all()] == ["a.example:1 trojan"]
    entries = AuditEntry.objects.filter(target_kind="traffic.serverlimit")
    assert list(entries.values_list("action", "target_name")) == [("added", "A")]


def test_a_limit_on_a_source_has_all_its_servers(admin_client: Client) -> None:
    it = source("provider")
    stored(it, A, B)
    place = limited_places.origin_of(it)
    assert admin_client.post(f"{LIST}add/", form(place=place)).status_code == 302
    limit = ServerLimit.objects.get()
    assert (limit.name, limit.origin, limit.servers.count()) == ("provider", place, 2)
    assert "provider" in page(admin_client, f"{LIST}{limit.pk}/change/")


@pytest.mark.parametrize(
    "wrong", [{"data_limit": ""}, {"data_limit": "5"}, {"place": "server x 1 y"}, {"place": ""}]
)
def test_a_wrong_limit_is_refused(admin_client: Client, wrong: dict[str, Any]) -> None:
    direct(A)
    assert admin_client.post(f"{LIST}add/", form(**wrong)).status_code == 200
    assert not ServerLimit.objects.exists()


def test_a_limit_of_all_together_is_of_nobody_alone(admin_client: Client) -> None:
    direct(A)
    who = subscriber()
    answer = admin_client.post(f"{LIST}add/", form(scope="together", subscriber=who.pk))
    assert "Choose a subscriber or a plan" in answer.content.decode()
    assert not ServerLimit.objects.exists()


def test_a_change_is_noted_once_with_its_values(admin_client: Client) -> None:
    limit = a_limit()
    changed = {"name": "Berlin", "data_limit": "2000 B", "limit_reset": "never"}
    assert admin_client.post(f"{LIST}{limit.pk}/change/", changed).status_code == 302
    entry = AuditEntry.objects.exclude(action="added").get()
    assert (entry.action, entry.changes) == ("changed", {"data_limit": [1000, 2000]})


def test_the_list_shows_how_far_each_is_used(admin_client: Client) -> None:
    who = subscriber(name="Ann")
    limit = a_limit()
    use(who, 250, 0)
    assert "25 %" in page(admin_client, LIST)
    shown = page(admin_client, f"{LIST}{limit.pk}/change/")
    assert "Ann" in shown
    assert "25 %" in shown


def test_the_page_of_a_subscriber_shows_the_limits(admin_client: Client) -> None:
    who = subscriber(name="Ann")
    a_limit()
    use(who, 250, 0)
    shown = page(admin_client, f"/admin/traffic/subscriber/{who.pk}/usage/")
    assert "Limits on servers" in shown
    assert "25 %" in shown


def test_a_period_is_restarted_for_one_subscriber_or_for_all(admin_client: Client) -> None:
    ann, bob = subscriber("ann"), subscriber("bob")
    limit = a_limit()
    for who in (ann, bob):
        use(who, 250, 0)
    path = f"{LIST}{limit.pk}/restart/"
    assert "Restart the period" in page(admin_client, path)

    def used() -> list[int]:
        rows = LimitBalance.objects.order_by("subscriber_id")
        return list(rows.values_list("period_upload", flat=True))

    assert admin_client.post(f"{path}?subscriber={ann.pk}").status_code == 302
    assert used() == [0, 250]
    assert admin_client.post(path).status_code == 302
    assert used() == [0, 0]
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["added", "period restarted", "period restarted"]


def test_a_limit_is_deleted_with_its_counters(admin_client: Client) -> None:
    who = subscriber()
    limit = a_limit()
    use(who, 250, 0)
    assert admin_client.post(f"{LIST}{limit.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not ServerLimit.objects.exists()
    assert not LimitBalance.objects.exists()


def test_the_list_asks_little_for_each_limit(admin_client: Client) -> None:
    a_limit()
    admin_client.get(LIST)
    with CaptureQueriesContext(connection) as few:
        admin_client.get(LIST)
    for number in range(10):
        a_limit(name=f"Limit {number}")
    with CaptureQueriesContext(connection) as many:
        admin_client.get(LIST)
    assert len(many) <= len(few)
