"""deploy/nginx-marzban.conf with a real nginx, a stand-in for Marzban, and a panel of its own."""

import os
import signal
import socket
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.integrations.marzban.lists_panel import (
    HEADERS,
    ListsPanel,
    listed,
    running_lists_panel,
)
from tests.integrations.marzban.merging.examples import OWN, TROJAN, base64_body
from tests.integrations.marzban.panel import Reply, subscription_token
from tests.ports import free_port
from tests.test_crash import PATIENCE, Panel, own_database
from tests.test_deploy import DEPLOY, needs

pytestmark = [pytest.mark.slow, needs("nginx")]

TOKEN = subscription_token("alice")
URL = f"/sub/{TOKEN}"
HOST = "panel.example.com"
LINK = """
from integrations.marzban.models import PanelLink
from subscriptions.direct_configs import store
from subscriptions.models import DirectConfig
PanelLink.objects.create(name="Marzban", url="{url}", signs_in=True)
store(DirectConfig(), "{raw}")
"""


def below(snippet: str, base: str) -> str:
    """The snippet as docs/marzban.md changes it for XPERT_BASE_PATH."""
    if not base:
        return snippet
    first, second = "    proxy_pass http://127.0.0.1:9000;\n", "location ~ ^/api/xpert/"
    lists, rest = snippet.split(second)
    rewritten = rest.replace(first, f"    rewrite ^ {base}$uri break;\n{first}")
    return f"{lists.replace('9000;', f'9000{base}/sub/;')}{second}{rewritten}"


class Site:
    """nginx with Marzban's site on a free port."""

    def __init__(self, folder: Path, panel: Panel, marzban: ListsPanel, base: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        lines = below((DEPLOY / "nginx-marzban.conf").read_text(), base)
        for old, new in {
            "http://127.0.0.1:9000": f"http://127.0.0.1:{panel.port}",
            "http://127.0.0.1:8000": marzban.url,
        }.items():
            assert old in lines
            lines = lines.replace(old, new)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
            f"http {{\naccess_log {folder}/access.log;\n{temporary}"
            f"server {{\nlisten 127.0.0.1:{self.port};\nserver_name {HOST};\n{lines}"
            f"location / {{ proxy_pass {marzban.url}; }}\n}}\n}}\n"
        )
        self.process = subprocess.Popen(
            ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("nginx did not listen")

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(
            f"http://127.0.0.1:{self.port}{path}",
            headers={"Host": HOST, **headers},
            timeout=PATIENCE,
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def marzban() -> Iterator[ListsPanel]:
    with running_lists_panel() as found:
        found.knows(TOKEN)
        found.replies[URL] = listed("text/plain; charset=utf-8", base64_body(*OWN))
        page = b"<!DOCTYPE html><html><body><div id=root></div></body></html>"
        found.replies["/dashboard/"] = Reply(200, page, (("content-type", "text/html"),))
        yield found


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory, marzban: ListsPanel) -> Iterator[Panel]:
    folder = tmp_path_factory.mktemp("panel")
    settings = {"XPERT_TRUSTED_PROXIES": "1", "XPERT_ALLOWED_HOSTS": HOST}
    with own_database(folder) as database:
        found = Panel(database, folder / "server.log", **settings)
        try:
            found.wait()
            found.manage("shell", "-c", LINK.format(url=marzban.url, raw=TROJAN))
            yield found
        finally:
            found.kill_everything()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, panel: Panel, marzban: ListsPanel
) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("nginx"), panel, marzban)
    yield found
    found.stop()


def lines(answer: requests.Response) -> list[str]:
    return b64decode(answer.content).decode().split("\n")


def test_the_person_s_own_address_gives_both_kinds_of_servers(
    site: Site, marzban: ListsPanel
) -> None:
    answer = site.get(URL, **{"User-Agent": "Happ/3", "X-Forwarded-For": "203.0.113.9"})
    assert lines(answer) == [*OWN, TROJAN]
    for name, value in HEADERS:
        assert answer.headers[name] == value
    seen = marzban.lists()[-1].headers
    assert (seen["host"], seen["user-agent"]) == (HOST, "Happ/3")
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "http")


def test_a_forged_token_gets_marzban_s_own_404(site: Site) -> None:
    answer = site.get(f"/sub/{subscription_token('alice', secret='forged')}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("host", [HOST, "a-name-that-the-panel-does-not-know.example.com"])
def test_every_name_of_the_site_gets_a_list(site: Site, host: str) -> None:
    assert lines(site.get(URL, Host=host))[:2] == [*OWN]


def test_the_page_of_the_dashboard_has_the_widget(site: Site) -> None:
    answer = site.get("/dashboard/", **{"If-None-Match": "*", "Accept-Encoding": "gzip"})
    script = '<script defer src="/api/xpert/marzban/widget.js"></script></body>'
    assert answer.text.count(script) == 1


def test_only_what_is_the_panel_s_own_leads_to_it(site: Site, marzban: ListsPanel) -> None:
    assert site.get("/api/xpert/traffic-stats/x").json()["servers"] == []
    assert site.get("/api/xpert/marzban-traffic-stats").status_code == 401
    for path in ("/api/xpert/stats", "/api/xpert/direct-configs", "/api/admin", "/admin/"):
        assert site.get(path).json() == {"detail": "Not Found"}
        assert marzban.seen[-1].path == path


def test_a_panel_that_hangs_or_is_gone_leaves_marzban_alone(site: Site, panel: Panel) -> None:
    os.killpg(panel.master.pid, signal.SIGSTOP)
    try:
        assert lines(site.get(URL)) == [*OWN]
    finally:
        os.killpg(panel.master.pid, signal.SIGCONT)
    panel.kill_everything()
    assert lines(site.get(URL)) == [*OWN]
    panel.start()
    panel.wait()
    assert TOKEN not in (site.folder / "error.log").read_text()
    assert TOKEN not in (site.folder / "access.log").read_text()


def test_the_snippet_is_what_the_docs_show() -> None:
    assert "deploy/nginx-marzban.conf" in (DEPLOY.parent / "docs/marzban.md").read_text()


def test_below_a_path_of_its_own_the_panel_still_serves_marzban_s_addresses(
    tmp_path: Path, marzban: ListsPanel
) -> None:
    settings = {
        "XPERT_TRUSTED_PROXIES": "1",
        "XPERT_ALLOWED_HOSTS": HOST,
        "XPERT_BASE_PATH": "/panel",
    }
    with own_database(tmp_path) as database:
        panel = Panel(database, tmp_path / "server.log", **settings)
        try:
            panel.wait()
            panel.manage("shell", "-c", LINK.format(url=marzban.url, raw=TROJAN))
            site = Site(tmp_path, panel, marzban, "/panel")
            try:
                answer = site.get(URL, **{"User-Agent": "Happ/3"})
                assert lines(answer) == [*OWN, TROJAN]
                webhook = f"http://{HOST}/panel/api/xpert/traffic-webhook"
                assert answer.headers["Traffic-Webhook"] == webhook
                assert site.get("/api/xpert/traffic-stats/x?days=7").json()["period_days"] == 7
                assert "new URL" in site.get("/api/xpert/marzban/widget.js").text
            finally:
                site.stop()
        finally:
            panel.kill_everything()


def test_the_docs_show_what_changes_below_a_path() -> None:
    changed = below((DEPLOY / "nginx-marzban.conf").read_text(), "/panel").splitlines()
    docs = (DEPLOY.parent / "docs/marzban.md").read_text().splitlines()
    first = (DEPLOY / "nginx-marzban.conf").read_text().splitlines()
    new = [line for line in changed if line not in first]
    assert len(new) == 2
    assert set(new) <= set(docs)
