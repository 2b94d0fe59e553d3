"""The work of an operator in Chromium: find a subscriber, extend, correct, download figures, import people."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.tiers import CHROMIUM
from tests.traffic.admin_pages import a_subscriber
from tests.traffic.examples import DAY, GB, a_report, stored
from traffic.models import Server

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.browser,
    pytest.mark.slow,
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
# Timeout for a busy machine in milliseconds. A page that is already loaded costs no time.
PATIENCE = 180_000
LIST = "/admin/traffic/subscriber/"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


class Panel(NamedTuple):
    """Anna has used 12 GB in two days on two servers; Boris has used nothing."""

    origin: str
    cookie: str
    anna: str
    server: str


@pytest.fixture
def panel(live_server: LiveServer) -> Panel:
    """Create all data before a browser runs, which keeps this thread from the database."""
    client = Client()
    client.force_login(User.objects.create_superuser("eva", password="right"))
    now = timezone.now()
    anna = a_subscriber(
        "Anna", token="long-token-of-anna", data_limit=40 * GB, expires_at=now + 3 * DAY
    )
    a_subscriber("Boris")
    for host, days in (("vpn1.example.com", 0), ("vpn2.example.com", 1)):
        report = a_report(
            now - days * DAY, user_token=anna.token, server=host, upload=GB, download=5 * GB
        )
        stored(report, now=now)
    server = Server.objects.get(host="vpn1.example.com")
    return Panel(
        live_server.url,
        client.cookies["sessionid"].value,
        f"{live_server.url}{LIST}{anna.pk}/",
        f"{live_server.url}/admin/traffic/server/{server.pk}/",
    )


class Desk(NamedTuple):
    """A signed-in browser. ``complaints``: errors in its console, and requests to other hosts."""

    panel: Panel
    context: BrowserContext
    complaints: list[str]

    def open(self, address: str) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._heard(message))
        page.on("request", lambda request: self._asked(request))
        page.goto(address)
        return page

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.panel.origin, "data:", "blob:")):
            self.complaints.append(request.url)


@pytest.fixture
def look() -> dict[str, Any]:
    """Options of the browser; a test may override them."""
    return {"viewport": {"width": 1300, "height": 900}, "locale": "en-GB"}


@pytest.fixture
def desk(panel: Panel, look: dict[str, Any]) -> Iterator[Desk]:
    """Depends on the data, so that the browser ends before the data is deleted."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(**look)
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        context.add_cookies([{"name": "sessionid", "value": panel.cookie, "url": panel.origin}])
        desk = Desk(panel, context, [])
        yield desk
        browser.close()
    assert desk.complaints == []


@pytest.fixture
def fifty(panel: Panel) -> None:
    """So many that a page of the list is full."""
    term = timezone.now() + 9 * DAY
    for n in range(50):
        a_subscriber(f"Konstantin Konstantinov {n}", data_limit=100 * GB, expires_at=term)


@pytest.mark.usefixtures("fifty")
@pytest.mark.parametrize("look", [PHONE | {"locale": "ru-RU"}, PHONE | {"locale": "en-GB"}])
def test_a_page_of_the_list_is_short_on_a_phone(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.origin}{LIST}")
    expect(page.locator("#result_list .data-row")).to_have_count(50)
    assert page.evaluate("document.documentElement.scrollHeight") < 6000


def test_a_subscriber_is_found_and_extended(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.origin}{LIST}")
    page.fill("#searchbar", "ann")
    page.press("#searchbar", "Enter")
    expect(page.get_by_role("link", name="Boris")).to_have_count(0)
    page.get_by_role("link", name="Anna", exact=True).click()
    page.get_by_role("link", name="Extend").click()
    page.fill("#id_days", "10")
    page.get_by_role("button", name="Extend").click()
    expect(page.get_by_text("1 subscriber was extended.")).to_be_visible()
    expect(page.get_by_role("row", name="eva Extended")).to_be_visible()


def test_usage_is_corrected_and_the_correction_undone(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.anna}usage/")
    used = page.locator(".xp-figures").first
    expect(used).to_contain_text("12.00 GB")
    page.get_by_role("link", name="Correct the usage").click()
    page.fill("#id_download", "2 GB")
    page.fill("#id_reason", "counted twice")
    page.get_by_role("button", name="Correct").click()
    expect(used).to_contain_text("10.00 GB")
    page.get_by_role("link", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    expect(used).to_contain_text("12.00 GB")


def test_a_form_shows_what_it_would_change_while_it_is_filled_in(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.anna}correct/")
    page.fill("#id_download", "2 GB")
    expect(page.locator("#xp-preview")).to_contain_text("12.00 GB →becomes 10.00 GB")


def test_an_action_on_many_shows_what_it_would_change_while_it_is_filled_in(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.origin}{LIST}")
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").first.select_option("set_limit")
    page.get_by_role("button", name="Run").first.click()
    page.fill("#id_data_limit", "64 GB")
    expect(page.locator("#xp-preview")).to_contain_text("40.00 GB →becomes 64.00 GB")
    expect(page.locator("#xp-preview")).to_contain_text("unlimited →becomes 64.00 GB")


def test_many_are_switched_off_after_a_question(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.origin}{LIST}")
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").first.select_option("switch_off")
    page.get_by_role("button", name="Run").first.click()
    expect(page.get_by_text("Switch 2 subscribers off?")).to_be_visible()
    page.get_by_role("button", name="Yes, I’m sure").click()
    expect(page.get_by_text("2 subscribers are switched off.")).to_be_visible()


def test_the_listed_rows_are_downloaded(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.origin}{LIST}?q=ann")
    with page.expect_download() as found:
        page.get_by_role("navigation", name="Download").get_by_role(
            "link", name="CSV"
        ).first.click()
    assert found.value.suggested_filename.startswith("subscribers-")
    with Path(found.value.path()).open(encoding="utf-8-sig", newline="") as file:
        assert [(row["name"], row["life_used"]) for row in csv.DictReader(file)] == [
            ("Anna", str(12 * GB))
        ]


def test_subscribers_are_brought_in_from_a_file(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("name,data_limit\nCleo,5 GB\nDora,much\n")
    page = desk.open(f"{desk.panel.origin}{LIST}import/")
    page.locator("input[type=file]").first.set_input_files(file)
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("1 subscriber will be created")).to_be_visible()
    expect(page.get_by_text("Line 3: data_limit")).to_be_visible()
    page.get_by_role("button", name="Create them").click()
    expect(page.get_by_role("link", name="Cleo", exact=True)).to_be_visible()


def test_the_second_click_of_a_double_click_sends_nothing(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.origin}/admin/operations/apikey/add/")
    sent = page.evaluate(
        """() => {
            const submit = () => new SubmitEvent("submit", { bubbles: true, cancelable: true });
            return [1, 2].map(() => document.querySelector("#apikey_form").dispatchEvent(submit()));
        }"""
    )
    assert sent == [True, False]


def test_the_subscription_address_can_be_copied(desk: Desk) -> None:
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=desk.panel.origin)
    page = desk.open(f"{desk.panel.anna}usage/")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="✓")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").endswith(
        "/api/xpert/sub?user_token=long-token-of-anna"
    )


def addresses(panel: Panel) -> list[str]:
    subscriber = [
        panel.anna + name
        for name in ("usage/", "extend/", "correct/", "history/", "change/", "delete/")
    ]
    lists = [panel.origin + LIST + name for name in ("", "import/", "?q=nobody", "?shown=deleted")]
    return [*subscriber, *lists, f"{panel.server}usage/", f"{panel.origin}/admin/traffic/server/"]


@pytest.mark.parametrize(
    "look", [{"color_scheme": "light"}, {"color_scheme": "dark"}], ids=["light", "dark"]
)
def test_pages_read_well_for_everybody(desk: Desk) -> None:
    """No serious violation of the WCAG rules that a machine can check."""
    found: list[tuple[str, str, str]] = []
    for address in addresses(desk.panel):
        page = desk.open(address)
        page.wait_for_load_state("networkidle")
        problems = Axe().run(page).response["violations"]
        serious = (problem for problem in problems if problem["impact"] in {"serious", "critical"})
        found += [(address, problem["id"], problem["nodes"][0]["html"]) for problem in serious]
        page.close()
    assert found == []


@pytest.mark.parametrize(
    "look",
    [
        {"viewport": {"width": 390, "height": 844}, "locale": language}
        for language in ("en-GB", "ru-RU")
    ],
    ids=["en", "ru"],
)
def test_nothing_scrolls_sideways_on_a_phone(desk: Desk) -> None:
    wide = {}
    for address in addresses(desk.panel):
        page = desk.open(address)
        page.wait_for_load_state("networkidle")
        wide[address] = page.evaluate("document.documentElement.scrollWidth")
        page.close()
    assert {address: width for address, width in wide.items() if width > 390} == {}


@pytest.mark.parametrize(
    "look", [{"viewport": {"width": width, "height": 844}} for width in (390, 1024, 1300)]
)
def test_a_form_with_two_lists_to_choose_from_does_not_scroll_sideways(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.origin}/admin/auth/group/add/")
    page.locator(".selector-chosen").wait_for()
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("look", [{"java_script_enabled": False}], ids=["no script"])
def test_without_a_script_a_subscriber_is_still_extended(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.anna}extend/")
    page.fill("#id_days", "3")
    page.get_by_role("button", name="Extend").click()
    expect(page.get_by_role("row", name="eva Extended")).to_be_visible()


@pytest.mark.parametrize("look", [{"viewport": {"width": 390, "height": 844}}], ids=["phone"])
def test_a_month_becomes_cards_where_its_table_does_not_fit(desk: Desk) -> None:
    page = desk.open(f"{desk.panel.origin}{LIST}bill/")
    box = page.locator(".xp-table")
    expect(box).to_contain_class("xp-stacked")
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
    expect(page.get_by_role("row").filter(has_text="Anna")).to_contain_text("12")
    label = "cell => getComputedStyle(cell, '::before').content"
    assert page.locator("tbody td").first.evaluate(label) == '"Upload:"'
    page.set_viewport_size({"width": 1300, "height": 900})
    expect(box).not_to_contain_class("xp-stacked")
