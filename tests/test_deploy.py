"""Tests the files in deploy/ with the programs that use them; tests of missing programs are skipped."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from django.core.management import get_commands
from django.test import Client

from tests.ports import free_port
from tests.test_crash import PATIENCE, Panel, own_database
from tests.test_scripts import REPOSITORY

pytestmark = pytest.mark.slow

DEPLOY = REPOSITORY / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SECRET = "s3cr3t-token-of-somebody"
KEY = "s3cr3t-key-of-an-operator"
REPORT = {"server": "de1.example.com", "port": 443, "protocol": "vless", "bytes_uploaded": 1}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


# --- systemd and cron --------------------------------------------------------


@needs("systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    prefix = tmp_path / "panel"
    (prefix / ".venv/bin").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "script", prefix / "script")
    (prefix / ".venv/bin/python").symlink_to("/bin/sh")
    for unit in UNITS:
        text = re.sub(r"(?m)^(User|Group)=.*", r"\1=root", unit.read_text()).replace(
            "/opt/xpert_panel", str(prefix)
        )
        (tmp_path / unit.name.replace("@.", "@cleanup_traffic.")).write_text(text)
    units = [str(path) for path in tmp_path.iterdir() if path.is_file()]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    about_ours = [line for line in done.stderr.splitlines() if "xpert" in line]
    assert (done.returncode, about_ours) == (0, [])


@needs("systemd-analyze")
@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit.suffix == ".timer"], ids=lambda unit: str(unit.stem)
)
def test_systemd_takes_the_calendar_of_a_timer(unit: Path) -> None:
    (when,) = re.findall(r"(?m)^OnCalendar=(.*)", unit.read_text())
    subprocess.run(
        ["systemd-analyze", "calendar", when], capture_output=True, timeout=PATIENCE, check=True
    )


def test_only_the_data_folder_can_be_written_by_the_services() -> None:
    for name in (
        "xpert-panel.service",
        "xpert-panel@.service",
        "xpert-panel-marzban-node.service",
        "xpert-panel-telegram-bot.service",
    ):
        text = (DEPLOY / "systemd" / name).read_text()
        assert re.findall(r"(?m)^ReadWritePaths=(.*)", text) == ["/opt/xpert_panel/data"]
        assert {"ProtectSystem=strict", "NoNewPrivileges=true", "User=xpert-panel"} <= set(
            text.splitlines()
        )


def test_timers_crontab_and_container_start_the_same_commands() -> None:
    timers = {
        name
        for unit in UNITS
        for name in re.findall(r"(?m)^Unit=xpert-panel@(\w+)\.service", unit.read_text())
    }
    in_crontab = set(re.findall(r"manage\.py (\w+)", (DEPLOY / "crontab").read_text()))
    in_container = set(re.findall(r"run (\w+_\w+)", (DEPLOY / "every").read_text()))
    assert timers == in_crontab == in_container
    assert "cleanup_traffic" in get_commands().keys() & timers


# --- containers --------------------------------------------------------------


def test_the_image_gets_all_code_and_nothing_else() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    allowed = {
        line[1:]
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)", dockerfile)
        for name in line.split()[:-1]
    }
    assert copied - {"script/_setup"} == allowed
    assert all((REPOSITORY / name).exists() for name in copied)
    assert "\nUSER 10001:10001\n" in dockerfile


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, "--no-color", DEPLOY / "Dockerfile"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_containers_only_listen_locally_and_have_no_default_secrets() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    compose = yaml.safe_load(text)
    assert compose["services"]["panel"]["ports"] == ["127.0.0.1:8000:8000"]
    assert [name for name, service in compose["services"].items() if "ports" in service] == [
        "panel",
        "marzban-node",
    ]
    ports = compose["services"]["marzban-node"]["ports"]
    assert [port.rpartition(":")[0] for port in ports] == ["127.0.0.1:62060", "127.0.0.1:62061"]
    assert "${SECRET_KEY:?" in text
    assert "${POSTGRES_PASSWORD:?" in text


# --- Prometheus and Grafana --------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("file", ["grafana.json", "alerts.yml"])
def test_dashboard_and_alerts_only_query_existing_metrics(file: str, reader: Client) -> None:
    told = set(re.findall(r"(?m)^# TYPE (\w+)", reader.get("/metrics").content.decode()))
    asked = set(re.findall(r"\bxpert_\w+", (DEPLOY / file).read_text()))
    later = {"xpert_last_report_timestamp_seconds"}  # once there is a report
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} - told <= later


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    assert dashboard["uid"] == "xpert-panel"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(
        panel["targets"] and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for panel in dashboard["panels"]
    )


# --- nginx -------------------------------------------------------------------


class Site:
    """nginx with our site, on free ports, in front of a separate panel."""

    def __init__(self, folder: Path, panel: Panel, site: str = "") -> None:
        self.folder, self.panel = folder, panel
        self.site = site or (DEPLOY / "nginx.conf").read_text()
        self.http, self.https = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.https}"
        self._certificate()
        self._configuration()
        with (folder / "nginx.out").open("w") as out:
            self.process = subprocess.Popen(
                [
                    "nginx",
                    "-p",
                    str(folder),
                    "-c",
                    str(folder / "nginx.conf"),
                    "-e",
                    str(folder / "start.log"),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def _certificate(self) -> None:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=your-domain.com",
             "-keyout", str(self.folder / "privkey.pem"), "-out", str(self.folder / "fullchain.pem")],
            capture_output=True, timeout=PATIENCE, check=True,
        )  # fmt: skip

    def _configuration(self) -> None:
        site = self.site
        for old, new in {
            "127.0.0.1:8000": f"127.0.0.1:{self.panel.port}",
            "/etc/letsencrypt/live/your-domain.com": str(self.folder),
            "/var/log/nginx": str(self.folder),
            "listen 80;": f"listen 127.0.0.1:{self.http};",
            "listen 443 ssl": f"listen 127.0.0.1:{self.https} ssl",
        }.items():
            assert old in site
            site = site.replace(old, new)
        site = re.sub(r"(?m)^.*listen \[::\].*\n", "", site)
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"{user}daemon off;\npid {self.folder}/nginx.pid;\nevents {{}}\nhttp {{\n{temporary}{site}}}\n"
        )

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.folder / "start.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.https), timeout=5).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("nginx did not listen")

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Host": "your-domain.com"} | more.pop("headers", {})
        return requests.request(
            method,
            f"{self.url}{path}",
            headers=headers,
            verify=False,  # noqa: S501  signed by the test itself
            timeout=PATIENCE,
            allow_redirects=False,
            **more,
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)

    @property
    def log(self) -> str:
        return (self.folder / "xpert-panel.log").read_text()

    def wait_for_log(self, id_: str) -> None:
        """Waits, because the line is written after the answer was sent."""
        end = time.monotonic() + PATIENCE
        while id_ not in self.log:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
    settings = {
        "XPERT_TRUSTED_PROXIES": "1",
        "XPERT_HTTPS": "True",
        "XPERT_DOMAIN": "your-domain.com",
    }
    with own_database(folder) as database:
        panel = Panel(database, folder / "server.log", **settings)
        try:
            panel.wait()
            # Open access creates nobody for those who come through a proxy.
            panel.manage("create_subscriber", "Ann", "--token", SECRET)
            found = Site(folder, panel)
            yield found
            found.stop()
        finally:
            panel.kill_everything()


nginx = [
    needs("nginx"),
    needs("openssl"),
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]


class TestNginx:
    pytestmark = nginx

    def test_reports_go_through_over_tls(self, site: Site) -> None:
        answer = site.ask(
            "POST", "/api/xpert/traffic-webhook", json=REPORT | {"user_token": SECRET}
        )
        assert (answer.status_code, answer.json()["status"]) == (200, "success")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"

    def test_links_say_https(self, site: Site) -> None:
        answer = site.ask("GET", f"/api/xpert/sub?user_token={SECRET}")
        assert (
            answer.headers["Traffic-Webhook"] == "https://your-domain.com/api/xpert/traffic-webhook"
        )

    def test_plain_http_is_sent_to_https(self, site: Site) -> None:
        answer = requests.get(
            f"http://127.0.0.1:{site.http}/api/xpert/sub?user_token=x",
            headers={"Host": "your-domain.com"},
            timeout=PATIENCE,
            allow_redirects=False,
        )
        assert answer.status_code == 301
        assert answer.headers["Location"] == "https://your-domain.com/api/xpert/sub?user_token=x"

    def test_forwarded_headers_of_a_client_are_ignored(self, site: Site) -> None:
        forged = {
            "X-Forwarded-For": "127.0.0.1",
            "X-Forwarded-Proto": "http",
            "X-Request-Id": "forged-by-the-client",
        }
        answer = site.ask("GET", "/api/xpert/traffic-stats/global", headers=forged)
        assert answer.status_code == 401
        assert answer.headers["X-Request-Id"] != "forged-by-the-client"

    def test_both_logs_know_a_request_by_the_same_id(self, site: Site) -> None:
        id_ = site.ask("GET", "/healthz").headers["X-Request-Id"]
        assert re.fullmatch(r"[0-9a-f]{32}", id_)
        assert f"[{id_}]" in site.panel.log.read_text()
        site.wait_for_log(id_)

    def test_a_body_of_four_mebibytes_is_the_panel_s_to_judge_and_a_larger_one_is_not(
        self, site: Site
    ) -> None:
        path = "/api/xpert/traffic-webhook"
        json_ = {"Content-Type": "application/json"}
        answer = site.ask("POST", path, data=b"[" + b" " * (2**22 + 1), headers=json_)
        assert (answer.status_code, answer.json()) == (
            413,
            {"detail": "The body is larger than 4096 KiB."},
        )
        answer = site.ask("POST", path, data=b" " * (5 * 2**20 + 1), headers=json_)
        assert answer.status_code == 413
        assert "nginx" in answer.text

    def test_no_log_of_nginx_holds_a_token_or_key(self, site: Site) -> None:
        for path in (
            f"/api/xpert/traffic-stats/{SECRET}", f"/api/xpert/traffic-stats/{SECRET}/series?days=3",
            f"/api/xpert/sub?user_token={SECRET}", f"/api/xpert/sub/{SECRET}", f"/{SECRET}", f"/admin/?{SECRET}",
            f"/static/{SECRET}", f"/api/xpert/direct-configs/{SECRET}", f"/api/xpert/{SECRET}/", f"/healthz/{SECRET}",
        ):  # fmt: skip
            site.ask(
                "GET",
                path,
                headers={"Authorization": f"Bearer {KEY}", "Referer": f"https://x/{SECRET}"},
            )
        with socket.create_connection(("127.0.0.1", site.https), timeout=PATIENCE) as plain:
            context = ssl._create_unverified_context()  # noqa: S323
            with context.wrap_socket(plain) as connection:
                connection.sendall(
                    f"GET /api/xpert/sub?user_token={SECRET} HTTP/9.9\r\n\r\n".encode()
                )
                connection.recv(1000)
        id_ = site.ask("GET", "/healthz").headers["X-Request-Id"]
        site.wait_for_log(id_)
        for log in site.folder.glob("*.log"):
            assert SECRET not in log.read_text(), log
            assert KEY not in log.read_text(), log
        assert "/api/xpert/traffic-stats/(hidden)/series 200" in site.log
