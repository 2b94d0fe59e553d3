"""The real panel of this checkout, on a database of its own, whose processes can be killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path

import pytest
from ports import free_port

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PATIENCE = 240
needs_panel = pytest.mark.skipif(
    not (REPOSITORY / "manage.py").is_file() or find_spec("django") is None,
    reason="the panel and its packages are not here: the two are NOT checked together",
)
_BOOKED = (
    "SELECT person.token, server.host, sum(usage.upload), sum(usage.download) FROM traffic_usage AS usage"
    " JOIN traffic_server AS server ON server.id = usage.server_id"
    " JOIN traffic_subscriber AS person ON person.id = usage.subscriber_id GROUP BY 1, 2"
)


class RealPanel:
    """gunicorn with two workers in a process group of its own; `people` are known to it."""

    def __init__(self, folder: Path, people: Iterable[str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
            "SECRET_KEY": "only-for-tests-" + "0123456789abcdef" * 4,
            "XPERT_ENV_FILE": os.devnull,
            "XPERT_TRAFFIC_DB_PATH": str(folder / "panel.db"),
            "XPERT_RATE_REPORTS": "",
            "XPERT_RATE_ADDRESS": "",
            "DJANGO_SETTINGS_MODULE": "xpert_panel.settings",
        }
        self.manage("migrate", "-v0")
        for person in people:
            self.manage("create_subscriber", person, "--token", person)
        self.key = self.manage("create_api_key", "agent", "--scope", "report").splitlines()[-1]
        self.start()

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        with (self._folder / "panel.log").open("ab") as log:
            self._master = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "python:xpert_panel.server"],
                cwd=REPOSITORY,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError), closing(HTTPConnection("127.0.0.1", self.port, 10)) as asking:
                asking.request("GET", "/healthz")
                assert asking.getresponse().status == HTTPStatus.OK
                return
            time.sleep(0.05)
        raise AssertionError((self._folder / "panel.log").read_text())

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._master.pid, signal.SIGKILL)
        self._master.wait(PATIENCE)

    def booked(self) -> dict[tuple[str, str], list[int]]:
        """Bytes up and down by person and host."""
        with closing(sqlite3.connect(self._folder / "panel.db", timeout=30)) as database:
            rows = database.execute(_BOOKED).fetchall()
        return {(person, host): [up, down] for person, host, up, down in rows}
