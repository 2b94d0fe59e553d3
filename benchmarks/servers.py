"""Real servers on the loopback interface, and wrk against them."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 2
CONNECTIONS = 16
_PATIENCE = 60


def environment(database: Path, **more: str) -> dict[str, str]:
    """A panel of its own: no limits, no log lines, nobody's .env."""
    ours = {
        "SECRET_KEY": "only-for-benchmarks-" + "0123456789abcdef" * 3,
        "XPERT_ENV_FILE": os.devnull,
        "XPERT_TRAFFIC_DB_PATH": str(database),
        "XPERT_OPEN_ACCESS": "True",
        "XPERT_RATE_REPORTS": "",
        "XPERT_RATE_SUBSCRIPTIONS": "",
        "XPERT_RATE_ADDRESS": "",
        "XPERT_LOG_LEVEL": "WARNING",
        "WEB_CONCURRENCY": str(PROCESSES),
        "DJANGO_SETTINGS_MODULE": "xpert_panel.settings",
    }
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | ours | more


def manage(environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True).stdout


@contextmanager
def panel(environ: dict[str, str], application: str = "xpert_panel.wsgi:application") -> Iterator[str]:
    """gunicorn as script/server starts it; yields its URL."""
    port = _free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "python:xpert_panel.server", application]
    with _running(command, environ | {"PORT": str(port)}, port) as url:
        yield url


@contextmanager
def plain_panel(database: Path) -> Iterator[str]:
    port = _free_port()
    command = [
        sys.executable, "-m", "uvicorn", "benchmarks.plain_panel:app",
        "--port", str(port), "--workers", str(PROCESSES), "--log-level", "warning", "--no-access-log",
    ]  # fmt: skip
    environ = {"PATH": os.environ["PATH"], "PLAIN_PANEL_DB": str(database)}
    # Its table is made once, before two processes try at once.
    subprocess.run([sys.executable, "-c", "import benchmarks.plain_panel"], cwd=ROOT, env=environ, check=True)
    with _running(command, environ, port) as url:
        yield url


def requests_per_second(url: str, seconds: int, script: str | None = None) -> float:
    """What wrk measures with 16 connections; RuntimeError if anything but 2xx and 3xx comes back."""
    wrk = shutil.which("wrk") or sys.exit("script/bench needs wrk: apt-get install wrk.")
    arguments = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"] + (
        ["-s", str(ROOT / "benchmarks" / script)] if script else []
    )
    output = subprocess.run([wrk, *arguments, url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output:
        raise RuntimeError(output)
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found, output
    return float(found[1])


@contextmanager
def _running(command: list[str], environ: dict[str, str], port: int) -> Iterator[str]:
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _wait(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
