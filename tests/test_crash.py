"""Several processes, resends and kill -9: in the end the stored sums equal the sent ones to the byte."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from django.conf import settings

from tests import cluster
from tests.ports import free_port
from tests.test_scripts import environment

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 240  # seconds for the whole of one run
CLIENTS = 6
REPORTS = 120  # of each client
USERS = ["ann", "bob", "cat"]
SERVERS = ["de1.example.com", "nl1.example.com"]


class Panel:
    """gunicorn with two worker processes, in a separate process group, on a separate database."""

    checkout = REPOSITORY

    def __init__(self, database: dict[str, str], log: Path, **settings: str) -> None:
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}{settings.get('XPERT_BASE_PATH', '')}"
        self.url = f"{self.root}/api/xpert"
        self.environment = environment(
            **{"XPERT_RATE_REPORTS": "", "XPERT_ENV_FILE": os.devnull} | database | settings,
            PORT=self.port,
            WEB_CONCURRENCY=2,
            SECRET_KEY="only-for-tests-" + "0123456789abcdef" * 4,
            XPERT_OPEN_ACCESS=True,
            XPERT_RATE_ADDRESS="",
            XPERT_MAX_GB_PER_HOUR=0,
            DJANGO_SETTINGS_MODULE="xpert_panel.settings",
        )
        self.log = log
        self.manage("migrate", "-v0")
        if cluster.WORKERS:
            self.manage("distribute_citus", "--shards", str(cluster.SHARDS))
        self.start()

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command,
            cwd=self.checkout,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        with self.log.open("a") as log:
            self.master = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "python:xpert_panel.server"],
                cwd=self.checkout,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                found = requests.get(f"{self.root}/healthz", timeout=PATIENCE)
                assert found.status_code == 200
                return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in children.read_text().split()]
        return []

    def kill_a_worker(self, draw: random.Random) -> None:
        for pid in draw.sample(found := self.workers(), min(1, len(found))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_everything(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.master.pid, signal.SIGKILL)
        self.master.wait(PATIENCE)

    def stop(self) -> None:
        self.master.terminate()
        try:
            assert self.master.wait(PATIENCE) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.master.pid, signal.SIGKILL)


def reports_of(client: int, draw: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "user_token": draw.choice(USERS),
            "server": draw.choice(SERVERS),
            "port": 443,
            "protocol": "vless",
            "bytes_uploaded": draw.randrange(2**30),
            "bytes_downloaded": draw.randrange(2**40),
            "event_id": f"{client}-{number}-{uuid.UUID(int=draw.getrandbits(128))}",
            "timestamp": int(time.time()) - draw.randrange(3 * 86_400),
        }
        for number in range(REPORTS)
    ]


def send(panel: Panel, reports: list[dict[str, Any]], draw: random.Random, deadline: float) -> None:
    """Send like a correct reporter: overlapping batches, each until it is acknowledged, some of them once more."""
    rest = list(reports)
    with requests.Session() as session:
        while rest:
            assert time.monotonic() < deadline, "the panel did not acknowledge everything in time"
            size = draw.choice([1, 1, 1, 5, 20])
            batch = rest[:size] + draw.sample(reports, draw.choice([0, 0, 3]))
            try:
                answer = session.post(
                    f"{panel.url}/traffic-webhook", json={"reports": batch}, timeout=10
                )
            except requests.RequestException:
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                assert answer.json()["rejected"] == []
                rest = rest[size:]
            else:
                assert answer.status_code == 503, answer.text


def expected_sums(reports: list[dict[str, Any]]) -> dict[tuple[str, str], Counter[str]]:
    sums: dict[tuple[str, str], Counter[str]] = {}
    for report in reports:
        row = sums.setdefault((report["user_token"], report["server"]), Counter())
        row.update(upload=report["bytes_uploaded"], download=report["bytes_downloaded"], reports=1)
    return sums


def stored_sums(panel: Panel) -> dict[tuple[str, str], Counter[str]]:
    script = (
        "from traffic.models import Usage\n"
        "for row in Usage.objects.values_list('subscriber__token', 'server__host', 'upload', 'download', 'reports'):"
        " print('row', *row)"
    )
    sums: dict[tuple[str, str], Counter[str]] = {}
    for line in panel.manage("shell", "-v0", "-c", script).splitlines():
        kind, token, server, upload, download, reports = line.split()
        assert kind == "row"
        row = sums.setdefault((token, server), Counter())
        row.update(upload=int(upload), download=int(download), reports=int(reports))
    return sums


@contextlib.contextmanager
def own_database(folder: Path) -> Iterator[dict[str, str]]:
    """The environment for a separate database: a file, or a new one on the PostgreSQL under test."""
    default = settings.DATABASES["default"]
    if default["ENGINE"] == "django.db.backends.sqlite3":
        yield {"XPERT_TRAFFIC_DB_PATH": str(folder / "panel.db")}
        return
    name = f"xpert_panel_{uuid.uuid4().hex[:12]}"
    url = f"postgres://{default['USER']}:{default['PASSWORD']}@{default['HOST']}:{default['PORT'] or 5432}/{name}"
    with psycopg.connect(url.removesuffix(name) + "postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        try:
            with cluster.joined(name, default) if cluster.WORKERS else contextlib.nullcontext():
                yield {"DATABASE_URL": url}
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[dict[str, str]]:
    with own_database(tmp_path) as found:
        yield found


@pytest.fixture
def panel(database: dict[str, str], tmp_path: Path) -> Iterator[Panel]:
    found = Panel(database, tmp_path / "server.log")
    try:
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            found.kill_everything()


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_acknowledged_is_lost_or_doubled_whatever_is_killed(
    panel: Panel, seed: int
) -> None:
    draw = random.Random(seed)
    deadline = time.monotonic() + PATIENCE
    sent = [reports_of(client, draw) for client in range(CLIENTS)]
    errors: list[BaseException] = []

    def run(client: int) -> None:
        try:
            send(panel, sent[client], random.Random(seed * 1000 + client), deadline)
        except BaseException as error:  # noqa: BLE001  shown by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    kills = 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(draw.uniform(0.2, 0.6))
        if kills < 10:
            kills += 1
            if kills % 4:
                panel.kill_a_worker(draw)
            else:
                panel.kill_everything()
                panel.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []
    assert kills
    panel.wait()  # the last kill may have been a moment ago, and a master that only just starts knows no SIGTERM yet
    panel.stop()
    assert stored_sums(panel) == expected_sums([report for reports in sent for report in reports])
    assert "All sums agree" in panel.manage("check_traffic")
