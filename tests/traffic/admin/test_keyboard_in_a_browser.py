"""The lists of the admin by the keyboard alone: nothing is clicked, and the focus is never lost."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.tiers import CHROMIUM
from tests.traffic.admin_pages import a_subscriber
from tests.traffic.examples import DAY, GB, a_report, stored
from traffic.models import Plan

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.browser,
    pytest.mark.slow,
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
# Milliseconds, for a busy machine.
PATIENCE = 60_000
# Stops that a page may have before the one that is looked for.
STOPS = 150
SUBSCRIBERS, SERVERS = "/admin/traffic/subscriber/", "/admin/traffic/server/"
LISTS = pytest.mark.parametrize("address", [SUBSCRIBERS, SERVERS], ids=["subscribers", "servers"])
PHONE = pytest.mark.parametrize("width", [390], ids=["phone"])


class Panel(NamedTuple):
    origin: str
    cookie: str


@pytest.fixture
def panel(live_server: LiveServer) -> Panel:
    """Create all data before a browser runs, which keeps this thread from the database."""
    client = Client()
    client.force_login(User.objects.create_superuser("eva", password="right"))
    now = timezone.now()
    month = Plan.objects.create(name="Month", days=30, data_limit=50 * GB)
    for name in ("Anna", "Boris"):
        person = a_subscriber(name, token=f"long-token-of-{name}", expires_at=now + DAY, plan=month)
        stored(a_report(now, user_token=person.token, download=GB), now=now)
    return Panel(live_server.url, client.cookies["sessionid"].value)


@pytest.fixture
def width() -> int:
    return 1400


@pytest.fixture
def address() -> str:
    return SUBSCRIBERS


@pytest.fixture
def page(panel: Panel, width: int, address: str) -> Iterator[Page]:
    """Depends on the data, so that the browser ends before the data is deleted."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        size = ViewportSize(width=width, height=900)
        context = browser.new_context(
            viewport=size,
            locale="en-GB",
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.add_cookies([{"name": "sessionid", "value": panel.cookie, "url": panel.origin}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.goto(panel.origin + address)
        page.locator(".xp-skip").wait_for(state="attached")
        yield page
        browser.close()


def has_focus(page: Page, selector: str) -> bool:
    return bool(page.evaluate("selector => document.activeElement.matches(selector)", selector))


def tab_to(page: Page, selector: str) -> None:
    for _ in range(STOPS):
        page.keyboard.press("Tab")
        if has_focus(page, selector):
            return
    pytest.fail(f"Tab does not reach {selector}")


@LISTS
def test_the_first_stop_leads_past_the_menu(page: Page) -> None:
    page.keyboard.press("Tab")
    assert has_focus(page, ".xp-skip")
    expect(page.get_by_role("link", name="To the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert not page.evaluate("!!document.activeElement.closest('#nav-sidebar')")


@LISTS
def test_filters_keep_the_focus_and_give_it_back(page: Page) -> None:
    opener = "a[role=button]:has-text('Filters')"
    page.keyboard.press("Tab")
    for _ in range(STOPS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText.startsWith('Filters')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#changelist-filter :focus")).to_have_count(1)
    for _ in range(40):
        page.keyboard.press("Tab")
        assert page.locator("#changelist-filter :focus").count() == 1
    page.keyboard.press("Escape")
    expect(page.locator("#changelist-filter")).to_be_hidden()
    expect(page.locator(opener)).to_be_focused()


def test_columns_are_chosen_and_escape_closes_them(page: Page) -> None:
    tab_to(page, ".xp-columns > summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert has_focus(page, ".xp-columns input")
    page.keyboard.press("Escape")
    expect(page.locator(".xp-columns[open]")).to_have_count(0)
    expect(page.locator(".xp-columns > summary")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    tab_to(page, ".xp-columns button")
    page.keyboard.press("Enter")
    expect(page.locator("th.column-masked_token")).to_have_count(0)


def test_the_link_of_a_row_is_copied(page: Page) -> None:
    tab_to(page, "button[data-link=copy]")
    page.keyboard.press("Enter")
    expect(page.locator("button[data-link=copy]:focus")).to_contain_text("check")
    assert "/api/xpert/sub?user_token=" in page.evaluate("navigator.clipboard.readText()")


def test_the_code_of_a_row_keeps_the_focus_and_gives_it_back(page: Page) -> None:
    tab_to(page, "button[data-link=qr]")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="QR code")
    expect(dialog.get_by_label("URL")).to_be_focused()
    for _ in range(6):
        page.keyboard.press("Tab")
        # Between the last stop and the first one the browser itself has the focus.
        assert page.evaluate("document.activeElement.matches('body, dialog *')")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator("button[data-link=qr]").first).to_be_focused()


@pytest.mark.parametrize("action", ["renew", "extend"])
def test_a_row_is_renewed_and_extended(page: Page, action: str) -> None:
    tab_to(page, f"a.xp-tool[href*='/{action}/']")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{action}/*")
    page.locator(".xp-skip").wait_for(state="attached")
    if action == "extend":
        tab_to(page, "#id_days")
        page.keyboard.type("10")
    tab_to(page, "#content button[type=submit], #content input[type=submit]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 subscriber was")).to_be_visible()


@LISTS
def test_enter_on_a_row_leads_to_the_actions(page: Page) -> None:
    tab_to(page, ".action-select")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    assert has_focus(page, "select[name=action]")
    page.keyboard.press("ArrowDown")
    tab_to(page, "button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Yes, I’m sure")).to_be_visible()


def test_the_search_gives_the_focus_back(page: Page) -> None:
    tab_to(page, ".xp-columns > summary")
    page.keyboard.press("Control+k")
    expect(page.locator("#search-input-command")).to_be_focused()
    page.keyboard.type("Anna")
    expect(page.locator("#command-results-list")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    # The first one empties the field.
    page.keyboard.press("Escape")
    expect(page.locator("#search-input-command")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#search-input-command")).to_be_hidden()
    expect(page.locator(".xp-columns > summary")).to_be_focused()


@PHONE
def test_the_menu_of_a_phone_keeps_the_focus_and_gives_it_back(page: Page) -> None:
    tab_to(page, "[role=button][aria-label=Menu]")
    page.keyboard.press("Enter")
    expect(page.locator("#nav-sidebar :focus")).to_have_count(1)
    page.keyboard.press("Shift+Tab")
    assert page.locator("#nav-sidebar :focus").count() == 1
    page.keyboard.press("Escape")
    expect(page.locator("#nav-sidebar")).to_be_hidden()
    expect(page.locator("[role=button][aria-label=Menu]:focus")).to_have_count(1)
