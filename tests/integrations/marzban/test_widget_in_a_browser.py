"""The widget in Chromium, on a page of the structure of Marzban's dashboard, which draws its parts as it likes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from integrations.marzban.models import PanelLink
from operations.api.authentication import create_api_key
from tests.tiers import CHROMIUM
from tests.traffic.admin.test_pages_in_a_browser import ARGUMENTS, PATIENCE
from tests.traffic.examples import GB, a_report, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser, pytest.mark.slow]

PAGE = """<!DOCTYPE html><html lang="en"><head><title>Marzban</title></head><body class="chakra-ui-light">
<div id="root"></div><script src="/page.js"></script>
<script defer src="/api/xpert/marzban/widget.js"></script></body></html>"""
# The page's own program: the widget's place comes and goes with it.
PROGRAM = """
window.draw = () => {
  document.getElementById("root").innerHTML = '<main class="p-8"><div class="chakra-stack"><div><div>Users</div><div>cards</div>' +
    '<div id="filters"><label>Search <input></label></div><div id="users-table"></div></div></div></main>';
};
window.leave = () => { document.getElementById("root").innerHTML = "<form>login</form>"; };
draw();
"""
# The strictest policy that the script's own line needs.
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'none'"
WIDGET = "xpert-external-traffic"


class Dashboard(NamedTuple):
    origin: str
    key: str
    browser: Browser
    errors: list[str]

    def open(self, *, token: str = "", language: str = "en", mode: str = "light") -> Page:
        context = self.browser.new_context(viewport={"width": 1280, "height": 900})
        stored_ = {"token": token or self.key, "i18nextLng": language}
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._heard(said))
        page.route("**/dashboard/", lambda route: self._page(route, mode))
        page.route(
            "**/page.js", lambda route: route.fulfill(body=PROGRAM, content_type="text/javascript")
        )
        page.route("**/empty", lambda route: route.fulfill(body="", content_type="text/html"))
        page.goto(f"{self.origin}/empty")
        for name, value in stored_.items():
            page.evaluate("([name, value]) => localStorage.setItem(name, value)", [name, value])
        page.goto(f"{self.origin}/dashboard/")
        return page

    def _heard(self, said: Any) -> None:
        # Chromium reports each refused request itself.
        if said.type == "error" and "the server responded with" not in said.text:
            self.errors.append(said.text)

    @staticmethod
    def _page(route: Route, mode: str) -> None:
        headers = {"Content-Type": "text/html", "Content-Security-Policy": POLICY}
        route.fulfill(body=PAGE.replace("chakra-ui-light", f"chakra-ui-{mode}"), headers=headers)


@pytest.fixture
def dashboard(live_server: LiveServer, settings: Settings) -> Iterator[Dashboard]:
    """The data come first, because a browser keeps this thread from the database."""
    settings.XPERT_DOMAIN = "your-domain.example"
    now = timezone.now()
    for number in range(7):
        report = a_report(
            now, server=f"vpn{number}.example.com", upload=GB, download=(9 - number) * GB
        )
        stored(report, now=now)
    PanelLink.objects.create(
        name="Marzban",
        url="http://127.0.0.1:1",
        signs_in=True,
        client_certificate="x",
        seen_at=now,
        handed_over_at=now,
    )
    key = create_api_key("reader", "read")[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        found = Dashboard(live_server.url, key, browser, [])
        yield found
        browser.close()
    assert found.errors == []


def test_it_shows_the_traffic_of_each_server_and_the_hand_over(dashboard: Dashboard) -> None:
    page = dashboard.open()
    widget = page.locator(WIDGET)
    expect(widget.locator("h2")).to_have_text("External servers")
    first = widget.locator("tbody tr").first.locator("td")
    expect(first).to_have_text(["vpn0.example.com:443 vless", "1 GB", "9 GB", "10 GB"])
    expect(widget.locator(".figures strong")).to_have_text(["7 GB", "42 GB", "49 GB"])
    expect(widget.locator("footer")).to_contain_text("Handed over to Marzban")
    link = widget.get_by_role("link", name="Open the panel")
    expect(link).to_have_attribute("href", "https://your-domain.example/admin/")
    expect(widget.locator("tbody tr")).to_have_count(5)
    widget.get_by_role("button", name="Show more").click()
    expect(widget.locator("tbody tr")).to_have_count(7)
    expect(widget.get_by_role("button", name="Show fewer")).to_be_focused()
    widget.get_by_role("button", name="24 hours").click()
    expect(widget.get_by_role("button", name="24 hours")).to_have_attribute("aria-pressed", "true")


def test_there_is_one_before_the_filters_whatever_the_page_draws(dashboard: Dashboard) -> None:
    page = dashboard.open()
    place = page.locator(f"{WIDGET} + #filters")
    expect(place).to_have_count(1)
    for _ in range(3):
        page.evaluate("draw()")
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {src: '/api/xpert/marzban/widget.js'}))"
    )
    expect(place).to_have_count(1)
    expect(page.locator(f"{WIDGET} h2")).to_be_visible()
    page.evaluate("leave()")
    expect(page.locator(WIDGET)).to_have_count(0)
    page.evaluate("draw()")
    expect(place).to_have_count(1)


def test_nobody_who_is_not_signed_in_sees_it(dashboard: Dashboard) -> None:
    page = dashboard.open()
    expect(page.locator(WIDGET)).to_have_count(1)
    page.evaluate("localStorage.removeItem('token'); draw()")
    expect(page.locator(WIDGET)).to_have_count(0)


def test_whoever_the_panel_refuses_sees_an_unchanged_page(dashboard: Dashboard) -> None:
    page = dashboard.open()
    expect(page.locator(f"{WIDGET} h2")).to_be_visible()
    page.evaluate("localStorage.setItem('token', 'a-key-that-nobody-has')")
    with page.expect_response("**/widget?*") as refused:
        page.locator(WIDGET).get_by_role("button", name="24 hours").click()
    assert refused.value.status == 401
    expect(page.locator(WIDGET)).to_be_hidden()
    with page.expect_response("**/widget?*") as refused:
        page.reload()
    assert refused.value.status == 401
    expect(page.locator(WIDGET)).to_be_hidden()


@pytest.mark.parametrize(
    ("language", "title", "direction"),
    [
        ("en-US", "External servers", "ltr"),
        ("ru", "Внешние серверы", "ltr"),
        ("fa", "سرورهای خارجی", "rtl"),
        ("zh-cn", "外部服务器", "ltr"),
        ("xx", "External servers", "ltr"),
    ],
)
def test_it_speaks_the_language_of_the_page(
    dashboard: Dashboard, language: str, title: str, direction: str
) -> None:
    section = dashboard.open(language=language).locator(f"{WIDGET} section")
    expect(section.locator("h2")).to_have_text(title)
    expect(section).to_have_attribute("dir", direction)
    assert "undefined" not in (section.text_content() or "")


def test_it_follows_the_page_s_colours_and_language(dashboard: Dashboard) -> None:
    page = dashboard.open(mode="dark")
    section = page.locator(f"{WIDGET} section")
    expect(section).to_have_css("background-color", "rgb(34, 44, 59)")
    page.evaluate(
        "localStorage.setItem('i18nextLng', 'ru'); document.body.className = 'chakra-ui-light'"
    )
    expect(section).to_have_css("background-color", "rgb(249, 250, 251)")
    expect(section.locator("h2")).to_have_text("Внешние серверы")


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_it_is_accessible_and_fits_a_phone(dashboard: Dashboard, mode: str) -> None:
    page = dashboard.open(mode=mode)
    expect(page.locator(f"{WIDGET} h2")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(
        "document.body.style.background = document.body.className.endsWith('dark') ? '#1a202c' : '#fff'"
    )
    found = Axe().run(page, context=WIDGET)
    assert found.response["violations"] == []


def test_every_language_has_every_text(dashboard: Dashboard) -> None:
    """A missing text would be shown as "undefined"."""
    page = dashboard.open()
    script = page.request.get(f"{dashboard.origin}/api/xpert/marzban/widget.js").text()
    texts = script[script.index("const TEXTS = ") : script.index("const STYLE")]
    keys = page.evaluate(
        f"() => {{ {texts} return Object.values(TEXTS).map((each) => Object.keys(each).sort().join()) }}"
    )
    assert len(keys) == 4
    assert len(set(keys)) == 1
