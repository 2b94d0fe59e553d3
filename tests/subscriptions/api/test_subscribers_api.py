"""``/api/xpert/subscribers``: what shops and bots live on."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from operations.api.authentication import create_api_key
from operations.audit import By
from operations.models import AuditEntry, IdempotentRequest
from subscriptions.models import Group
from tests.subscriptions.examples import subscriber, use
from traffic.models import Balance, Correction, Plan, Subscriber
from traffic.people import changes

pytestmark = pytest.mark.django_db

URL = "/api/xpert/subscribers"
BULK = f"{URL}/bulk"
FIELDS = [
    "id", "token", "name", "note", "external_id", "status", "is_active", "data_limit", "limit_reset", "reset_day", "reset_days",
    "expires_at", "hold_days", "device_limit", "used_upload", "used_download", "lifetime_upload", "lifetime_download", "last_used_at", "created_at",
    "plan", "reseller", "groups", "next_plans", "limits", "subscription_url",
]  # fmt: skip
COUNTERS = ["used_upload", "used_download", "lifetime_upload", "lifetime_download"]
TOKEN = "a-token-of-somebody-123"
BY = By("ada", datetime(2026, 1, 1, tzinfo=UTC))


def send(client: Client, path: str, body: Any = None, method: str = "POST", **headers: str) -> Any:
    return client.generic(
        method, path, json.dumps(body or {}), content_type="application/json", headers=headers
    )


def once(client: Client, key: str, path: str, body: Any = None) -> Any:
    return send(client, path, body, **{"idempotency-key": key})


def one(row: Subscriber, action: str = "") -> str:
    return f"{URL}/{row.pk}{action and '/'}{action}"


def listed(client: Client, query: str = "") -> list[str]:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 200, response.content
    return [row["name"] for row in response.json()["results"]]


def soon(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


# --- adding -------------------------------------------------------------------


def test_a_shop_sells_a_month(manager: Client) -> None:
    Group.objects.create(name="Berlin")
    body = {
        "external_id": "order-1001",
        "name": "Ann",
        "note": "paid",
        "data_limit": 50 * 2**30,
        "limit_reset": "monthly",
        "reset_day": 5,
        "expires_at": "2027-01-31",
        "groups": ["Berlin"],
    }
    response = send(manager, URL, body)
    assert response.status_code == 201
    answer = response.json()
    assert list(answer) == FIELDS
    assert answer | body | {"expires_at": answer["expires_at"]} == answer
    assert answer["expires_at"] == "2027-02-01T00:00:00+00:00"
    assert answer["status"] == "active"
    assert answer["plan"] is None
    stored = Subscriber.objects.get()
    assert answer["token"] == stored.token
    assert (
        answer["subscription_url"] == f"http://testserver/api/xpert/sub?user_token={stored.token}"
    )


def test_a_body_without_fields_makes_a_subscriber_without_limits(manager: Client) -> None:
    answer = send(manager, URL).json()
    assert (answer["data_limit"], answer["expires_at"], answer["is_active"]) == (None, None, True)
    assert len(answer["token"]) >= 32


def test_a_date_is_the_last_day_in_the_time_zone_of_the_panel(
    manager: Client, settings: Settings
) -> None:
    settings.XPERT_TIME_ZONE = "Europe/Moscow"
    answer = send(manager, URL, {"expires_at": "2027-01-31"}).json()
    assert answer["expires_at"] == "2027-01-31T21:00:00+00:00"


def test_the_public_domain_is_in_the_subscription_url(manager: Client, settings: Settings) -> None:
    settings.XPERT_DOMAIN = "https://vpn.example.com"
    assert send(manager, URL).json()["subscription_url"].startswith("https://vpn.example.com/api/")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 5), ("name", "x" * 201), ("name", "a\0b"), ("name", None), ("name", ["x"]),
        ("note", "x" * 10_001), ("note", {"a": 1}),
        ("external_id", "x" * 256), ("external_id", 7), ("external_id", None),
        ("token", ""), ("token", "with space"), ("token", "global"), ("token", "токен"), ("token", "x" * 256),
        ("is_active", "true"), ("is_active", 1), ("is_active", None),
        ("data_limit", 0), ("data_limit", -1), ("data_limit", 2**60 + 1), ("data_limit", 10**400), ("data_limit", "5"),
        ("data_limit", 1.5), ("data_limit", True),
        ("limit_reset", "hourly"), ("limit_reset", 1), ("limit_reset", ["never"]), ("limit_reset", {}),
        ("reset_day", 0), ("reset_day", 32), ("reset_day", None), ("reset_days", 0), ("reset_days", 3651),
        ("expires_at", "soon"), ("expires_at", 1800000000), ("expires_at", "9999-12-31"), ("expires_at", "1969-01-01"),
        ("expires_at", ""), ("expires_at", "0001-01-01T00:00:00+14:00"), ("expires_at", "x" * 10_000),
        ("groups", ["Nobody's"]), ("groups", "Berlin"), ("groups", [1]), ("groups", ["x"] * 101), ("groups", None),
        ("plan", 1), ("status", "active"), ("id", 5), ("data_limt", 5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_wrong_value_is_refused_by_name_and_nothing_is_changed(
    manager: Client, field: str, value: Any, method: str
) -> None:
    row = subscriber(TOKEN, name="Ann")
    before = Subscriber.objects.values().get()
    path = URL if method == "POST" else one(row)
    response = send(manager, path, {"note": "new", field: value}, method)
    assert response.status_code == 400, response.content
    assert list(response.json()) == [field]
    assert Subscriber.objects.values().get() == before
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("body", ["[]", '"x"', "5", "null", "[{}]"])
@pytest.mark.parametrize("path", ["", "/bulk", "/{pk}/extend", "/{pk}/correct", "/{pk}/new-token"])
def test_a_body_that_is_no_object_is_refused(manager: Client, path: str, body: str) -> None:
    row = subscriber(TOKEN)
    url = URL + path.format(pk=row.pk)
    response = manager.generic("POST", url, body, content_type="application/json")
    assert response.status_code == 400
    assert response.json() == {"detail": "Expected a JSON object."}
    assert Subscriber.objects.get().token == TOKEN


@pytest.mark.parametrize("field", ["token", "external_id"])
def test_what_another_has_or_a_deleted_one_had_is_refused(manager: Client, field: str) -> None:
    row = subscriber(TOKEN, external_id="order-1")
    other = subscriber("another-token-123")
    value = {"token": TOKEN, "external_id": "order-1"}[field]
    assert list(send(manager, URL, {field: value}).json()) == [field]
    changes.hide(Subscriber, [row.pk], BY)
    assert list(send(manager, URL, {field: value}).json()) == [field]
    assert list(send(manager, one(other), {field: value}, "PATCH").json()) == [field]
    assert Subscriber.objects.count() == 2


def test_many_may_have_no_external_id(manager: Client) -> None:
    assert [send(manager, URL, {"external_id": ""}).status_code for _ in range(2)] == [201, 201]


def test_who_adds_one_is_named_in_one_audit_entry(manager: Client) -> None:
    Group.objects.create(name="Berlin")
    pk = send(manager, URL, {"name": "Ann", "groups": ["Berlin"]}).json()["id"]
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.target_id) == ("added", pk)
    assert entry.author.endswith("(manager)")


# --- reading ------------------------------------------------------------------


def test_usage_of_period_and_life_is_shown(manager: Client) -> None:
    row = subscriber(TOKEN, data_limit=10)
    use(row, 4, 8)
    answer = manager.get(one(row)).json()
    assert [answer[name] for name in COUNTERS] == [4, 8, 4, 8]
    assert answer["status"] == "limited"
    assert answer["last_used_at"]


def test_a_period_that_has_ended_counts_as_nothing(manager: Client) -> None:
    row = subscriber(TOKEN, limit_reset="daily")
    use(row, 4, 8)
    Balance.objects.update(period_start=soon(-3))
    answer = manager.get(one(row)).json()
    assert [answer[name] for name in COUNTERS] == [0, 0, 4, 8]


def test_a_key_of_scope_read_sees_token_and_url_masked(reader: Client) -> None:
    row = subscriber(TOKEN)
    for answer in (reader.get(one(row)).json(), reader.get(URL).json()["results"][0]):
        assert answer["token"] == "a-to…"
        assert answer["subscription_url"] == "http…"
        assert TOKEN not in json.dumps(answer)


def test_staff_who_may_only_look_see_the_token_masked() -> None:
    row, user = subscriber(TOKEN), User.objects.create_user("eva", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_subscriber"))
    client = Client()
    client.force_login(user)
    assert client.get(one(row)).json()["token"] == "a-to…"


@pytest.mark.parametrize("pk", ["0", "999", "x", "-1", "9" * 30, "1.0", "١"])
def test_an_unknown_id_is_not_found(manager: Client, pk: str) -> None:
    for response in (
        manager.get(f"{URL}/{pk}"),
        send(manager, f"{URL}/{pk}", {"name": "x"}, "PATCH"),
        manager.delete(f"{URL}/{pk}"),
        send(manager, f"{URL}/{pk}/extend", {"days": 1}),
        send(manager, f"{URL}/{pk}/new-token"),
    ):
        assert response.status_code == 404, response.content


def test_each_status_finds_its_own(manager: Client) -> None:
    subscriber("t-active-1", name="active")
    subscriber("t-disabled-1", name="disabled", is_active=False)
    subscriber("t-expired-1", name="expired", expires_at=soon(-1))
    use(subscriber("t-limited-1", name="limited", data_limit=1), 1, 1)
    subscriber("t-on-hold-1", name="on_hold", hold_days=30)
    changes.hide(Subscriber, [subscriber("t-deleted-1", name="deleted").pk], BY)
    for status in ("active", "disabled", "expired", "limited", "on_hold", "deleted"):
        (row,) = manager.get(f"{URL}?status={status}").json()["results"]
        assert row["name"] == row["status"] == status
    assert sorted(listed(manager)) == ["active", "disabled", "expired", "limited", "on_hold"]


def test_filters_find_what_they_say(manager: Client) -> None:
    ann = subscriber("ann-token-1", name="Ann", external_id="order-1", expires_at=soon(2))
    bob = subscriber("bob-token-1", name="Иван", note="pays late")
    Group.objects.create(name="Berlin").subscribers.add(ann)
    use(bob, 5, 5)
    for query, names in {
        "group=Berlin": ["Ann"],
        "group=Nowhere": [],
        f"expires_before={soon(3):%Y-%m-%dT%H:%M:%SZ}": ["Ann"],
        f"expires_before={soon(1):%Y-%m-%dT%H:%M:%SZ}": [],
        "used_over=9": ["Иван"],
        "used_over=10": [],
        "token=bob-token-1": ["Иван"],
        "token=bob-token": [],
        "external_id=order-1": ["Ann"],
        "external_id=order": [],
        "search=иван": ["Иван"],
        "search=late+pays": ["Иван"],
        "search=bob-tok": ["Иван"],
        "search=order-1": ["Ann"],
        "search=(": [],
        "status=active&search=ann": ["Ann"],
    }.items():
        assert listed(manager, query) == names, query


def test_a_key_of_scope_read_does_not_guess_tokens_by_their_beginning(reader: Client) -> None:
    subscriber(TOKEN, name="Ann")
    assert listed(reader, "search=a-token") == []
    assert listed(reader, f"search={TOKEN}") == listed(reader, f"token={TOKEN}") == ["Ann"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=held", "status"), ("status=", "status"), ("limit=0", "limit"), ("limit=1001", "limit"),
        ("limit=x", "limit"), ("cursor=x", "cursor"), ("cursor=a0", "cursor"), ("cursor=a" + "9" * 40, "cursor"),
        ("used_over=-1", "used_over"), ("used_over=" + "9" * 40, "used_over"), ("used_over=1e9", "used_over"),
        ("expires_before=soon", "expires_before"), ("search=", "search"), ("search=a%00b", "search"),
        ("search=" + "x" * 201, "search"), ("externalid=5", "externalid"), ("token=a&token=b", "token"),
    ],
)  # fmt: skip
def test_a_wrong_filter_is_refused_by_name(manager: Client, query: str, field: str) -> None:
    response = manager.get(f"{URL}?{query}")
    assert response.status_code == 400
    assert list(response.json()) == [field]


def test_pages_lead_through_all_and_back(manager: Client) -> None:
    for number in range(5):
        subscriber(f"token-{number}-abc", name=str(number))
    first = manager.get(f"{URL}?limit=2&status=active").json()
    assert first["previous"] is None
    second = manager.get(first["next"]).json()
    third = manager.get(second["next"]).json()
    pages = [[row["name"] for row in page["results"]] for page in (first, second, third)]
    assert pages == [["4", "3"], ["2", "1"], ["0"]]
    assert third["next"] is None
    assert manager.get(third["previous"]).json()["results"] == second["results"]
    back = manager.get(second["previous"]).json()
    assert (back["results"], back["previous"]) == (first["results"], None)
    assert "status=active" in back["next"]


def test_a_page_holds_a_hundred_and_a_thousand_at_most(manager: Client) -> None:
    Subscriber.objects.bulk_create(Subscriber() for _ in range(1001))
    assert len(listed(manager)) == 100
    assert len(listed(manager, "limit=1000")) == 1000


def test_ten_thousand_subscribers_are_paged_in_constant_queries(
    manager: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    manager.get(URL)
    Subscriber.objects.bulk_create(Subscriber(data_limit=1) for _ in range(10_000))
    ids = Subscriber.objects.values_list("pk", flat=True)
    Balance.objects.bulk_create(Balance(subscriber_id=pk, period_upload=5) for pk in ids)
    Group.objects.create(name="Berlin").subscribers.add(*ids[:500])
    url, seen = f"{URL}?limit=1000", 0
    while url:
        # The key, the rows with their balances, their groups, their next plans, the limits on servers.
        with django_assert_num_queries(5):
            page = manager.get(url).json()
        seen, url = seen + len(page["results"]), page["next"]
    assert seen == 10_000
    with django_assert_num_queries(5):
        found = manager.get(f"{URL}?status=limited&group=Berlin&used_over=1").json()["results"]
    assert (len(found), found[0]["groups"]) == (100, ["Berlin"])


def test_a_subscriber_is_read_and_changed_in_constant_queries(
    manager: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    row = subscriber(TOKEN)
    manager.get(URL)
    with django_assert_num_queries(5):
        manager.get(one(row))


# --- changing -----------------------------------------------------------------


def test_a_shop_suspends_and_takes_back(manager: Client) -> None:
    row = subscriber(TOKEN)
    answer = send(manager, one(row), {"is_active": False}, "PATCH").json()
    assert (answer["status"], answer["is_active"]) == ("disabled", False)
    assert send(manager, one(row), {"is_active": True}, "PATCH").json()["status"] == "active"


def test_a_change_is_one_audit_entry_with_the_name_of_the_key(manager: Client) -> None:
    row = subscriber(TOKEN, name="Ann")
    Group.objects.create(name="Berlin").subscribers.add(row)
    Group.objects.create(name="Paris")
    send(manager, one(row), {"name": "Anna", "note": "", "groups": ["Paris"]}, "PATCH")
    (entry,) = AuditEntry.objects.all()
    assert entry.author.endswith("(manager)")
    assert entry.changes == {"name": ["Ann", "Anna"], "groups": [["Berlin"], ["Paris"]]}
    assert manager.get(one(row)).json()["groups"] == ["Paris"]


def test_a_token_in_the_audit_trail_is_masked(manager: Client) -> None:
    row = subscriber(TOKEN)
    send(manager, one(row), {"token": "another-token-of-ann"}, "PATCH")
    assert AuditEntry.objects.get().changes == {"token": ["a-to…", "anot…"]}


def test_a_change_to_what_is_so_already_is_no_entry(manager: Client) -> None:
    row = subscriber(TOKEN, name="Ann", external_id="order-1")
    body = {"name": "Ann", "token": TOKEN, "external_id": "order-1", "groups": []}
    assert send(manager, one(row), body, "PATCH").status_code == 200
    assert not AuditEntry.objects.exists()


def test_groups_that_are_not_named_stay(manager: Client) -> None:
    row = subscriber(TOKEN)
    Group.objects.create(name="Berlin").subscribers.add(row)
    assert send(manager, one(row), {"name": "x"}, "PATCH").json()["groups"] == ["Berlin"]
    assert send(manager, one(row), {"groups": []}, "PATCH").json()["groups"] == []


def test_deleting_hides_and_its_repeat_changes_nothing(manager: Client) -> None:
    row = subscriber(TOKEN)
    use(row, 1, 2)
    assert [manager.delete(one(row)).status_code for _ in range(2)] == [204, 204]
    answer = manager.get(one(row)).json()
    assert (answer["status"], answer["lifetime_download"]) == ("deleted", 2)
    assert AuditEntry.objects.count() == 1
    assert listed(manager) == []
    assert manager.get(f"/api/xpert/sub?user_token={TOKEN}").status_code == 404


@pytest.mark.parametrize("action", ["extend", "restart-period", "new-token", "correct"])
def test_nothing_is_done_to_a_deleted_subscriber(manager: Client, action: str) -> None:
    row = subscriber(TOKEN)
    changes.hide(Subscriber, [row.pk], BY)
    body = {"extend": {"days": 1}, "correct": {"upload": 1, "reason": "x"}}.get(action, {})
    assert send(manager, one(row, action), body).status_code == 404
    assert send(manager, one(row), {"name": "x"}, "PATCH").status_code == 404
    assert AuditEntry.objects.count() == 1


def test_a_shop_renews_by_days_or_until(manager: Client) -> None:
    row = subscriber(TOKEN, expires_at=soon(2))
    answer = send(manager, one(row, "extend"), {"days": 30}).json()
    assert datetime.fromisoformat(answer["expires_at"]) == row.expires_at + timedelta(days=30)  # type: ignore[operator]
    answer = send(manager, one(row, "extend"), {"until": "2098-12-31"}).json()
    assert answer["expires_at"] == "2099-01-01T00:00:00+00:00"
    assert [entry.action for entry in AuditEntry.objects.all()] == ["extended"] * 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "days"), ({"days": 1, "until": "2098-12-31"}, "days"), ({"days": 0}, "days"), ({"days": -1}, "days"),
        ({"days": 3651}, "days"), ({"days": "30"}, "days"), ({"days": 1.5}, "days"), ({"days": True}, "days"),
        ({"days": 10**30}, "days"), ({"days": None}, "days"), ({"until": "2001-01-01"}, "until"),
        ({"until": None}, "until"), ({"until": "9999-12-31"}, "until"), ({"days": 1, "x": 1}, "x"),
    ],
)  # fmt: skip
def test_a_wrong_term_is_refused_by_name(manager: Client, body: Any, field: str) -> None:
    row = subscriber(TOKEN, expires_at=soon(2))
    response = send(manager, one(row, "extend"), body)
    assert (response.status_code, list(response.json())) == (400, [field])
    assert Subscriber.objects.get().expires_at == row.expires_at


def test_a_period_is_restarted(manager: Client) -> None:
    row = subscriber(TOKEN)
    use(row, 4, 8)
    answer = send(manager, one(row, "restart-period")).json()
    assert [answer[name] for name in COUNTERS] == [0, 0, 4, 8]
    assert manager.generic("POST", one(row, "restart-period"), content_type="").status_code == 200


def test_a_new_token_stops_the_old_one(manager: Client) -> None:
    row = subscriber(TOKEN)
    answer = send(manager, one(row, "new-token")).json()
    assert answer["token"] == Subscriber.objects.get().token != TOKEN
    assert answer["subscription_url"].endswith(answer["token"])
    assert manager.get(f"/api/xpert/sub?user_token={TOKEN}").status_code == 404


def test_usage_is_corrected_with_a_reason(manager: Client) -> None:
    row = subscriber(TOKEN)
    use(row, 4, 8)
    body = {"download": -3, "reason": "Outage"}
    answer = send(manager, one(row, "correct"), body).json()
    assert [answer[name] for name in COUNTERS] == [4, 5, 4, 5]
    correction = Correction.objects.get()
    assert (correction.reason, correction.author.endswith("(manager)")) == ("Outage", True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "x"}, "upload"), ({"upload": 0, "download": 0, "reason": "x"}, "upload"), ({"upload": 1}, "reason"),
        ({"upload": 1, "reason": ""}, "reason"), ({"upload": 1, "reason": "x" * 301}, "reason"),
        ({"upload": "1", "reason": "x"}, "upload"), ({"upload": 2**60 + 1, "reason": "x"}, "upload"),
        ({"download": -(2**60) - 1, "reason": "x"}, "download"), ({"upload": 1.0, "reason": "x"}, "upload"),
        ({"upload": -5, "reason": "x"}, "detail"), ({"upload": 2**60, "reason": "x"}, "detail"),
    ],
)  # fmt: skip
def test_a_correction_that_cannot_be_made_changes_nothing(
    manager: Client, body: Any, field: str
) -> None:
    row = subscriber(TOKEN)
    use(row, 4, 8)
    before = Balance.objects.values().get()
    response = send(manager, one(row, "correct"), body)
    assert (response.status_code, list(response.json())) == (400, [field])
    assert Balance.objects.values().get() == before
    assert not Correction.objects.exists()


# --- repeating ----------------------------------------------------------------


def test_a_sale_that_is_repeated_makes_one_subscriber(manager: Client) -> None:
    first, second = (once(manager, "order-1", URL, {"name": "Ann"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert Subscriber.objects.count() == AuditEntry.objects.count() == 1


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("extend", {"days": 30}),
        ("restart-period", {}),
        ("new-token", {}),
        ("correct", {"upload": 5, "reason": "x"}),
    ],
)
def test_an_action_that_is_repeated_is_done_once(manager: Client, action: str, body: Any) -> None:
    row = subscriber(TOKEN, expires_at=soon(2))
    first, second = (once(manager, "key-1", one(row, action), body) for _ in range(2))
    assert first.status_code == 200
    assert first.json() == second.json()
    assert AuditEntry.objects.count() == 1


def test_a_repeat_is_told_what_is_true_now(manager: Client) -> None:
    pk = once(manager, "order-1", URL, {"name": "Ann"}).json()["id"]
    send(manager, f"{URL}/{pk}", {"name": "Anna"}, "PATCH")
    assert once(manager, "order-1", URL, {"name": "Ann"}).json()["name"] == "Anna"


def test_a_key_with_another_body_or_path_is_a_conflict(manager: Client) -> None:
    row = subscriber(TOKEN, expires_at=soon(2))
    once(manager, "key-1", one(row, "extend"), {"days": 30})
    for path, body in ((one(row, "extend"), {"days": 31}), (one(row, "restart-period"), {})):
        response = once(manager, "key-1", path, body)
        assert response.status_code == 409
        assert "Idempotency-Key" in response.json()["detail"]
    assert AuditEntry.objects.count() == 1


def test_the_order_of_fields_and_a_trailing_slash_make_no_other_body(manager: Client) -> None:
    once(manager, "key-1", URL, {"name": "Ann", "note": "x"})
    assert once(manager, "key-1", f"{URL}/", {"note": "x", "name": "Ann"}).status_code == 201
    assert Subscriber.objects.count() == 1


def test_another_key_of_the_panel_has_idempotency_keys_of_its_own(manager: Client) -> None:
    other = Client(headers={"x-api-key": create_api_key("other", "manage")[1]})
    once(manager, "order-1", URL, {"name": "Ann"})
    assert once(other, "order-1", URL, {"name": "Bob"}).status_code == 201
    assert Subscriber.objects.count() == 2


def test_a_refused_request_leaves_its_key_unused(manager: Client) -> None:
    assert once(manager, "order-1", URL, {"name": 5}).status_code == 400
    assert once(manager, "order-1", f"{URL}/999/extend", {"days": 1}).status_code == 404
    assert once(manager, "order-1", URL, {"name": "Ann"}).status_code == 201


def test_a_repeat_is_answered_though_its_moment_has_passed(
    manager: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = subscriber(TOKEN)
    body = {"until": soon(1).isoformat()}
    once(manager, "key-1", one(row, "extend"), body)
    monkeypatch.setattr("subscriptions.api.subscriber_fields.timezone.now", lambda: soon(2))
    assert once(manager, "key-1", one(row, "extend"), body).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 65, "with space", "ключ"])
def test_a_key_that_is_none_is_refused_by_name(manager: Client, key: str) -> None:
    response = once(manager, key, URL, {"name": "Ann"})
    assert (response.status_code, list(response.json())) == (400, ["Idempotency-Key"])
    assert not Subscriber.objects.exists()


def test_nothing_about_a_person_is_kept_with_a_key(manager: Client) -> None:
    pk = once(manager, "order-1", URL, {"name": "Ann"}).json()["id"]
    assert IdempotentRequest.objects.get().outcome == pk


# --- many ---------------------------------------------------------------------


def test_each_of_many_gets_an_answer(manager: Client) -> None:
    end = soon(2)
    ann, bob = subscriber("ann-token-1", expires_at=end), subscriber("bob-token-1")
    changes.hide(Subscriber, [bob.pk], BY)
    answer = send(
        manager, BULK, {"action": "extend", "days": 30, "ids": [ann.pk, bob.pk, 999, ann.pk]}
    ).json()
    assert (answer["total"], answer["successful"], answer["failed"]) == (3, 1, 2)
    first, *others = answer["results"]
    assert first["subscriber"]["expires_at"] == (end + timedelta(days=30)).isoformat()
    assert [(item["id"], item["status"]) for item in others] == [(bob.pk, 404), (999, 404)]


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("extend", {"until": "2098-12-31"}),
        ("restart-period", {}),
        ("new-token", {}),
        ("correct", {"upload": 1, "reason": "x"}),
        ("change", {"is_active": False, "groups": ["Berlin"]}),
        ("delete", {}),
    ],
)
def test_every_action_is_done_to_all_whom_a_filter_finds(
    manager: Client, action: str, told: Any
) -> None:
    Group.objects.create(name="Berlin")
    rows = [subscriber(f"token-{number}-abc", note="trial") for number in range(3)]
    subscriber("another-token-1")
    answer = send(manager, BULK, {"action": action, "filter": {"search": "trial"}, **told}).json()
    assert [item["status"] for item in answer["results"]] == [200] * 3
    entries = AuditEntry.objects.values_list("target_id", flat=True)
    assert sorted(entries) == [row.pk for row in rows]


def test_one_correction_that_cannot_be_made_does_not_stop_the_others(manager: Client) -> None:
    ann, bob = subscriber("ann-token-1"), subscriber("bob-token-1")
    use(bob, 5, 5)
    answer = send(
        manager, BULK, {"action": "correct", "upload": -5, "reason": "x", "ids": [ann.pk, bob.pk]}
    ).json()
    assert [item["status"] for item in answer["results"]] == [400, 200]
    assert "detail" in answer["results"][0]["errors"]
    assert answer["results"][1]["subscriber"]["used_upload"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"), ({"action": "erase", "ids": [1]}, "action"), ({"action": "extend", "days": 1}, "ids"),
        ({"action": "extend", "days": 1, "ids": []}, "ids"), ({"action": "extend", "days": 1, "ids": ["1"]}, "ids"),
        ({"action": "extend", "days": 1, "ids": [2**63]}, "ids"), ({"action": "extend", "days": 1, "ids": 5}, "ids"),
        ({"action": "extend", "days": 1, "ids": list(range(1, 1002))}, "ids"),
        ({"action": "extend", "days": 1, "ids": [1], "filter": {"search": "x"}}, "ids"),
        ({"action": "extend", "days": 1, "filter": {}}, "filter"),
        ({"action": "extend", "days": 1, "filter": {"sttus": "active"}}, "filter"),
        ({"action": "extend", "ids": [1]}, "days"), ({"action": "extend", "days": 0, "ids": [1]}, "days"),
        ({"action": "new-token", "days": 1, "ids": [1]}, "days"),
        ({"action": "change", "token": "abc", "ids": [1]}, "token"),
        ({"action": "change", "external_id": "abc", "ids": [1]}, "external_id"),
    ],
)  # fmt: skip
def test_a_wrong_bulk_is_refused_by_name_and_nothing_is_changed(
    manager: Client, body: Any, field: str
) -> None:
    subscriber(TOKEN, pk=1, expires_at=soon(2))
    before = Subscriber.objects.values().get()
    response = send(manager, BULK, body)
    assert (response.status_code, list(response.json())) == (400, [field]), response.content
    assert Subscriber.objects.values().get() == before


def test_a_filter_that_finds_too_many_changes_nothing(manager: Client) -> None:
    Subscriber.objects.bulk_create(Subscriber(note="trial") for _ in range(1001))
    body = {"action": "change", "is_active": False, "filter": {"status": "active"}}
    assert list(send(manager, BULK, body).json()) == ["filter"]
    Subscriber.objects.last().delete()  # type: ignore[union-attr]
    assert send(manager, BULK, body).json()["successful"] == 1000


def test_a_thousand_are_changed_and_answered_in_few_queries(
    manager: Client, django_assert_max_num_queries: Any
) -> None:
    Group.objects.create(name="Berlin")
    rows = Subscriber.objects.bulk_create(Subscriber(expires_at=soon(1)) for _ in range(1000))
    ids = [row.pk for row in rows]
    with django_assert_max_num_queries(110):
        send(manager, BULK, {"action": "extend", "days": 1, "ids": ids})
    with django_assert_max_num_queries(140):
        body = {"action": "change", "name": "x", "groups": ["Berlin"], "ids": ids}
        assert send(manager, BULK, body).json()["successful"] == 1000


def test_a_bulk_that_is_repeated_is_done_once(manager: Client) -> None:
    ann = subscriber("ann-token-1", expires_at=soon(2))
    body = {"action": "extend", "days": 30, "ids": [ann.pk, 999]}
    first, second = (once(manager, "key-1", BULK, body) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert AuditEntry.objects.count() == 1


def test_staff_without_the_right_to_delete_cannot_delete_many() -> None:
    row, user = subscriber(TOKEN), User.objects.create_user("eva", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_subscriber"))
    client = Client()
    client.force_login(user)
    assert send(client, BULK, {"action": "delete", "ids": [row.pk]}).status_code == 403
    assert send(client, BULK, {"action": "new-token", "ids": [row.pk]}).status_code == 200
    assert Subscriber.objects.visible().exists()


# --- anything -----------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_BODIES = st.dictionaries(
    st.sampled_from([*FIELDS, "days", "until", "upload", "reason", "ids", "filter", "action"]),
    _JSON,
)


@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_BODIES, path=st.sampled_from(["", "/bulk", "/{pk}/extend", "/{pk}/correct"]))
def test_no_body_breaks_it(manager: Client, body: Any, path: str) -> None:
    row = Subscriber.objects.get_or_create(token=TOKEN)[0]
    url = URL + path.format(pk=row.pk)
    assert once(manager, "any", url, body).status_code in {200, 201, 400, 409}
    assert send(manager, one(row), body, "PATCH").status_code in {200, 400}
    Subscriber.objects.filter(pk=row.pk).update(token=TOKEN)


# --- plans --------------------------------------------------------------------


def a_plan(name: str = "Month", **fields: Any) -> Plan:
    return Plan.objects.create(name=name, **{"data_limit": 2**30, "days": 30} | fields)


def test_a_shop_sells_a_plan_and_what_it_says_beside_it_comes_first(manager: Client) -> None:
    a_plan(limit_reset="weekly")
    answer = send(manager, URL, {"plan": "Month", "data_limit": 5}).json()
    assert (answer["plan"], answer["data_limit"], answer["limit_reset"]) == ("Month", 5, "weekly")
    term = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < term < timedelta(days=30, hours=1)
    assert [row["name"] for row in manager.get(f"{URL}?plan=Month").json()["results"]] == [""]
    assert listed(manager, "plan=Other") == []


def test_a_plan_is_applied_and_renewed(manager: Client) -> None:
    a_plan()
    ann = subscriber("ann", expires_at=soon(-5))
    answer = send(manager, one(ann, "apply-plan"), {"plan": "Month"})
    assert (answer.status_code, answer.json()["plan"]) == (200, "Month")
    before = datetime.fromisoformat(answer.json()["expires_at"])
    answer = once(manager, "r1", one(ann, "renew"))
    assert answer.status_code == 200
    assert datetime.fromisoformat(answer.json()["expires_at"]) == before + timedelta(days=30)
    assert once(manager, "r1", one(ann, "renew")).json() == answer.json()
    answer = send(manager, BULK, {"action": "renew", "filter": {"plan": "Month"}, "days": 1})
    assert (answer.json()["total"], answer.json()["successful"]) == (1, 1)


def test_a_plan_gives_its_groups_and_takes_the_others(manager: Client) -> None:
    plan, ann = a_plan(), subscriber("ann")
    vip = Group.objects.create(name="VIP")
    Group.objects.create(name="Trial").subscribers.add(ann)
    vip.plans.add(plan)
    answer = send(manager, one(ann, "apply-plan"), {"plan": "Month"}).json()
    assert answer["groups"] == ["VIP"]
    assert AuditEntry.objects.get().changes["groups"] == [["Trial"], ["VIP"]]
    assert send(manager, URL, {"plan": "Month"}).json()["groups"] == ["VIP"]


def test_a_plan_without_groups_leaves_people_where_they_are(manager: Client) -> None:
    a_plan()
    ann = subscriber("ann")
    Group.objects.create(name="Trial").subscribers.add(ann)
    answer = send(manager, one(ann, "apply-plan"), {"plan": "Month"})
    assert answer.json()["groups"] == ["Trial"]
    assert "groups" not in AuditEntry.objects.get().changes


def test_groups_beside_a_plan_come_first(manager: Client) -> None:
    Group.objects.create(name="VIP").plans.add(a_plan())
    Group.objects.create(name="Trial")
    assert send(manager, URL, {"plan": "Month", "groups": ["Trial"]}).json()["groups"] == ["Trial"]


@pytest.mark.parametrize("plan", ["Nothing", "", None, 5, ["Month"], "a\x00b", "x" * 1000])
def test_a_plan_that_does_not_exist_changes_nothing(manager: Client, plan: Any) -> None:
    ann = subscriber("ann")
    for path in (URL, one(ann, "apply-plan")):
        answer = send(manager, path, {"plan": plan})
        assert (answer.status_code, list(answer.json())) == (400, ["plan"])
    assert Subscriber.objects.count() == 1


def test_who_has_no_plan_is_renewed_by_days_alone(manager: Client) -> None:
    end = soon(5)
    ann = subscriber("ann", expires_at=end)
    answer = send(manager, one(ann, "renew"))
    assert (answer.status_code, list(answer.json())) == (400, ["days"])
    assert send(manager, one(ann, "renew"), {"days": 3}).status_code == 200
    ann.refresh_from_db()
    assert ann.expires_at == end + timedelta(days=3)


def test_a_plan_is_changed_by_applying_it(manager: Client) -> None:
    a_plan()
    answer = send(manager, one(subscriber("ann")), {"plan": "Month"}, "PATCH")
    assert (answer.status_code, list(answer.json())) == (400, ["plan"])


# --- plans that are bought ahead ----------------------------------------------


def bought_ahead(manager: Client, ann: Subscriber, count: int = 2) -> list[int]:
    for number in range(count):
        send(manager, one(ann, "next-plan"), {"plan": "Month", "renews": number == 1})
    answer = manager.get(one(ann)).json()
    assert [row["plan"] for row in answer["next_plans"]] == ["Month"] * count
    return [row["id"] for row in answer["next_plans"]]


def test_a_plan_that_is_bought_ahead_is_cancelled(manager: Client) -> None:
    a_plan()
    ann = subscriber("ann", expires_at=soon(5))
    first, second = bought_ahead(manager, ann)
    answer = manager.delete(f"{one(ann, 'next-plan')}?next={first}")
    assert answer.status_code == 200
    assert [row["id"] for row in answer.json()["next_plans"]] == [second]
    repeated = manager.delete(f"{one(ann, 'next-plan')}?next={first}")
    assert repeated.json() == answer.json()
    assert AuditEntry.objects.latest("id").changes == {"next_plan": ["Month", None]}


def test_all_plans_that_are_bought_ahead_are_cancelled(manager: Client) -> None:
    a_plan()
    ann = subscriber("ann", expires_at=soon(5))
    bought_ahead(manager, ann)
    assert manager.delete(one(ann, "next-plan")).json()["next_plans"] == []
    ann.refresh_from_db()
    assert not ann.has_next


@pytest.mark.parametrize(
    "query", ["next=", "next=x", "next=-1", "next=1&next=2", "nxt=1", "next=0"]
)
def test_a_misspelt_question_cancels_nothing(manager: Client, query: str) -> None:
    a_plan()
    ann = subscriber("ann", expires_at=soon(5))
    bought_ahead(manager, ann, 1)
    assert manager.delete(f"{one(ann, 'next-plan')}?{query}").status_code == 400
    assert len(manager.get(one(ann)).json()["next_plans"]) == 1


def test_a_plan_of_somebody_else_is_not_cancelled(manager: Client, reader: Client) -> None:
    a_plan()
    ann, bob = (subscriber(name, expires_at=soon(5)) for name in ("ann", "bob"))
    (following,) = bought_ahead(manager, ann, 1)
    assert manager.delete(f"{one(bob, 'next-plan')}?next={following}").status_code == 200
    assert reader.delete(one(ann, "next-plan")).status_code == 403
    assert len(manager.get(one(ann)).json()["next_plans"]) == 1
    assert manager.delete(f"{URL}/999/next-plan").status_code == 404
