"""The operator's pages about other panels."""

import html
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client

from integrations.marzban.models import PanelLink
from integrations.pulls import pulling
from integrations.pulls.models import Panel, Reading, Total
from operations.models import AuditEntry
from tests.integrations.pulls.stand_in import HOST, StandIn
from traffic.models import Balance, Reporter, Subscriber

PANELS = "/admin/pulls/panel/"
NEW = {
    "name": "Friend",
    "kind": "marzban",
    "access": "login",
    "url": f"https://{HOST}/",
    "username": "admin",
    "secret": "s3cr3t-password",
    "headers": "",
    "server": "",
    "port": "443",
    "interval": "15",
    "enabled": "on",
}


@pytest.fixture
def operator(transactional_db: None, client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def wired(there: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the admin reads comes from the stand-in, and is read at once."""
    real_read, real_pull = pulling.preview, pulling.pull
    monkeypatch.setattr(pulling, "preview", lambda panel: real_read(panel, network=there.network))
    monkeypatch.setattr(pulling, "pull", lambda pks: real_pull(pks, network=there.network))


def page(browser: Client, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def add(browser: Client, **more: Any) -> Any:
    return browser.post(f"{PANELS}add/", NEW | more)


def errors(response: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = response.context["adminform"].form.errors
    return {field: list(texts) for field, texts in found.items()}


# --- The form -------------------------------------------------------------------


def test_a_new_panel_is_tried_before_anything_is_booked(operator: Client) -> None:
    response = add(operator)
    panel = Panel.objects.get()
    assert response["Location"] == f"{PANELS}{panel.pk}/try/"
    assert (panel.url, panel.secret) == (f"https://{HOST}", "s3cr3t-password")


def test_the_secret_is_stored_encrypted_and_never_shown_again(operator: Client) -> None:
    add(operator, headers="Cookie: gate=s3cr3t-cookie")
    panel = Panel.objects.get()
    assert "s3cr3t" not in panel.sealed_secret + panel.sealed_headers
    assert panel.headers == {"Cookie": "gate=s3cr3t-cookie"}
    for path in (PANELS, f"{PANELS}{panel.pk}/change/", f"{PANELS}{panel.pk}/history/"):
        assert "s3cr3t" not in page(operator, path)


def test_no_secret_is_in_the_audit_trail(operator: Client) -> None:
    add(operator)
    panel = Panel.objects.get()
    path = f"{PANELS}{panel.pk}/change/"
    operator.post(path, NEW | {"url": f"https://{HOST}/s3cr3t-path", "secret": "s3cr3t-2"})
    entries = AuditEntry.objects.filter(target_kind="pulls.panel")
    assert [entry.action for entry in entries] == ["changed", "added"]
    assert "s3cr3t" not in str(list(entries.values()))


def test_an_empty_secret_keeps_the_present_one(operator: Client) -> None:
    add(operator, headers="X-Gate: 1")
    panel = Panel.objects.get()
    operator.post(f"{PANELS}{panel.pk}/change/", NEW | {"name": "Renamed", "secret": ""})
    panel.refresh_from_db()
    assert (panel.name, panel.secret) == ("Renamed", "s3cr3t-password")
    assert panel.headers == {"X-Gate": "1"}


def test_a_dash_removes_the_headers(operator: Client) -> None:
    add(operator, headers="X-Gate: 1")
    panel = Panel.objects.get()
    operator.post(f"{PANELS}{panel.pk}/change/", NEW | {"headers": "-"})
    panel.refresh_from_db()
    assert panel.headers == {}


def forget(browser: Client, panel: Panel) -> Panel:
    assert "the panel is switched off" in page(browser, f"{PANELS}{panel.pk}/forget/")
    browser.post(f"{PANELS}{panel.pk}/forget/")
    return Panel.objects.get(pk=panel.pk)


def test_a_forgotten_key_is_gone_with_the_headers_and_the_panel_is_off(operator: Client) -> None:
    add(operator, headers="Cookie: gate=s3cr3t-cookie")
    panel = Panel.objects.get()
    assert f"{PANELS}{panel.pk}/forget/" in page(operator, f"{PANELS}{panel.pk}/change/")
    sealed = panel.sealed_secret
    panel = forget(operator, panel)
    assert (panel.sealed_secret, panel.sealed_headers, panel.enabled) == ("", "", False)
    assert f"{PANELS}{panel.pk}/forget/" not in page(operator, f"{PANELS}{panel.pk}/change/")
    entry = AuditEntry.objects.filter(target_kind="pulls.panel").latest("id")
    assert set(entry.changes) == {"enabled", "sealed_secret", "sealed_headers"}
    history = page(operator, f"{PANELS}{panel.pk}/history/")
    assert "s3cr3t" not in history
    assert sealed[:8] not in history


def test_forgetting_the_keys_of_many_panels_counts_those_that_had_one(
    operator: Client, panel: Panel
) -> None:
    bare = Panel.objects.create(name="Bare", kind="3x-ui", access="key", url="https://b.example")
    chosen = {"action": "forget", "post": "yes", "_selected_action": [panel.pk, bare.pk]}
    answer = operator.post(PANELS, chosen, follow=True)
    assert "The key of 1 panel is forgotten." in answer.content.decode()
    bare.refresh_from_db()
    assert bare.enabled


def test_a_panel_without_its_key_can_be_edited_but_not_switched_on(
    operator: Client, panel: Panel
) -> None:
    path = f"{PANELS}{forget(operator, panel).pk}/change/"
    off = NEW | {"name": "Renamed", "secret": "", "enabled": ""}
    assert operator.post(path, off).status_code == 302
    assert "secret" in errors(operator.post(path, off | {"enabled": "on"}))
    chosen = {"action": "switch_on", "_selected_action": [panel.pk]}
    answer = operator.post(PANELS, chosen, follow=True)
    assert "Renamed stays off" in html.unescape(answer.content.decode())
    panel.refresh_from_db()
    assert (panel.name, panel.enabled) == ("Renamed", False)


def test_a_panel_without_its_key_is_not_asked(
    operator: Client, panel: Panel, there: StandIn
) -> None:
    forget(operator, panel)
    (outcome,) = pulling.pull([panel.pk], network=there.network)
    assert (outcome.state, outcome.error, there.asked) == ("failed", "no_secret", [])


def test_a_key_that_is_entered_again_is_used(
    operator: Client, panel: Panel, there: StandIn
) -> None:
    forget(operator, panel)
    operator.post(f"{PANELS}{panel.pk}/change/", NEW)
    assert pulling.pull([panel.pk], network=there.network)[0].state == "read"


def test_the_secret_of_one_address_is_not_sent_to_another(operator: Client) -> None:
    add(operator)
    panel = Panel.objects.get()
    elsewhere = {"url": "https://evil.example.com", "secret": ""}
    response = operator.post(f"{PANELS}{panel.pk}/change/", NEW | elsewhere)
    assert "secret" in errors(response)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"secret": ""}, "secret"),
        ({"username": ""}, "username"),
        ({"access": "key"}, "access"),
        ({"kind": "hiddify"}, "access"),
        ({"kind": "3x-ui", "access": "link"}, "access"),
        ({"access": "link"}, "subscriber"),
        ({"url": "http://panel.example.com"}, "url"),
        ({"url": "https://10.0.0.5"}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"server": "not a host"}, "server"),
        ({"headers": "no header"}, "headers"),
        ({"headers": "A: b\r\nc"}, "headers"),
        ({"interval": "4"}, "interval"),
        ({"port": "0"}, "port"),
    ],
)
def test_what_the_form_refuses(operator: Client, more: dict[str, str], field: str) -> None:
    assert list(errors(add(operator, **more))) == [field]
    assert not Panel.objects.exists()


def test_a_private_panel_has_to_be_allowed(operator: Client) -> None:
    add(operator, url="http://10.0.0.5:8000", allow_private="on")
    assert Panel.objects.get().url == "http://10.0.0.5:8000"


def test_a_linked_panel_is_refused_when_it_is_saved(operator: Client) -> None:
    PanelLink.objects.create(name="Link", url=f"https://{HOST}")
    (text,) = errors(add(operator))["url"]
    assert "linked" in text


def test_people_who_are_read_already_are_refused(operator: Client, panel: Panel) -> None:
    (text,) = errors(add(operator))["url"]
    assert text.startswith("Friend reads these people already")


def test_a_link_needs_no_secret(operator: Client, alice: Subscriber) -> None:
    link = {"access": "link", "url": f"https://{HOST}/sub/t0k3n/", "subscriber": str(alice.pk)}
    add(operator, **link, secret="left over")
    panel = Panel.objects.get()
    assert (panel.subscriber, panel.sealed_secret, panel.username) == (alice, "", "")
    assert "t0k3n" not in page(operator, PANELS)


def test_another_address_begins_with_a_baseline(
    operator: Client, panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("alice", 10)
    pulling.pull([panel.pk], network=there.network)
    path = f"{PANELS}{panel.pk}/change/"
    operator.post(path, NEW | {"url": f"https://{HOST}/moved"})
    assert not Reading.objects.exists()
    assert not Total.objects.exists()


def used(person: Subscriber) -> int:
    counted = Balance.objects.filter(pk=person.pk).values_list("life_download", flat=True)
    return counted.first() or 0


def test_a_link_that_is_given_to_another_person_and_back_counts_nothing_again(
    operator: Client, panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    bob = Subscriber.objects.create(name="bob")
    url = f"https://{HOST}/sub/friend"
    path = f"{PANELS}{panel.pk}/change/"
    with time_machine.travel(datetime(2026, 11, 29, tzinfo=UTC), tick=False) as clock:
        for person, total in (
            (alice, 10),
            (alice, 30),
            (bob, 37),
            (bob, 38),
            (alice, 40),
            (alice, 45),
        ):
            operator.post(path, NEW | {"access": "link", "url": url, "subscriber": str(person.pk)})
            there.has("friend", total)
            assert pulling.pull([panel.pk], network=there.network)[0].state == "read"
            clock.shift(60)
    assert (used(alice), used(bob)) == (20 + 5, 1)


def test_a_panel_that_is_read_for_all_after_a_link_counts_nothing_again(
    operator: Client, panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    link = {"access": "link", "url": f"https://{HOST}/sub/alice", "subscriber": str(alice.pk)}
    path = f"{PANELS}{panel.pk}/change/"
    for form, total in ((link, 10), (link, 30), ({}, 37), ({}, 38)):
        operator.post(path, NEW | form)
        there.has("alice", total)
        pulling.pull([panel.pk], network=there.network)
    assert used(alice) == 20 + 1


# --- Trying, reading, switching -----------------------------------------------------


@pytest.mark.usefixtures("wired")
def test_a_trial_shows_what_would_be_booked_and_books_nothing(
    operator: Client, panel: Panel, there: StandIn, alice: Subscriber
) -> None:
    there.has("alice", 0)
    pulling.pull([panel.pk])
    there.has("alice", 3 * 2**29)
    there.has("stranger", 7)
    before = list(Reading.objects.values()), list(Total.objects.values())
    shown = html.unescape(operator.post(f"{PANELS}{panel.pk}/try/").content.decode())
    text = " ".join(shown.split())
    assert "1.50 GB" in text
    assert "has grown" in text
    assert "Unknown people are kept until somebody adopts them." in text
    assert "first reading: remembered, not counted" in text
    assert before == (list(Reading.objects.values()), list(Total.objects.values()))


@pytest.mark.usefixtures("wired")
def test_a_trial_that_fails_says_why(operator: Client, panel: Panel) -> None:
    Panel.objects.update(url="https://nowhere.example.com")
    shown = operator.post(f"{PANELS}{panel.pk}/try/").content.decode()
    assert "The host name was not found." in shown


def test_the_page_of_a_trial_asks_nobody_before_its_button_is_pressed(
    operator: Client, panel: Panel, there: StandIn
) -> None:
    assert "Nothing is booked" in page(operator, f"{PANELS}{panel.pk}/try/")
    assert there.asked == []


@pytest.mark.usefixtures("wired")
def test_read_now_reads_the_panel(
    operator: Client, panel: Panel, there: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "pull_soon", pulling.pull)
    there.has("alice", 1)
    assert operator.post(f"{PANELS}{panel.pk}/read/").status_code == 302
    assert Reading.objects.count() == 1
    assert operator.get(f"{PANELS}{panel.pk}/read/").status_code == 405


def test_a_viewer_sees_no_address_and_may_not_read(
    transactional_db: None, panel: Panel, client: Client
) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_panel"))
    client.force_login(viewer)
    Panel.objects.update(url=f"https://{HOST}/s3cr3t-path")
    assert "s3cr3t" not in page(client, f"{PANELS}{panel.pk}/change/")
    for name in ("try", "read", "forget"):
        assert client.post(f"{PANELS}{panel.pk}/{name}/").status_code == 403


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "not read yet"),
        ({"last_error": "http_401", "failures": 2}, "failed 2 times"),
        ({"last_error": "http_401", "failures": 2}, "The panel refuses the key or password"),
        ({"last_error": "http_302", "failures": 1}, "The panel redirects (302)"),
        ({"last_error": "http_500", "failures": 1}, "The panel answers with status 500."),
        ({"enabled": False}, "switched off"),
        ({"last_success": "2026-01-01T00:00:00Z"}, "fine"),
    ],
)
def test_the_list_says_how_each_panel_is(
    operator: Client, panel: Panel, fields: dict[str, Any], text: str
) -> None:
    Panel.objects.update(**fields)
    assert text in page(operator, PANELS)


def test_a_panel_that_is_switched_off_or_deleted_is_not_expected_to_report(
    operator: Client, panel: Panel, there: StandIn
) -> None:
    pulling.pull([panel.pk], network=there.network)
    reporter = Reporter.objects.get(origin=panel.origin)
    assert reporter.ended_at is None
    operator.post(PANELS, {"action": "switch_off", "_selected_action": [panel.pk]})
    reporter.refresh_from_db()
    assert reporter.ended_at is not None
    Reporter.objects.update(ended_at=None)
    operator.post(f"{PANELS}{panel.pk}/delete/", {"post": "yes"})
    reporter.refresh_from_db()
    assert not Panel.objects.exists()
    assert reporter.ended_at is not None


def test_the_list_asks_the_database_no_more_for_more_panels(
    operator: Client, panel: Panel, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        Panel.objects.create(
            name=f"P{number}", kind="3x-ui", access="key", url=f"https://p{number}.example"
        )
    with django_assert_max_num_queries(12):
        operator.get(PANELS)


def test_without_panels_the_list_says_how_to_begin(operator: Client) -> None:
    assert "No panels yet. Add a 3x-ui, Marzban" in page(operator, PANELS)
