"""The subscriber's page in Chromium: on a phone and on a desktop, with and without JavaScript."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.subscriptions.examples import SUB, subscriber
from tests.tiers import CHROMIUM
from traffic.ledger.recording import record
from traffic.reports import Report

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.browser,
    pytest.mark.slow,
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
TOKEN = "long-token-0123456789abcdefghijklmnopqrstuvwxyz"


def open_everything(page: Page) -> None:
    for summary in page.locator("summary").all():
        summary.click()


@pytest.fixture
def address(live_server: LiveServer, settings: Settings, tmp_path: Path) -> str:
    """With an agent to fetch, the page of a subscriber with a limit, an expiry and traffic on more servers than there are colours."""
    settings.PUBLIC_FOLDER = tmp_path
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "xpert-agent.pyz.sha256").write_text(f"{'ab' * 32}  xpert-agent.pyz\n")
    now = timezone.now()
    subscriber(
        TOKEN,
        name="Анна",
        data_limit=10**13,
        limit_reset="monthly",
        expires_at=now + timedelta(days=9),
    )
    reports = [
        Report(
            TOKEN,
            f"a-rather-long-name-{n % 8}.vpn.example.com",
            443,
            "shadowsocks",
            n,
            10**10 + n,
            moment,
        )
        for n in range(120)
        for moment in [int((now - timedelta(hours=5 * n)).timestamp())]
    ]
    record(reports, now)
    return f"{live_server.url}{SUB}"


@pytest.fixture
def browser(address: str) -> Iterator[Browser]:
    """It depends on the data fixtures, so that it ends before them: while it runs, this thread cannot use the database."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


def visit(browser: Browser, address: str, language: str = "en", **look: Any) -> Page:
    page = browser.new_page(**({"viewport": {"width": 1300, "height": 900}} | look))
    page.goto(f"{address}?{urlencode({'user_token': TOKEN, 'lang': language})}")
    return page


def test_it_never_scrolls_sideways(browser: Browser, address: str) -> None:
    for language in ("en", "ru", "fa"):
        page = visit(browser, address, language)
        open_everything(page)
        for width in (320, 390, 1300):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width, language


def test_it_reads_well_for_everybody(browser: Browser, address: str) -> None:
    for language, scheme, width in (
        ("ru", "light", 390),
        ("fa", "dark", 390),
        ("en", "dark", 1300),
    ):
        page = visit(
            browser,
            address,
            language,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
        )
        open_everything(page)
        assert [found["id"] for found in Axe().run(page).response["violations"]] == []


def test_it_loads_nothing_but_its_own_files_and_breaks_no_policy(
    browser: Browser, address: str
) -> None:
    page = browser.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{address}?user_token={TOKEN}")
    page.wait_for_load_state("networkidle")
    origin = address.removesuffix(SUB)
    assert {url for url in asked if not url.startswith(f"{origin}/static/subscriptions/")} == {
        f"{address}?user_token={TOKEN}"
    }
    assert said == []


def test_the_styles_arrive(browser: Browser, address: str) -> None:
    light, dark = (visit(browser, address, color_scheme=scheme) for scheme in ("light", "dark"))
    colours = [
        page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)
    ]
    assert len({*colours, "rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"}) == 4


def test_the_button_copies_the_address(browser: Browser, address: str) -> None:
    page = browser.new_context(permissions=["clipboard-read", "clipboard-write"]).new_page()
    page.goto(f"{address}?user_token={TOKEN}&lang=en")
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == f"{address}?user_token={TOKEN}"


def test_without_a_script_all_can_be_read_and_the_button_is_not_there(
    browser: Browser, address: str
) -> None:
    page = visit(browser, address, java_script_enabled=False)
    assert page.get_by_role("button", name="Copy").count() == 0
    assert (
        page.get_by_role("textbox", name="Subscription address").input_value()
        == f"{address}?user_token={TOKEN}"
    )
    assert page.get_by_role("img", name="Usage by day and server").is_visible()
    assert page.get_by_role("img", name="QR code of the subscription address").is_visible()
    assert page.get_by_role("heading", name="Subscription is active").is_visible()
    open_everything(page)
    assert page.get_by_role("columnheader", name="Total").is_visible()


def test_a_day_or_a_language_is_one_click_away(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    page.get_by_role("link", name="7 days").click()
    page.get_by_role("link", name="Русский").click()
    assert page.get_by_role("link", name="7 дней").get_attribute("aria-current") == "true"
    assert page.title() == "Xpert Panel"
