"""XPERT_BASE_PATH behind a real nginx: the whole panel lives below its path, and a browser finds no way out of it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Request, Response, Route, sync_playwright

from tests.authenticators import shown
from tests.test_crash import PATIENCE, Panel, own_database
from tests.test_deploy import SECRET, Site, nginx
from tests.test_every_page_in_a_browser import ARGUMENTS
from tests.test_scripts import REPOSITORY, environment
from tests.tiers import CHROMIUM

pytestmark = [pytest.mark.slow, *nginx]

BASE = "/my.panel"
SETTINGS = {
    "XPERT_BASE_PATH": BASE,
    "XPERT_TRUSTED_PROXIES": "1",
    "XPERT_HTTPS": "True",
    "XPERT_DOMAIN": "your-domain.com",
}
STAFF = """
from django.contrib.auth.models import User
User.objects.create_superuser("eva", password="right")
"""


def site_of_the_installer(prefix: Path) -> str:
    """What script/install makes of deploy/nginx.conf for this path."""
    (prefix / ".env").write_text(f"XPERT_BASE_PATH={BASE}\n")
    functions = r"/^base_of_panel()/,/^}/p; /^below_base_path()/,/^}/p"
    program = f'set -eu; prefix=$1; eval "$(sed -n "{functions}" script/install)"; below_base_path <deploy/nginx.conf'
    done = subprocess.run(
        ["bash", "-c", program, "bash", str(prefix)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def collect_static_files() -> None:
    """As script/server does before it starts."""
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"],
        cwd=REPOSITORY,
        env=environment(
            SECRET_KEY="x" * 50,
            XPERT_ENV_FILE=os.devnull,
            DJANGO_SETTINGS_MODULE="xpert_panel.settings",
        ),
        check=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
    collect_static_files()
    with own_database(folder) as database:
        panel = Panel(database, folder / "server.log", **SETTINGS)
        try:
            panel.wait()
            panel.manage("create_subscriber", "Ann", "--token", SECRET)
            panel.manage("shell", "-v0", "-c", STAFF)
            found = Site(folder, panel, site_of_the_installer(folder))
            yield found
            found.stop()
        finally:
            panel.kill_everything()


# --- programs ----------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/admin/",
        "/api/xpert/schema",
        "/healthz",
        "/static/operations/icon.svg",
        "/my-panel/healthz",
    ],
)
def test_outside_of_the_path_nothing_answers(site: Site, path: str) -> None:
    assert site.ask("GET", path).status_code in {403, 404}
    direct = requests.get(f"http://127.0.0.1:{site.panel.port}{path}", timeout=PATIENCE)
    assert (direct.status_code, direct.json()) == (404, {"detail": "Not found."})
    assert "X-Xpert-Panel" not in direct.headers


def test_the_path_itself_leads_to_the_login(site: Site) -> None:
    path, seen = BASE, []
    for _ in range(4):
        answer = site.ask("GET", path)
        if answer.status_code == 200:
            break
        path = urlsplit(answer.headers["Location"])._replace(scheme="", netloc="").geturl()
        seen.append(path)
    assert seen == [f"{BASE}/", f"{BASE}/admin/", f"{BASE}/admin/login/?next={BASE}/admin/"]


def test_probes_and_local_http_work(site: Site) -> None:
    for name in ("healthz", "readyz"):
        assert site.ask("GET", f"{BASE}/{name}").status_code == 200
        assert requests.get(f"{site.panel.root}/{name}", timeout=PATIENCE).status_code == 200


def test_a_report_and_a_subscription_go_through(site: Site) -> None:
    answer = site.ask("GET", f"{BASE}/api/xpert/sub", params={"user_token": SECRET})
    webhook = answer.headers["Traffic-Webhook"]
    assert webhook == f"https://your-domain.com{BASE}/api/xpert/traffic-webhook"
    report = {"user_token": SECRET, "server": "a.example", "port": 443, "protocol": "vless"}
    sent = site.ask("POST", urlsplit(webhook).path, json=report | {"bytes_uploaded": 5})
    assert sent.json() == {"status": "success", "message": "Traffic recorded successfully"}


def test_the_schema_names_the_path_of_its_server(site: Site) -> None:
    schema = site.ask("GET", f"{BASE}/api/xpert/schema").json()
    assert schema["servers"] == [{"url": BASE}]
    assert "/api/xpert/traffic-webhook" in schema["paths"]
    assert schema["components"]["securitySchemes"]["Staff"]["name"] == "xpert_sessionid"


def test_cookies_belong_to_the_path_and_have_names_of_their_own(site: Site) -> None:
    answer = site.ask("GET", f"{BASE}/admin/login/")
    cookies = {cookie.name: cookie for cookie in answer.cookies}
    assert set(cookies) == {"xpert_csrftoken"}
    assert cookies["xpert_csrftoken"].path == f"{BASE}/"


def test_the_log_of_nginx_knows_the_words_of_the_path(site: Site) -> None:
    site.ask("GET", f"{BASE}/api/xpert/traffic-stats/{SECRET}/series")
    id_ = site.ask("GET", f"{BASE}/healthz").headers["X-Request-Id"]
    site.wait_for_log(id_)
    assert f" {BASE}/healthz 200" in site.log
    assert "/api/xpert/traffic-stats/(hidden)/series 200" in site.log
    assert SECRET not in site.log


# --- people ------------------------------------------------------------------


class Walk(NamedTuple):
    """A browser, the addresses that it asked for outside of the path, and what went wrong."""

    page: Page
    strayed: list[str]
    faults: list[str]

    def found_nothing_wrong(self) -> bool:
        assert self.strayed == []
        assert self.faults == []
        return True


@pytest.fixture
def walk(site: Site) -> Iterator[Walk]:
    with sync_playwright() as playwright:
        rules = f"MAP your-domain.com 127.0.0.1:{site.https}"
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, f"--host-resolver-rules={rules}"]
        )
        context = chromium.new_context(
            ignore_https_errors=True, locale="ru-RU", viewport={"width": 390, "height": 844}
        )
        yield watched(context)
        chromium.close()


def watched(context: BrowserContext) -> Walk:
    found = Walk(context.new_page(), [], [])
    found.page.set_default_timeout(PATIENCE * 1000)

    def asked(request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme.startswith("http") and not url.path.startswith(f"{BASE}/"):
            found.strayed.append(request.url)

    def answered(response: Response) -> None:
        if response.status >= 400:
            found.faults.append(f"{response.status} {response.url}")

    found.page.on("request", asked)
    found.page.on("response", answered)
    found.page.on("pageerror", lambda error: found.faults.append(str(error)))
    found.page.on(
        "console", lambda said: found.faults.append(said.text) if said.type == "error" else None
    )
    return found


ROOT = f"https://your-domain.com{BASE}"


def sign_in(page: Page) -> None:
    page.goto(f"{ROOT}/admin/")
    page.fill("#id_username", "eva")
    page.fill("#id_password", "right")
    page.click("#login-form button[type=submit]")


@pytest.mark.browser
def test_an_operator_never_leaves_the_path(walk: Walk) -> None:
    page = walk.page
    sign_in(page)
    page.wait_for_url(f"{ROOT}/admin/")
    links = page.locator("a[href]").evaluate_all("all => all.map(a => a.href)")
    inside = {link for link in links if link.startswith(f"{ROOT}/")}
    assert {link for link in links if link.startswith("https://your-domain.com")} == inside
    assert len(inside) > 10
    for link in sorted(inside):
        page.goto(link)
    # A form, a list with its tools, and a page whose script asks again.
    page.goto(f"{ROOT}/admin/traffic/subscriber/add/")
    page.fill("#id_name", "Боб")
    page.click("[name=_save]")
    page.wait_for_url(re.compile(f"{re.escape(ROOT)}/admin/traffic/subscriber/.*"))
    page.goto(f"{ROOT}/admin/traffic/subscriber/?q=Ann")
    page.locator("#result_list tbody a").first.click()
    page.wait_for_load_state("networkidle")
    assert walk.found_nothing_wrong()


@pytest.mark.browser
def test_the_second_factor_is_set_up_and_asked_for(walk: Walk, site: Site) -> None:
    page = walk.page
    sign_in(page)
    page.goto(f"{ROOT}/admin/second-factor/")
    secret = page.input_value("textarea.xp-secret")
    page.fill("#id_code", shown(secret, later=-1))
    page.click("form.xp-confirm button[type=submit]")
    page.wait_for_selector("textarea.xp-recovery")
    violations = Axe().run(page).response["violations"]
    for name in ("", "codes/", "off/"):
        page.goto(f"{ROOT}/admin/second-factor/{name}")
        violations += Axe().run(page).response["violations"]
    page.context.clear_cookies()
    sign_in(page)
    page.wait_for_url(f"{ROOT}/admin/login/code/")
    violations += Axe().run(page).response["violations"]
    assert violations == []
    page.fill("#id_code", shown(secret))
    page.click("form:has(#id_code) button[type=submit]")
    page.wait_for_url(f"{ROOT}/admin/")
    site.panel.manage("reset_second_factor", "eva")
    assert walk.found_nothing_wrong()


@pytest.mark.browser
def test_a_subscriber_stays_below_the_path(walk: Walk) -> None:
    page = walk.page
    page.goto(f"{ROOT}/api/xpert/sub?user_token={SECRET}")
    assert f"{ROOT}/api/xpert/sub?user_token={SECRET}" in page.content()
    page.click("a[href*='days=7']")
    page.wait_for_load_state("networkidle")
    assert page.url.startswith(f"{ROOT}/api/xpert/sub?")
    assert walk.found_nothing_wrong()


@pytest.mark.browser
def test_the_documentation_of_the_api_loads(walk: Walk) -> None:
    walk.page.goto(f"{ROOT}/api/xpert/docs")
    walk.page.wait_for_selector(".opblock")
    assert walk.found_nothing_wrong()


@pytest.mark.browser
def test_the_widget_asks_beside_its_own_script(walk: Walk) -> None:
    page = walk.page
    script = f'<script defer src="{BASE}/api/xpert/marzban/widget.js"></script>'
    root = '<main class="p-8"><div class="chakra-stack"><div><div id="filters"></div></div></div></main>'

    def dashboard(route: Route) -> None:
        body = f"<!DOCTYPE html><html><body>{root}{script}</body></html>"
        route.fulfill(body=body, content_type="text/html")

    page.route("**/dashboard/", dashboard)
    page.goto(f"{ROOT}/healthz")
    page.evaluate("localStorage.setItem('token', 'x')")
    with page.expect_response(re.compile(r"/marzban/widget\?")) as answer:
        page.goto("https://your-domain.com/dashboard/")
    assert urlsplit(answer.value.url).path == f"{BASE}/api/xpert/marzban/widget"
    assert answer.value.status == 401
