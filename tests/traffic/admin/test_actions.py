"""Buttons and list actions: confirmed first, then done once, with one entry in the history."""

import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
import time_machine
from django.db import OperationalError
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from operations.models import ApiKey, AuditEntry, Receiver
from tests.traffic.admin_pages import (
    a_subscriber,
    act,
    listed,
    messages_of,
    operator,
    staff,
    text_of,
    url,
)
from tests.traffic.examples import DAY, GB, NOW, a_report, balance, stored, subscriber
from traffic.models import Correction, Plan, Server, Subscriber
from traffic.people import changes, subscribers

pytestmark = pytest.mark.django_db

LIST = "/admin/traffic/subscriber/"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def press(client: Client, name: str, found: Subscriber, **told: Any) -> Any:
    """Confirm a button's question."""
    return client.post(url(f"subscriber_{name}", found.pk), told, follow=True)


# Extend, switch, new token


def test_extending_asks_for_the_days(client: Client) -> None:
    ann = a_subscriber(expires_at=NOW + DAY)
    assert 'name="days"' in client.get(url("subscriber_extend", ann.pk)).content.decode()
    answer = press(client, "extend", ann, days="10")
    assert messages_of(answer) == ["1 subscriber was extended."]
    assert Subscriber.objects.get().expires_at == NOW + 11 * DAY
    assert "root Extended last day: 2024-02-11 19:20 → 2024-02-21 19:20" in text_of(answer)


@pytest.mark.parametrize(
    ("days", "is_done"), [("0", False), ("1", True), ("3650", True), ("3651", False), ("x", False)]
)
def test_days_have_bounds(days: str, is_done: bool, client: Client) -> None:
    ann = a_subscriber(expires_at=NOW)
    press(client, "extend", ann, days=days)
    assert AuditEntry.objects.exists() == is_done


def test_many_are_extended_after_a_question(client: Client) -> None:
    ann, bob, cid = (a_subscriber(name, expires_at=NOW) for name in ("Ann", "Bob", "Cid"))
    question = act(client, "subscriber", "extend", ann, bob)
    assert "Extend 2 subscribers?" in text_of(question)
    assert not AuditEntry.objects.exists()
    answer = act(client, "subscriber", "extend", ann, bob, post="yes", days="5")
    assert messages_of(answer) == ["2 subscribers were extended."]
    assert set(Subscriber.objects.filter(expires_at=NOW + 5 * DAY)) == {ann, bob}
    assert (
        act(client, "subscriber", "extend", cid, post="yes", days="-1").context["asked"].form.errors
    )


def test_subscribers_without_an_expiry_date_are_offered_no_extension(client: Client) -> None:
    ann = a_subscriber()
    page = client.get(url("subscriber_usage", ann.pk)).content.decode()
    assert url("subscriber_extend", ann.pk) not in page
    assert messages_of(press(client, "extend", ann, days="5")) == ["0 subscribers were extended."]


@pytest.mark.parametrize(("is_active", "offered"), [(True, "switch_off"), (False, "switch_on")])
def test_the_switch_that_would_change_something_is_offered(
    is_active: bool, offered: str, client: Client
) -> None:
    ann = a_subscriber(is_active=is_active)
    page = client.get(url("subscriber_usage", ann.pk)).content.decode()
    assert [
        name for name in ("switch_on", "switch_off") if url(f"subscriber_{name}", ann.pk) in page
    ] == [offered]
    press(client, offered, ann)
    assert Subscriber.objects.get().is_active != is_active


def test_a_new_token_stops_the_old_address(client: Client) -> None:
    ann = a_subscriber(token="the-old-token-1234")
    answer = press(client, "renew_token", ann)
    assert messages_of(answer)[0] == "1 subscriber has a new token."
    assert subscribers.find("the-old-token-1234") is None
    assert Subscriber.objects.get().token in answer.content.decode()
    assert "New token token: the-… →" in text_of(answer)


def test_an_edit_is_noted_with_old_and_new(client: Client) -> None:
    ann = a_subscriber("Ann", data_limit=5 * GB)
    fields = {
        "name": "Anna",
        "token": ann.token,
        "is_active": "on",
        "data_limit": "7 GB",
        "limit_reset": "never",
    }
    client.post(url("subscriber_change", ann.pk), fields)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.author, entry.target_id) == ("changed", "root", ann.pk)
    assert entry.changes == {"name": ["Ann", "Anna"], "data_limit": [5 * GB, 7 * GB]}
    assert "data limit: 5.00 GB → 7.00 GB name: Ann → Anna" in text_of(
        client.get(url("subscriber_history", ann.pk))
    )


def test_a_new_one_and_a_servers_name_are_noted(client: Client) -> None:
    client.post(
        url("subscriber_add"), {"name": "Ann", "token": "ann-token", "limit_reset": "never"}
    )
    stored(a_report())
    client.post(url("server_change", Server.objects.get().pk), {"name": "Berlin"})
    found = [(entry.action, entry.target_kind) for entry in AuditEntry.objects.order_by("id")]
    assert found == [("added", "traffic.subscriber"), ("changed", "traffic.server")]
    assert "name: – → Berlin" in text_of(client.get(url("server_history", Server.objects.get().pk)))


def test_an_edit_without_a_change_is_not_noted(client: Client) -> None:
    stored(a_report())
    client.post(url("server_change", Server.objects.get().pk), {"name": ""})
    assert not AuditEntry.objects.exists()


# A form that comes twice: a double click, or back and again


def ticket(page: Any) -> dict[str, str]:
    return {"once": re.findall(r'name="once" value="([^"]+)"', page.content.decode())[0]}


def test_a_question_answered_twice_is_acted_on_once(client: Client) -> None:
    ann = a_subscriber(expires_at=NOW)
    told = {"days": "5"} | ticket(client.get(url("subscriber_extend", ann.pk)))
    assert messages_of(press(client, "extend", ann, **told)) == ["1 subscriber was extended."]
    assert messages_of(press(client, "extend", ann, **told)) == [
        "The form was sent twice; the action was done once."
    ]
    assert Subscriber.objects.get().expires_at == NOW + 5 * DAY


def test_many_are_not_extended_twice_by_one_question(client: Client) -> None:
    ann, bob = (a_subscriber(name, expires_at=NOW) for name in ("Ann", "Bob"))
    told = {"post": "yes", "days": "5"} | ticket(act(client, "subscriber", "extend", ann, bob))
    for expected in (
        "2 subscribers were extended.",
        "The form was sent twice; the action was done once.",
    ):
        assert messages_of(act(client, "subscriber", "extend", ann, bob, **told)) == [expected]
    assert set(Subscriber.objects.values_list("expires_at", flat=True)) == {NOW + 5 * DAY}


def test_a_correction_sent_twice_counts_once(client: Client) -> None:
    stored(a_report(upload=0, download=3 * GB))
    ann = subscriber()
    answer = told(**ticket(client.get(url("subscriber_correct", ann.pk))))
    press(client, "correct", ann, **answer)
    assert messages_of(press(client, "correct", ann, **answer)) == [
        "The form was sent twice; the action was done once."
    ]
    assert balance().life_download == 2 * GB


@pytest.mark.parametrize("model", [ApiKey, Receiver])
def test_a_form_that_adds_and_comes_twice_adds_once(model: type[Model], client: Client) -> None:
    address = url(f"{model._meta.model_name}_add")
    fields = {"name": "Ann", "scope": "read", "kind": "webhook", "target": "https://example.com/"}
    fields |= ticket(client.get(address))
    assert client.post(address, fields, follow=True).redirect_chain
    again = client.post(address, fields, follow=True)
    assert messages_of(again)[-1] == "The form was sent twice; the action was done once."
    assert listed(again) == ["Ann"]


def test_a_form_that_adds_may_come_again_after_a_mistake(client: Client) -> None:
    once = ticket(client.get(url("apikey_add")))
    assert client.post(url("apikey_add"), {"name": ""} | once).status_code == 200
    client.post(url("apikey_add"), {"name": "Ann", "scope": "read"} | once)
    assert ApiKey.objects.get().name == "Ann"


def test_every_page_that_adds_has_a_ticket_of_its_own(client: Client) -> None:
    for name in (
        "traffic_subscriber",
        "subscriptions_source",
        "subscriptions_directconfig",
        "subscriptions_group",
    ):
        first, second = (ticket(client.get(reverse(f"admin:{name}_add"))) for _ in range(2))
        assert first != second


def test_errors_are_corrected_in_the_same_form(client: Client) -> None:
    ann = a_subscriber(expires_at=NOW)
    once = ticket(client.get(url("subscriber_extend", ann.pk)))
    press(client, "extend", ann, days="0", **once)
    assert messages_of(press(client, "extend", ann, days="1", **once)) == [
        "1 subscriber was extended."
    ]


def test_a_refused_correction_may_be_sent_again_in_the_page_that_says_so(client: Client) -> None:
    stored(a_report(upload=0, download=3 * GB))
    ann = subscriber()
    refused = press(
        client,
        "correct",
        ann,
        **told(download="4 GB", **ticket(client.get(url("subscriber_correct", ann.pk)))),
    )
    press(client, "correct", ann, **told(**ticket(refused)))
    assert balance().life_download == 2 * GB


def test_a_failed_action_may_be_tried_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = a_subscriber(expires_at=NOW)
    told = {"days": "5"} | ticket(client.get(url("subscriber_extend", ann.pk)))
    with monkeypatch.context() as broken:
        broken.setattr(changes, "extend", Mock(side_effect=OperationalError("database is locked")))
        assert press(client, "extend", ann, **told).status_code == 503
    assert messages_of(press(client, "extend", ann, **told)) == ["1 subscriber was extended."]


# Deleted ones


def test_deleted_ones_are_listed_when_asked_for_and_brought_back(client: Client) -> None:
    ann, _ = a_subscriber("Ann", hidden_at=NOW), a_subscriber("Bob")
    page = client.get(f"{LIST}?shown=deleted")
    assert listed(page) == ["Ann"]
    actions = page.context["action_form"].fields["action"].choices
    assert [name for name, _ in actions if name] == ["bring_back"]
    answer = act(client, "subscriber", "bring_back", ann, query="?shown=deleted")
    assert messages_of(answer) == ["1 subscriber is back."]
    assert sorted(listed(client.get(LIST))) == ["Ann", "Bob"]
    assert AuditEntry.objects.get().action == "brought back"


@pytest.mark.parametrize("model", ["subscriber", "server"])
def test_the_page_of_a_deleted_one_offers_to_bring_it_back(model: str, client: Client) -> None:
    stored(a_report())
    found: Subscriber | Server = (
        Subscriber.objects.get() if model == "subscriber" else Server.objects.get()
    )
    type(found)._default_manager.update(hidden_at=NOW)
    page = client.get(url(f"{model}_usage", found.pk))
    assert "Deleted at 2024-02-10 19:20 (UTC)." in text_of(page)
    assert url(f"{model}_bring_back", found.pk) in page.content.decode()
    assert url(f"{model}_change", found.pk) not in page.content.decode().partition("xp-head")[2]
    assert "back?" in text_of(client.get(url(f"{model}_bring_back", found.pk)))
    client.post(url(f"{model}_bring_back", found.pk))
    found.refresh_from_db()
    assert found.hidden_at is None


def test_a_number_that_is_no_id_is_not_found(client: Client) -> None:
    for number in ("9" * 19, "9" * 30, "-1", "٣", "x"):
        assert client.get(f"{LIST}{number}/usage/").status_code == 404


# Corrections


def told(**changes: str) -> dict[str, str]:
    return {
        "direction": "-",
        "upload": "",
        "download": "1 GB",
        "in_period": "on",
        "reason": "twice",
    } | changes


def test_usage_is_corrected_with_a_reason_and_undone(client: Client) -> None:
    stored(a_report(upload=0, download=3 * GB))
    ann = subscriber()
    assert "A correction can be undone." in text_of(client.get(url("subscriber_correct", ann.pk)))
    answer = press(client, "correct", ann, **told())
    assert messages_of(answer) == [f"The usage of {ann} is corrected."]
    assert balance().period_download == balance().life_download == 2 * GB
    words = text_of(answer)
    assert "2024-02-10 19:20 0 B −1.00 GB twice root Undo" in words
    assert "root Corrected the usage download: −1.00 GB reason: twice" in words
    undo = f"{url('subscriber_undo', ann.pk)}?correction={Correction.objects.get().pk}"
    assert undo in answer.content.decode()
    assert "Undo the correction “twice”?" in text_of(client.get(undo))
    assert messages_of(client.post(undo, follow=True)) == ["The correction is undone."]
    assert balance().life_download == 3 * GB
    assert messages_of(client.post(undo, follow=True)) == ["This correction was already undone."]


def test_usage_may_be_added(client: Client) -> None:
    stored(a_report(upload=0, download=0))
    press(client, "correct", subscriber(), **told(direction="+", upload="2 MB"))
    assert (balance().life_upload, balance().life_download) == (2 * 2**20, GB)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason": ""}, "This field is required."),
        ({"download": ""}, "Nothing would change. Enter at least one size."),
        ({"download": "4 GB"}, "The usage would be below zero"),
        ({"download": "much"}, "“much” is not a size."),
        ({"direction": "?"}, "Select a valid choice."),
    ],
)
def test_a_correction_that_cannot_be_says_why(
    changes: dict[str, str], words: str, client: Client
) -> None:
    stored(a_report(upload=0, download=3 * GB))
    assert words in text_of(press(client, "correct", subscriber(), **told(**changes)))
    assert not Correction.objects.exists()
    assert balance().life_download == 3 * GB


def test_an_undoing_that_cannot_be_says_why(client: Client) -> None:
    stored(a_report(upload=0, download=0))
    ann = subscriber()
    press(client, "correct", ann, **told(direction="+"))
    press(client, "correct", ann, **told())
    first = Correction.objects.earliest("id")
    answer = client.post(f"{url('subscriber_undo', ann.pk)}?correction={first.pk}", follow=True)
    assert "would be below zero" in messages_of(answer)[0]
    assert not Correction.objects.exclude(undone_at=None).exists()


@pytest.mark.parametrize(
    "chosen", ["", "?correction=", "?correction=x", "?correction=99", f"?correction={'9' * 30}"]
)
def test_an_undoing_of_nothing_is_not_found(chosen: str, client: Client) -> None:
    stored(a_report())
    assert client.get(url("subscriber_undo", subscriber().pk) + chosen).status_code == 404


def test_a_correction_is_undone_only_on_its_own_subscribers_page(client: Client) -> None:
    stored(a_report(), a_report(user_token="other"))
    press(client, "correct", subscriber(), **told(direction="+"))
    pk = Correction.objects.get().pk
    assert (
        client.post(f"{url('subscriber_undo', subscriber('other').pk)}?correction={pk}").status_code
        == 404
    )


def test_users_who_may_only_view_see_corrections_and_no_buttons() -> None:
    stored(a_report())
    ann = subscriber()
    Correction.objects.create(
        subscriber=ann, upload=-1, download=0, reason="why not", author="eva", made_at=NOW
    )
    page = staff("view_subscriber").get(url("subscriber_usage", ann.pk))
    assert "why not" in text_of(page)
    for name in ("undo", "correct", "extend", "switch_off", "renew_token", "change", "delete"):
        assert (
            url(f"subscriber_{name}", ann.pk) not in page.content.decode().partition("xp-head")[2]
        )


def test_every_question_needs_a_token_against_forgery() -> None:
    ann = a_subscriber(expires_at=NOW)
    operator()
    client = Client(enforce_csrf_checks=True)
    client.cookies = operator_cookies()
    for name in ("extend", "restart", "switch_off", "renew_token", "correct"):
        assert (
            client.post(url(f"subscriber_{name}", ann.pk), told() | {"days": "1"}).status_code
            == 403
        )
    assert not AuditEntry.objects.exists()


def operator_cookies() -> Any:
    from django.contrib.auth.models import User  # noqa: PLC0415

    signed_in = Client()
    signed_in.force_login(User.objects.get())
    return signed_in.cookies


# Plans


def a_plan() -> Plan:
    return Plan.objects.create(name="Month", data_limit=50 * GB, days=30)


def test_a_plan_is_applied_and_renewed_with_a_button(client: Client) -> None:
    plan, ann = a_plan(), a_subscriber()
    answer = press(client, "apply_plan", ann, plan=plan.pk)
    assert messages_of(answer) == ["1 subscriber has the plan."]
    assert messages_of(press(client, "renew", ann)) == ["1 subscriber was renewed."]
    found = Subscriber.objects.get()
    assert (found.plan, found.data_limit, found.expires_at) == (plan, 50 * GB, NOW + 60 * DAY)


def test_a_new_subscriber_with_a_plan_gets_what_is_left_empty(client: Client) -> None:
    plan = a_plan()
    page = client.get(f"{LIST}add/?plan={plan.pk}").content.decode()
    assert f'<option value="{plan.pk}" selected>Month</option>' in page
    told = {
        "name": "Ann",
        "token": "ann-token-123",
        "is_active": "on",
        "limit_reset": "never",
        "reset_day": "1",
    }
    client.post(f"{LIST}add/", told | {"plan": plan.pk, "data_limit": "5 GB"})
    found = Subscriber.objects.get()
    assert (found.plan, found.data_limit, found.expires_at) == (plan, 5 * GB, NOW + 30 * DAY)


def test_the_list_of_plans_leads_to_their_people(client: Client) -> None:
    assert "No plans yet." in client.get("/admin/traffic/plan/").content.decode()
    plan = a_plan()
    a_subscriber("Ann", plan=plan)
    a_subscriber("Bob")
    page = client.get("/admin/traffic/plan/").content.decode()
    assert "50.00 GB" in page
    assert "30 days" in page
    assert f'href="{LIST}?plan={plan.pk}">1</a>' in page
    assert f'href="{LIST}add/?plan={plan.pk}"' in page
    shown = client.get(f"{LIST}?plan={plan.pk}").content.decode()
    assert "Ann" in shown
    assert "Bob" not in shown
