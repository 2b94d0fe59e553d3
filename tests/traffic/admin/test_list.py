"""The list of subscribers: what a row offers, what stands above it, and what is done to many."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from operations.formatting import written_last_day
from operations.models import AuditEntry
from tests.traffic.admin_pages import (
    a_subscriber,
    act,
    form_of,
    listed,
    messages_of,
    operator,
    staff,
    text_of,
    url,
)
from tests.traffic.examples import DAY, GB, NOW, a_report, stored
from traffic.admin.last_day import LastDayField
from traffic.models import Plan, Subscriber

pytestmark = pytest.mark.django_db

LIST = "/admin/traffic/subscriber/"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


# Rows


def test_a_row_offers_what_would_change_its_subscriber(client: Client) -> None:
    plan = Plan.objects.create(name="Month", days=30)
    ann = a_subscriber("Ann", plan=plan, expires_at=NOW + DAY)
    bob = a_subscriber("Bob")
    page = client.get(LIST).content.decode()
    assert url("subscriber_renew", ann.pk) in page
    assert url("subscriber_extend", ann.pk) in page
    assert url("subscriber_renew", bob.pk) not in page
    assert url("subscriber_extend", bob.pk) not in page


def test_users_who_may_only_view_are_offered_nothing_in_a_row() -> None:
    a_subscriber(expires_at=NOW + DAY)
    assert "xp-tools" not in staff("view_subscriber").get(LIST).content.decode()


# Links


def test_a_link_is_handed_out_on_request_and_noted() -> None:
    ann = a_subscriber()
    clerk = staff("view_subscriber", "hand_out_link")
    page = clerk.get(LIST).content.decode()
    assert 'data-link="qr"' in page
    assert ann.token not in page
    found = clerk.post(url("subscriber_link", ann.pk), headers={"accept": "application/json"})
    assert found.json()["url"].endswith(f"user_token={ann.token}")
    assert "<svg" in found.json()["code"]
    assert "no-store" in found["Cache-Control"]
    entry = AuditEntry.objects.get()
    assert (entry.author, entry.action, entry.target_id) == ("staff", "link shown", ann.pk)


def test_without_a_script_the_link_is_on_a_page() -> None:
    ann = a_subscriber()
    page = staff("view_subscriber", "hand_out_link").post(
        url("subscriber_link", ann.pk), headers={"accept": "text/html"}
    )
    assert ann.token in page.content.decode()


def test_a_link_needs_a_permission_of_its_own_and_a_post() -> None:
    ann = a_subscriber()
    editor = staff("view_subscriber", "change_subscriber")
    assert "data-link" not in editor.get(LIST).content.decode()
    assert editor.post(url("subscriber_link", ann.pk)).status_code == 403
    assert operator().get(url("subscriber_link", ann.pk)).status_code == 405
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("may", [True, False])
def test_a_download_has_links_for_those_who_may_hand_them_out(may: bool) -> None:
    ann = a_subscriber()
    reader = staff("view_subscriber", *(["hand_out_link"] if may else []))
    file = b"".join(reader.get(f"{LIST}export/list.csv").streaming_content).decode()  # type: ignore[attr-defined]
    assert ("subscription_url" in file, ann.token in file) == (may, may)


def test_a_new_token_shows_its_link_and_many_where_they_are(client: Client) -> None:
    ann, bob = a_subscriber("Ann"), a_subscriber("Bob")
    answer = client.post(url("subscriber_renew_token", ann.pk), follow=True)
    ann.refresh_from_db()
    assert any(ann.token in message for message in messages_of(answer))
    answer = act(client, "subscriber", "renew_token", ann, bob, post="yes")
    assert f"export/list.csv?id__in={ann.pk},{bob.pk}" in " ".join(messages_of(answer))


# Above the list


def test_chips_show_what_is_chosen_and_lead_back(client: Client) -> None:
    plan = Plan.objects.create(name="Month")
    a_subscriber("Ann", plan=plan, is_active=False)
    a_subscriber("Bob")
    page = client.get(f"{LIST}?state=disabled&plan={plan.pk}")
    assert listed(page) == ["Ann"]
    chips = {chip.label: chip for chip in page.context["chips"]}
    assert [label for label, chip in chips.items() if chip.is_chosen] == [
        "switched off",
        "plan: Month",
    ]
    assert chips["plan: Month"].query == "?state=disabled"


def test_sums_are_those_of_all_that_is_listed(client: Client) -> None:
    a_subscriber("Ann", token="ann-token-1")
    a_subscriber("Bob", token="bob-token-1", is_active=False)
    stored(
        a_report(user_token="ann-token-1", upload=GB),
        a_report(user_token="bob-token-1", upload=2 * GB),
    )
    assert "subscribers 2 this period 3.00 GB in all 3.00 GB" in text_of(client.get(LIST))
    assert "subscribers 1 this period 1.00 GB" in text_of(client.get(LIST, {"state": "active"}))


def test_columns_are_chosen_and_remembered(client: Client) -> None:
    a_subscriber()
    answer = client.post(f"{LIST}columns/", {"column": ["state", "used"], "query": "state=active"})
    assert answer["Location"] == f"{LIST}?state=active"
    page = client.get(LIST).content.decode()
    assert "column-used" in page
    assert "column-life" not in page
    assert "column-title" in page


@pytest.mark.parametrize("columns", ["", "nothing", "title.token.<script>"])
def test_a_strange_cookie_hides_no_name(columns: str, client: Client) -> None:
    a_subscriber()
    client.cookies["xp-columns-subscriber"] = columns
    assert "column-title" in client.get(LIST).content.decode()


# Now → then


def test_extending_says_now_and_then_before_it_acts(client: Client) -> None:
    ann = a_subscriber(expires_at=datetime(2024, 3, 1, tzinfo=UTC))
    page = client.get(url("subscriber_extend", ann.pk))
    assert "last day 2024-02-29 → becomes 2024-03-30" in text_of(page)
    page = client.post(url("subscriber_extend", ann.pk), {"days": "1", "preview": "1"})
    assert "last day 2024-02-29 → becomes 2024-03-01" in text_of(page)
    ann.refresh_from_db()
    assert ann.expires_at == datetime(2024, 3, 1, tzinfo=UTC)


def test_correcting_says_now_and_then_before_it_acts(client: Client) -> None:
    ann = a_subscriber(token="ann-token-1")
    stored(a_report(user_token="ann-token-1", upload=5 * GB))
    told = {"direction": "-", "upload": "2 GB", "in_period": "on", "preview": "1"}
    page = text_of(client.post(url("subscriber_correct", ann.pk), told))
    assert "used in this period 5.00 GB → becomes 3.00 GB" in page
    assert "used in all 5.00 GB → becomes 3.00 GB" in page
    assert not AuditEntry.objects.exists()


def test_renewing_many_says_now_and_then_of_each(client: Client) -> None:
    plan = Plan.objects.create(name="Month", days=30)
    ann = a_subscriber("Ann", plan=plan, expires_at=datetime(2024, 3, 1, tzinfo=UTC))
    bob = a_subscriber("Bob")
    page = text_of(act(client, "subscriber", "renew", ann, bob))
    assert "Ann last day 2024-02-29 → becomes 2024-03-30" in page
    assert "Bob Nothing changes." in page


# Many


@pytest.mark.parametrize(
    ("action", "told", "changed"),
    [
        ("set_limit", {"data_limit": "5 GB"}, {"data_limit": 5 * GB}),
        ("set_limit", {"data_limit": ""}, {"data_limit": None}),
        (
            "set_reset",
            {"limit_reset": "monthly", "reset_day": "7", "reset_days": "30"},
            {"limit_reset": "monthly", "reset_day": 7},
        ),
        ("add_note", {"line": "paid in cash"}, {"note": "old\npaid in cash"}),
    ],
)
def test_many_are_changed_at_once(
    action: str, told: dict[str, str], changed: dict[str, Any], client: Client
) -> None:
    ann, bob = (a_subscriber(name, data_limit=GB, note="old") for name in ("Ann", "Bob"))
    cid = a_subscriber("Cid", data_limit=GB, note="old")
    act(client, "subscriber", action, ann, bob, post="yes", **told)
    assert set(Subscriber.objects.filter(**changed)) == {ann, bob}
    assert set(AuditEntry.objects.values_list("target_id", flat=True)) == {ann.pk, bob.pk}
    assert cid.pk


# The last day


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        (datetime(2027, 1, 31, 21, tzinfo=UTC), "2027-01-31"),
        (datetime(2027, 1, 31, 20, 59, tzinfo=UTC), "2027-01-31 23:59 Europe/Moscow"),
        (datetime(2027, 1, 31, 21, 1, tzinfo=UTC), "2027-02-01 00:01 Europe/Moscow"),
    ],
)
def test_an_end_is_shown_as_the_last_day_in_the_panels_time_zone(
    end: datetime, shown: str, settings: Settings
) -> None:
    settings.XPERT_TIME_ZONE = "Europe/Moscow"
    assert written_last_day(end) == shown


def test_a_day_is_entered_and_lasts_to_its_end(settings: Settings) -> None:
    settings.XPERT_TIME_ZONE = "Europe/Moscow"
    assert LastDayField().clean("2027-01-31") == datetime(2027, 1, 31, 21, tzinfo=UTC)


def test_an_end_within_a_day_stays_when_its_day_is_not_edited(client: Client) -> None:
    end = datetime(2027, 1, 31, 12, 30, tzinfo=UTC)
    ann = a_subscriber(expires_at=end)
    client.post(url("subscriber_change", ann.pk), form_of(ann, name="Anna"))
    ann.refresh_from_db()
    assert (ann.name, ann.expires_at) == ("Anna", end)


@pytest.mark.parametrize("text", ["31.02.2027", "soon", "9999-12-31"])
def test_what_is_no_day_is_refused(text: str, client: Client) -> None:
    ann = a_subscriber()
    page = client.post(url("subscriber_change", ann.pk), form_of(ann, expires_at=text))
    assert "Write a day like 2027-01-31." in page.content.decode()
