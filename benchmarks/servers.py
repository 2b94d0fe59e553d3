"""Runs real servers on the loopback interface and measures them with wrk."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 2
CONNECTIONS = 16
_PATIENCE = 60


def environment(database: Path, **more: str) -> dict[str, str]:
    """The environment of a separate panel: no limits, no log lines, no .env."""
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


class Load(msgspec.Struct, frozen=True):
    """What wrk measured. ``slowest``: seconds within which 99 of 100 requests were answered."""

    requests: int
    seconds: float
    slowest: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class Server(msgspec.Struct, frozen=True):
    """A running server: ``pid`` is the process whose children answer."""

    url: str
    pid: int

    def processor_seconds(self) -> float:
        """What the server and its children have used so far, in user mode and in the kernel."""
        return sum(processor_seconds(pid) for pid in self.processes())

    def processes(self) -> list[str]:
        """The ids of the server and of its children."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [str(self.pid), *children]

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def processor_seconds(pid: str) -> float:
    # Fields 14 and 15 of proc(5); the name, field 2, may contain spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def manage(environ: dict[str, str], *arguments: str, root: Path = ROOT) -> str:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=root, env=environ, check=True, capture_output=True, text=True
    ).stdout


@contextmanager
def panel(
    environ: dict[str, str], application: str = "xpert_panel.wsgi:application"
) -> Iterator[str]:
    """gunicorn as script/server starts it; yields its URL."""
    with panel_of(ROOT, environ, application) as server:
        yield server.url


@contextmanager
def panel_of(
    root: Path, environ: dict[str, str], application: str = "xpert_panel.wsgi:application"
) -> Iterator[Server]:
    """The same of any checkout."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "python:xpert_panel.server", application]
    with _running(command, environ | {"PORT": str(port)}, port, root) as server:
        yield server


@contextmanager
def plain_panel(database: Path) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "benchmarks.plain_panel:app",
        "--port", str(port), "--workers", str(PROCESSES), "--log-level", "warning", "--no-access-log",
    ]  # fmt: skip
    environ = {"PATH": os.environ["PATH"], "PLAIN_PANEL_DB": str(database)}
    # Create its table first, because two processes would try at the same time.
    subprocess.run(
        [sys.executable, "-c", "import benchmarks.plain_panel"], cwd=ROOT, env=environ, check=True
    )
    with _running(command, environ, port) as server:
        yield server.url


@contextmanager
def marzban() -> Iterator[str]:
    """The stand-in; yields its URL."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.marzban", str(port)]
    with _running(command, {"PATH": os.environ["PATH"]}, port) as server:
        yield server.url


def requests_per_second(
    url: str, seconds: int, script: str | None = None, connections: int = CONNECTIONS
) -> float:
    """Throughput measured by wrk; raises RuntimeError on any answer other than 2xx and 3xx."""
    return load(url, seconds, script, connections).per_second


def load(url: str, seconds: int, script: str | None = None, connections: int = CONNECTIONS) -> Load:
    """The same, with the number of requests and the slowest of them."""
    with loading(url, seconds, script, connections) as wrk:
        output, _ = wrk.communicate()
    if wrk.returncode or "Non-2xx" in output:
        raise RuntimeError(output)
    count = re.search(r"(\d+) requests in ([\d.]+)(s|m)", output)
    slowest = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    assert count, output
    assert slowest, output
    return Load(int(count[1]), _in_seconds(count[2], count[3]), _in_seconds(slowest[1], slowest[2]))


def _in_seconds(number: str, unit: str) -> float:
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[unit]


@contextmanager
def loading(
    url: str, seconds: int, script: str | None = None, connections: int = CONNECTIONS
) -> Iterator[subprocess.Popen[str]]:
    """A running wrk; it is ended with the block."""
    wrk = shutil.which("wrk") or sys.exit("script/bench needs wrk: apt-get install wrk.")
    arguments = ["--latency", "-t1", f"-c{connections}", f"-d{seconds}s"] + (
        ["-s", str(ROOT / "benchmarks" / script)] if script else []
    )
    process = subprocess.Popen([wrk, *arguments, url], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_PATIENCE)


@contextmanager
def _running(
    command: list[str], environ: dict[str, str], port: int, root: Path = ROOT
) -> Iterator[Server]:
    process = subprocess.Popen(command, cwd=root, env=environ, stdin=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/healthz")
        yield Server(f"http://127.0.0.1:{port}", process.pid)
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
