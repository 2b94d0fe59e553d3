"""script/server as a real process on a free port of the loopback interface."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from django.conf import settings

from script import _prepare
from tests.ports import free_port

pytestmark = [
    pytest.mark.skipif(
        settings.DATABASES["default"]["ENGINE"] != "django.db.backends.sqlite3",
        reason="the start is the same on any database",
    ),
    pytest.mark.slow,
]

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 240  # seconds; a busy machine starts slowly, and a hanging start must fail
REPORT = b'{"user_token": "user123", "server": "vpn.example.com", "port": 443, "protocol": "vless", "bytes_uploaded": 1}'

Start = Callable[..., subprocess.CompletedProcess[str]]


def make_checkout(folder: Path) -> Path:
    """A fresh clone with a .venv that reuses the packages of the test environment."""
    folder.mkdir()
    for name in (
        "agent",
        "script",
        "xpert_panel",
        "operations",
        "traffic",
        "subscriptions",
        "gateways",
        "integrations",
    ):
        shutil.copytree(
            REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("manage.py", "requirements.txt", ".env.example"):
        shutil.copy(REPOSITORY / name, folder / name)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder / ".venv"],
        check=True,
        timeout=PATIENCE,
    )
    packages = next((folder / ".venv/lib").glob("python*/site-packages"))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    mark = "source script/_setup; fingerprint requirements.txt > .venv/.installed"
    subprocess.run(["bash", "-c", mark], cwd=folder, check=True, timeout=PATIENCE)
    return folder


def environment(**values: object) -> dict[str, str]:
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "TMPDIR", "PYENV_ROOT")
        if name in os.environ
    }
    return kept | {name: str(value) for name, value in values.items()}


class Panel:
    """A started server with its own database and TMPDIR; ``output`` is its output so far."""

    def __init__(self, checkout: Path, database: Path, **values: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = database.with_suffix(f".{self.port}.log")
        self.scratch = database.with_suffix(f".{self.port}.tmp")
        self.scratch.mkdir()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [checkout / "script/server"],
                env=environment(
                    PORT=self.port, XPERT_TRAFFIC_DB_PATH=database, TMPDIR=self.scratch, **values
                ),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self.process.poll() is None, self.output
            with contextlib.suppress(requests.ConnectionError):
                assert requests.get(f"{self.url}/healthz", timeout=PATIENCE).status_code == 200
                return
            time.sleep(0.05)
        pytest.fail(f"no answer in {PATIENCE} seconds: {self.output}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("scripts") / "panel of a newcomer")


@pytest.fixture
def start(checkout: Path, tmp_path: Path) -> Iterator[Callable[..., Panel]]:
    panels: list[Panel] = []

    def started(**values: object) -> Panel:
        panels.append(Panel(checkout, tmp_path / "data" / "panel.db", **values))
        return panels[-1]

    (tmp_path / "data").mkdir()
    yield started
    for panel in panels:
        if panel.process.poll() is None:
            panel.process.kill()
            panel.process.wait(PATIENCE)


@pytest.fixture
def refusal(checkout: Path, tmp_path: Path) -> Callable[..., str]:
    """The error output of a start that must fail."""

    def refused(**values: object) -> str:
        defaults = {"PORT": free_port(), "XPERT_TRAFFIC_DB_PATH": tmp_path / "panel.db"}
        done = subprocess.run(
            [checkout / "script/server"],
            env=environment(**(defaults | values)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    return refused


def test_the_started_panel_counts_a_report_and_stops_cleanly_on_sigterm(
    start: Callable[..., Panel],
) -> None:
    panel = start()
    panel.wait()
    answer = requests.post(
        f"{panel.url}/api/xpert/traffic-webhook",
        REPORT,
        headers={"Content-Type": "application/json"},
        timeout=PATIENCE,
    )
    assert answer.json() == {"status": "success", "message": "Traffic recorded successfully"}
    assert panel.stop() == 0
    assert f"{panel.url}/" in panel.output
    assert "Traceback" not in panel.output
    assert list(panel.scratch.iterdir()) == []


def test_the_started_panel_serves_the_agent_with_its_digest(start: Callable[..., Panel]) -> None:
    panel = start()
    panel.wait()
    agent = requests.get(f"{panel.url}/agent/xpert-agent.pyz", timeout=PATIENCE)
    told = requests.get(f"{panel.url}/agent/xpert-agent.pyz.sha256", timeout=PATIENCE)
    assert told.text == f"{hashlib.sha256(agent.content).hexdigest()}  xpert-agent.pyz\n"
    assert agent.content.startswith(b"#!/usr/bin/env python3\nPK")
    assert panel.stop() == 0


def test_the_first_start_writes_a_private_env_file_and_later_ones_keep_it(
    start: Callable[..., Panel], checkout: Path
) -> None:
    path = checkout / ".env"
    path.unlink(missing_ok=True)
    first = start(SECRET_KEY="from the environment " * 4)
    first.wait()
    assert first.stop() == 0
    written = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(written.partition("\nSECRET_KEY=")[2].strip()) >= 50

    path.write_text(written + "# the operator's own line\n")
    second = start()
    second.wait()
    assert second.stop() == 0
    assert path.read_text() == written + "# the operator's own line\n"
    assert "Collecting" not in second.output
    assert "database" not in second.output


GUIDE = """XPERT_TRAFFIC_TRACKING_ENABLED=True
XPERT_TRAFFIC_DB_PATH=data/traffic_stats.db
XPERT_TRAFFIC_RETENTION_DAYS=0
XPERT_DOMAIN=your-domain.com
"""


def test_the_four_lines_of_the_guide_are_enough_to_start(
    start: Callable[..., Panel], checkout: Path
) -> None:
    path = checkout / ".env"
    path.unlink(missing_ok=True)
    path.write_text(GUIDE)
    path.chmod(0o644)
    try:
        panel = start()
        panel.wait()
        assert panel.stop() == 0
        assert f"Added a random SECRET_KEY to {path}" in panel.output
        assert re.fullmatch(re.escape(GUIDE) + r"SECRET_KEY=\S{50,}\n", path.read_text())
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"SECRET_KEY=KEY\n"),
        (b"A=1", b"A=1\nSECRET_KEY=KEY\n"),
        (b"A=1\r\nB=2\r\n", b"A=1\r\nB=2\r\nSECRET_KEY=KEY\n"),
        (b"# SECRET_KEY=no\nA=\xd1\x8f\n", b"# SECRET_KEY=no\nA=\xd1\x8f\nSECRET_KEY=KEY\n"),
        (b"SECRET_KEY=\nA=1\n", b"SECRET_KEY=KEY\nA=1\n"),
        (b"A=1\r\nSECRET_KEY=\r\nB=2\r\n", b"A=1\r\nSECRET_KEY=KEY\r\nB=2\r\n"),
        (b'export SECRET_KEY=""\n', b"SECRET_KEY=KEY\n"),
        (b"SECRET_KEY=''\nSECRET_KEY=", b"SECRET_KEY=KEY\nSECRET_KEY=KEY"),
        (b"MY_SECRET_KEY=x\n", b"MY_SECRET_KEY=x\nSECRET_KEY=KEY\n"),
        (b"SECRET_KEY=old\nSECRET_KEY=\n", b"SECRET_KEY=old\nSECRET_KEY=KEY\n"),
    ],
)
def test_a_missing_key_is_added_and_the_rest_stays_byte_for_byte(
    before: bytes, after: bytes
) -> None:
    assert not _prepare.has_secret_key(before)
    found = _prepare.with_secret_key(before)
    assert re.sub(rb"(?m)^SECRET_KEY=[\w-]{50,}", b"SECRET_KEY=KEY", found) == after
    assert _prepare.has_secret_key(found)


@pytest.mark.parametrize(
    "content",
    [b"SECRET_KEY=x\n", b"export SECRET_KEY='x'\n", b"SECRET_KEY=\nSECRET_KEY=x", b"A=\xff\n"],
)
def test_an_existing_key_is_kept_and_so_is_a_file_that_is_not_text(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_bytes(content)
    monkeypatch.delenv("SECRET_KEY", raising=False)
    _prepare.add_secret_key(path)
    assert path.read_bytes() == content


def test_the_key_is_written_to_the_target_of_a_symbolic_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").write_text("A=1\n")
    path = tmp_path / ".env"
    path.symlink_to("settings")
    monkeypatch.delenv("SECRET_KEY", raising=False)
    _prepare.add_secret_key(path)
    assert path.is_symlink()
    assert "\nSECRET_KEY=" in (tmp_path / "settings").read_text()


def test_an_unwritable_file_is_kept_whole_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    monkeypatch.delenv("SECRET_KEY", raising=False)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SystemExit, match=r"\.env cannot be written \(No space left"):
        _prepare.add_secret_key(path)
    assert path.read_text() == "A=1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_of_the_environment_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    monkeypatch.setenv("SECRET_KEY", "x" * 50)
    _prepare.add_secret_key(path)
    assert path.read_text() == "A=1\n"


def test_an_empty_key_in_the_environment_is_reported(refusal: Callable[..., str]) -> None:
    assert "the environment holds an empty SECRET_KEY" in refusal(SECRET_KEY="")


def test_warnings_are_printed_and_do_not_stop_the_start(
    start: Callable[..., Panel], checkout: Path
) -> None:
    path = checkout / ".env"
    path.unlink(missing_ok=True)
    path.write_text(GUIDE + "XPERT_TRAFIC_RETENTION_DAYS=30\nXPERT_OPEN_ACCESS=True\n")
    try:
        panel = start(HOST="0.0.0.0")
        panel.wait()
        assert panel.stop() == 0
        assert "Warning: XPERT_TRAFIC_RETENTION_DAYS is not a setting" in panel.output
        assert "Did you mean XPERT_TRAFFIC_RETENTION_DAYS? (operations.W004)" in panel.output
        assert "Warning: OPEN ACCESS IS ON, and the panel listens on 0.0.0.0" in panel.output
    finally:
        path.unlink()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_answered_when_the_panel_is_stopped(
    start: Callable[..., Panel], how: signal.Signals
) -> None:
    panel = start()
    panel.wait()
    head = (
        "POST /api/xpert/traffic-webhook HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(REPORT)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", panel.port), timeout=PATIENCE) as client:
        client.sendall(head.encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")  # now a thread waits for the body
        panel.process.send_signal(how)
        time.sleep(0.5)
        client.sendall(REPORT)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert panel.process.wait(PATIENCE) == 0


def test_two_first_starts_at_once_share_one_checkout(
    start: Callable[..., Panel], tmp_path: Path
) -> None:
    checkout = make_checkout(tmp_path / "shared")
    panels = [Panel(checkout, tmp_path / "data" / name) for name in ("one.db", "two.db")]
    try:
        for panel in panels:
            panel.wait()
        assert [panel.stop() for panel in panels] == [0, 0]
        assert sum("random secret key" in panel.output for panel in panels) == 1
    finally:
        for panel in panels:
            panel.process.kill()
            panel.process.wait(PATIENCE)


def test_a_port_in_use_is_reported(refusal: Callable[..., str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"Port {port} of 127.0.0.1 is in use" in refusal(PORT=port)


def test_a_data_folder_that_cannot_be_created_is_reported(
    refusal: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    message = refusal(XPERT_TRAFFIC_DB_PATH=tmp_path / "file" / "data" / "panel.db")
    assert f"{tmp_path}/file/data/panel.db cannot be written" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_data_folder_is_reported(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    message = refusal(XPERT_TRAFFIC_DB_PATH=tmp_path / "data" / "panel.db")
    assert f"{tmp_path}/data/panel.db cannot be written" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XPERT_TRAFFIC_RETENTION_DAYS", "abc"),
        ("XPERT_OPEN_ACCESS", "perhaps"),
        ("XPERT_BASE_PATH", "/../panel"),
        ("XPERT_LANGUAGE", "xx"),
        ("PORT", "abc"),
        ("PORT", "65536"),
        ("WEB_CONCURRENCY", "0"),
        ("DATABASE_URL", "nonsense"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_reported(
    refusal: Callable[..., str], name: str, value: str
) -> None:
    assert name in refusal(**{name: value})


def test_an_unreachable_database_is_reported_without_its_password(
    refusal: Callable[..., str],
) -> None:
    message = refusal(DATABASE_URL=f"postgres://panel:hunter2@127.0.0.1:{free_port()}/panel")
    assert "The database panel cannot be used" in message
    assert "hunter2" not in message


def test_a_file_that_is_not_a_database_is_reported_and_kept(
    refusal: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear operator, " * 100)
    assert f"The database {path} cannot be used" in refusal(XPERT_TRAFFIC_DB_PATH=path)
    assert path.read_text() == "Dear operator, " * 100


class TestWithoutPackages:
    """Without a .venv; creating it is really tried, but nothing is downloaded."""

    @pytest.fixture
    def checkout(self, checkout: Path, tmp_path: Path) -> Path:
        bare = tmp_path / "bare"
        shutil.copytree(checkout / "script", bare / "script")
        (bare / "requirements.txt").write_text("no-such-package==1.0\n")
        return bare

    def test_a_missing_python_is_reported(self, refusal: Callable[..., str]) -> None:
        assert (
            refusal(PYTHON="/no/python3")
            == "server: PYTHON=/no/python3 is not a Python 3.11 or newer.\n"
        )

    def test_an_old_python_is_refused(self, refusal: Callable[..., str], tmp_path: Path) -> None:
        assert "is not a Python 3.11 or newer" in refusal(PYTHON=fake_python(tmp_path, "exit 1"))

    def test_a_python_without_venv_names_the_package_to_install(
        self, refusal: Callable[..., str], tmp_path: Path
    ) -> None:
        python = fake_python(tmp_path, 'case "$2" in *ensurepip*) exit 1;; esac')
        assert "apt-get install python3-venv" in refusal(PYTHON=python)

    def test_packages_that_cannot_be_installed_are_reported_even_after_an_incomplete_venv(
        self, refusal: Callable[..., str], checkout: Path
    ) -> None:
        (checkout / ".venv" / "bin").mkdir(parents=True)
        (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
        message = refusal(PYTHON=sys.executable, PIP_NO_INDEX=1)
        assert "installing requirements.txt failed" in message
        assert "no-such-package" in message
        assert not (checkout / ".venv" / ".installed").exists()


def fake_python(folder: Path, body: str) -> Path:
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path
