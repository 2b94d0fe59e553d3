"""SIGHUP, as sent by ``systemctl reload``: new workers with new settings, and no request is lost."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.test_crash import PATIENCE, Panel, database, own_database

pytestmark = pytest.mark.slow

__all__ = ["database"]
CLIENTS = 4
REQUESTS = 300  # of each client
REPORT = {
    "user_token": "ann",
    "server": "de1.example.com",
    "port": 443,
    "protocol": "vless",
    "bytes_uploaded": 1,
}

Start = Callable[..., Panel]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def started(**values: str) -> Panel:
            panel = Panel(
                stack.enter_context(own_database(tmp_path)), tmp_path / "server.log", **values
            )
            stack.callback(panel.kill_everything)
            panel.wait()
            return panel

        yield started


def reload(panel: Panel) -> None:
    """Wait until all workers are new and answer."""
    old = set(panel.workers())
    os.kill(panel.master.pid, signal.SIGHUP)
    end = time.monotonic() + PATIENCE
    while old & set(panel.workers()) or not panel.workers():
        assert time.monotonic() < end, panel.log.read_text()
        time.sleep(0.05)
    panel.wait()


def test_no_request_is_lost_while_the_panel_is_reloaded(start: Start) -> None:
    panel = start()
    answered = threading.Semaphore(0)
    failures: list[str] = []

    def send(client: int) -> None:
        with requests.Session() as session:
            post = (
                session.post if client % 2 else requests.post
            )  # over one connection, or each over its own
            for _ in range(REQUESTS):
                try:
                    answer = post(f"{panel.url}/traffic-webhook", json=REPORT, timeout=PATIENCE)
                    if answer.status_code != 200:
                        failures.append(f"{answer.status_code} {answer.text}")
                except requests.RequestException as error:
                    failures.append(repr(error))
                answered.release()

    threads = [
        threading.Thread(target=send, args=(client,), daemon=True) for client in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    reloads = 0
    for _ in range(3):
        for _ in range(CLIENTS * REQUESTS // 4):
            assert answered.acquire(timeout=PATIENCE)
        reload(panel)
        reloads += 1
    for thread in threads:
        thread.join(PATIENCE)
    assert (reloads, failures) == (3, [])
    panel.stop()
    code = (
        "from traffic.models import Balance; print('recorded', Balance.objects.get().life_reports)"
    )
    assert f"recorded {CLIENTS * REQUESTS}\n" in panel.manage("shell", "-v0", "-c", code)


def test_a_reload_reads_the_env_file_again(start: Start, tmp_path: Path) -> None:
    env_file = tmp_path / "panel.env"
    env_file.write_text("XPERT_TRAFFIC_TRACKING_ENABLED=True\n")
    panel = start(XPERT_ENV_FILE=str(env_file))
    assert (
        requests.post(f"{panel.url}/traffic-webhook", json=REPORT, timeout=PATIENCE).status_code
        == 200
    )
    for value, status in (("False", 503), ("True", 200)):
        env_file.write_text(f"XPERT_TRAFFIC_TRACKING_ENABLED={value}\n")
        reload(panel)
        assert (
            requests.post(f"{panel.url}/traffic-webhook", json=REPORT, timeout=PATIENCE).status_code
            == status
        )
