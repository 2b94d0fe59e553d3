"""The admin in Chromium: on a phone and on a desktop, light and dark, with and without scripts."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.tiers import CHROMIUM
from tests.traffic.admin_pages import a_subscriber
from tests.traffic.examples import DAY, GB, HOUR, a_report, stored
from traffic.models import Server, Subscriber

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.browser,
    pytest.mark.slow,
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
DESK, PHONE = ViewportSize(width=1300, height=900), ViewportSize(width=390, height=844)


class Panel(NamedTuple):
    """A panel with a signed-in operator and a few hours of traffic. ``addresses``: the URLs of its pages."""

    origin: str
    cookie: str
    addresses: list[str]


@pytest.fixture
def panel(live_server: LiveServer) -> Panel:
    """Create all data before a browser runs, which keeps this thread from the database."""
    client = Client()
    client.force_login(User.objects.create_superuser("ann", password="right"))
    now = timezone.now()
    anna = a_subscriber(
        "Анна", token="long-token-of-anna-0123456789", data_limit=40 * GB, expires_at=now + 3 * DAY
    )
    for hours in (0, 1, 2, 30, 200):
        then = now - hours * HOUR
        for number in range(3):
            report = a_report(
                then,
                server=f"a-rather-long-name-{number}.vpn.example.com",
                upload=GB,
                download=9 * GB,
            )
            stored(report, a_report(then, user_token=anna.token), now=now)
    return Panel(
        live_server.url,
        client.cookies["sessionid"].value,
        addresses_of(anna, Server.objects.all()[0]),
    )


def addresses_of(subscriber: Subscriber, server: Server) -> list[str]:
    return [
        "/admin/",
        "/admin/traffic/subscriber/",
        f"/admin/traffic/subscriber/{subscriber.pk}/change/",
        f"/admin/traffic/subscriber/{subscriber.pk}/usage/",
        "/admin/traffic/server/",
        f"/admin/traffic/server/{server.pk}/usage/",
        "/admin/operations/apikey/",
        "/admin/subscriptions/directconfig/",
        "/admin/subscriptions/directconfig/add-many/",
        "/admin/subscriptions/subscriptionhit/",
        "/admin/auth/user/",
    ]


@pytest.fixture
def browser(panel: Panel) -> Iterator[Browser]:
    """Depends on the data, so that the browser ends before the data is deleted."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


def inside(browser: Browser, panel: Panel, **look: Any) -> BrowserContext:
    context = browser.new_context(**({"viewport": DESK, "locale": "en-GB"} | look))
    context.add_cookies([{"name": "sessionid", "value": panel.cookie, "url": panel.origin}])
    return context


def opened(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    page.wait_for_load_state("networkidle")
    return page


def test_signing_in_leads_to_the_figures(browser: Browser, panel: Panel) -> None:
    page = browser.new_page(viewport=DESK, locale="en-GB")
    page.goto(f"{panel.origin}/admin/")
    page.fill("#id_username", "ann")
    page.fill("#id_password", "right")
    page.click("#login-form button[type=submit]")
    page.get_by_role("img", name="Upload and download").wait_for()
    assert "As of" in page.inner_text("#content-main")


def test_it_asks_nobody_else_and_has_nothing_to_complain_about(
    browser: Browser, panel: Panel
) -> None:
    context = inside(browser, panel)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for address in panel.addresses:
        page.goto(panel.origin + address)
        page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith((panel.origin, "data:"))] == []
    assert said == []


@pytest.mark.parametrize("language", ["en", "ru"])
def test_it_never_scrolls_sideways_on_a_phone(
    language: str, browser: Browser, panel: Panel
) -> None:
    context = inside(browser, panel, viewport=PHONE, locale=language)
    widths = {
        address: opened(context, panel.origin + address).evaluate(
            "document.documentElement.scrollWidth"
        )
        for address in panel.addresses
    }
    assert {address: width for address, width in widths.items() if width > PHONE["width"]} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_overview_reads_well_for_everybody(scheme: Any, browser: Browser, panel: Panel) -> None:
    page = opened(inside(browser, panel, color_scheme=scheme), f"{panel.origin}/admin/")
    page.locator("#xp-chart-table summary").click()
    found = Axe().run(page, context="#content-main").response["violations"]
    assert [(problem["id"], problem["nodes"][0]["html"]) for problem in found] == []


def test_the_dark_is_dark(browser: Browser, panel: Panel) -> None:
    backgrounds = [
        opened(inside(browser, panel, color_scheme=scheme), f"{panel.origin}/admin/").evaluate(
            "getComputedStyle(document.querySelector('.xp-card')).backgroundColor"
        )
        for scheme in ("light", "dark")
    ]
    assert backgrounds[0] == "rgb(255, 255, 255)" != backgrounds[1]


def test_the_switch_changes_the_language(browser: Browser, panel: Panel) -> None:
    page = opened(inside(browser, panel), f"{panel.origin}/admin/")
    page.get_by_text("ann", exact=True).click()
    page.get_by_role("button", name="Русский").click()
    page.get_by_role("heading", name="Трафик по часам").wait_for()


def test_a_server_is_found_from_the_keyboard(browser: Browser, panel: Panel) -> None:
    page = opened(inside(browser, panel), f"{panel.origin}/admin/")
    page.keyboard.press("Control+k")
    page.keyboard.type("rather-long-name-1")
    page.locator("#command-results-list").get_by_text("a-rather-long-name-1.vpn").click()
    page.wait_for_url("**/admin/traffic/server/*/change/")


def test_it_refreshes_itself_without_a_reload(browser: Browser, panel: Panel) -> None:
    page = opened(inside(browser, panel), f"{panel.origin}/admin/?days=1")
    page.locator("#xp-chart-table summary").click()
    page.evaluate("window.stays = true")
    page.evaluate("document.querySelector('.xp-head').dataset.old = 'yes'")
    with page.expect_request("**/admin/?days=1&fragment=1"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.locator(".xp-head:not([data-old])").wait_for()
    assert page.evaluate("window.stays")
    assert page.locator("#xp-chart-table").get_attribute("open") is not None


def test_a_hidden_tab_asks_for_nothing(browser: Browser, panel: Panel) -> None:
    page = opened(inside(browser, panel), f"{panel.origin}/admin/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_load_state("networkidle")
    assert asked == []


def test_that_refreshing_failed_is_said(browser: Browser, panel: Panel) -> None:
    context = inside(browser, panel)
    page = opened(context, f"{panel.origin}/admin/")
    context.clear_cookies()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.get_by_text("The refresh failed").wait_for()
    assert page.get_by_role("img", name="Upload and download").is_visible()


def test_without_a_script_the_overview_can_be_read(browser: Browser, panel: Panel) -> None:
    page = opened(inside(browser, panel, java_script_enabled=False), f"{panel.origin}/admin/")
    assert page.get_by_role("img", name="Upload and download").is_visible()
    assert page.get_by_role("heading", name="Top servers, 7 days").is_visible()
    assert page.get_by_role("link", name="30 days").is_visible()
