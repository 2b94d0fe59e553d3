"""Every page of the admin in Chromium: axe finds nothing, and a phone shows everything."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from operations import audit
from subscriptions.sources import refreshing
from tests.one_of_each import one_of_each, pages
from tests.tiers import CHROMIUM

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.browser,
    pytest.mark.slow,
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
LOOKS = {
    "light Russian": {"color_scheme": "light", "locale": "ru-RU"},
    "dark English": {"color_scheme": "dark", "locale": "en-GB"},
}


class Panel(NamedTuple):
    origin: str
    cookie: str
    addresses: list[str]


@pytest.fixture
def panel(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Panel:
    """Create all data before a browser runs, which keeps this thread from the database."""
    monkeypatch.setattr(refreshing, "refresh_soon", lambda pks: None)
    operator = User.objects.create_superuser("ева", password="right")
    objects = one_of_each(operator)
    assert set(objects) == {
        audit.kind_of(model()).replace(".", "_") for model in admin.site._registry
    }
    client = Client()
    client.force_login(operator)
    addresses = sorted({route.url for route in pages(objects)})
    found = [address for address in addresses if is_page(client, address)]
    return Panel(live_server.url, client.cookies["sessionid"].value, found)


def is_page(client: Client, address: str) -> bool:
    """Neither a redirect, nor an error, nor JSON, nor a download, nor a part of a page."""
    answer = client.get(address)
    is_html = answer["Content-Type"].startswith("text/html")
    return answer.status_code == 200 and is_html and b"<html" in answer.content


@pytest.fixture
def look() -> dict[str, Any]:
    return {"viewport": DESK, "locale": "en-GB"}


@pytest.fixture
def context(panel: Panel, look: dict[str, Any]) -> Iterator[BrowserContext]:
    """Depends on the data, so that the browser ends before the data is deleted."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = chromium.new_context(**look)
        context.add_cookies([{"name": "sessionid", "value": panel.cookie, "url": panel.origin}])
        yield context
        chromium.close()


def opened(context: BrowserContext, panel: Panel) -> Iterator[tuple[str, Page]]:
    """All pages, one after the other, each when its scripts have done their work."""
    page = context.new_page()
    for address in panel.addresses:
        page.goto(panel.origin + address)
        page.evaluate("new Promise(done => setTimeout(() => requestIdleCallback(done)))")
        yield address, page


@pytest.mark.parametrize("look", [{"viewport": DESK} | look for look in LOOKS.values()], ids=LOOKS)
def test_axe_finds_nothing_on_any_page(context: BrowserContext, panel: Panel) -> None:
    found: list[tuple[str, str, str]] = []
    for address, page in opened(context, panel):
        violations = Axe().run(page).response["violations"]
        found += [(address, one["id"], one["nodes"][0]["html"]) for one in violations]
    assert len(panel.addresses) > 50
    assert found == []


# Shows what is folded, and waits until tables fit.
_UNFOLD = """() => {
    document.querySelectorAll("#content details").forEach(details => details.open = true);
    return new Promise(done => setTimeout(done, 100));
}"""
# Elements that are cut off on the right, or that CSS writes with capital letters. Selects and chips scroll; headings of cards are for screen readers.
_FAULTS = """() => [...document.querySelectorAll("#content *, #header-inner *")].filter(element => {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (!box.width || !box.height || element.closest("select, .xp-chips, .xp-stacked thead, .xp-scroll, .xp-plot, .xp-hidden, svg")) return false;
    const hides = ["hidden", "clip"].includes(style.overflowX) && !element.matches("input, .simplebar-mask, .simplebar-wrapper");
    const isCut = box.right > innerWidth + 1 || (hides && element.scrollWidth > element.clientWidth + 1);
    const label = getComputedStyle(element, "::before");
    return isCut || style.textTransform === "capitalize" || (label.content !== "none" && label.textTransform === "capitalize");
}).map(element => element.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("look", [{"viewport": PHONE, "locale": "ru-RU"}], ids=["phone"])
def test_a_phone_cuts_nothing_off_and_capitalises_nothing(
    context: BrowserContext, panel: Panel
) -> None:
    found: list[tuple[str, str]] = []
    for address, page in opened(context, panel):
        page.evaluate(_UNFOLD)
        found += [(address, fault) for fault in page.evaluate(_FAULTS)]
    assert found == []


_UNREACHABLE = """() => [...document.querySelectorAll("#header-inner ul a")].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && (box.left < 0 || box.right > innerWidth);
}).map(element => element.innerText)"""


@pytest.mark.parametrize("look", [{"viewport": DESK, "locale": "ru-RU"}], ids=["desk"])
def test_a_desk_shows_every_button_of_a_page(context: BrowserContext, panel: Panel) -> None:
    found: list[tuple[str, str]] = []
    for address, page in opened(context, panel):
        found += [(address, button) for button in page.evaluate(_UNREACHABLE)]
    assert found == []
