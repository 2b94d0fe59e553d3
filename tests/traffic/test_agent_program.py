"""The lines that fetch, check and start the agent. The one for a shell is run."""

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pytest_django import Settings

from traffic import agent_program
from traffic.agent_program import AgentProgram

PROGRAM = b"import sys; print('started with', *sys.argv[1:])\n"
URL = "https://panel.example.com/api/xpert/sub?user_token=it's"


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """A site that serves the program."""
    folder = tmp_path / "site" / "agent"
    folder.mkdir(parents=True)
    (folder / "xpert-agent.pyz").write_bytes(PROGRAM)
    handler = partial(_Quiet, directory=folder.parent)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="which need curl")


@needs_curl
def test_the_line_starts_what_has_the_digest(origin: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(PROGRAM).hexdigest()
    line = AgentProgram(f"{origin}/agent/xpert-agent.pyz", digest).posix_line("report", URL)
    assert run(line, tmp_path).stdout.splitlines()[-1] == f"started with report {URL}"


@needs_curl
def test_the_line_does_not_start_another_program(origin: str, tmp_path: Path) -> None:
    line = AgentProgram(f"{origin}/agent/xpert-agent.pyz", "0" * 64).posix_line("report", URL)
    done = run(line, tmp_path)
    assert done.returncode != 0
    assert "started" not in done.stdout


@needs_curl
def test_the_line_ends_where_nothing_is_served(origin: str, tmp_path: Path) -> None:
    line = AgentProgram(f"{origin}/elsewhere", "0" * 64).posix_line("report", URL)
    done = run(line, tmp_path)
    assert done.returncode != 0
    assert "started" not in done.stdout


def test_the_line_for_windows_quotes_and_compares() -> None:
    line = AgentProgram("https://panel.example.com/a.pyz", "ab" * 32).windows_line("report", URL)
    assert (
        "py xpert-agent.pyz 'report' 'https://panel.example.com/api/xpert/sub?user_token=it''s'"
        in line
    )
    assert f".Hash -eq '{'ab' * 32}'" in line


def test_what_is_served_has_the_digest_of_its_file(settings: Settings, tmp_path: Path) -> None:
    settings.PUBLIC_FOLDER = tmp_path
    (tmp_path / "agent").mkdir()
    digest = hashlib.sha256(PROGRAM).hexdigest()
    (tmp_path / "agent" / "xpert-agent.pyz.sha256").write_text(f"{digest}  xpert-agent.pyz\n")
    assert agent_program.served("https://panel.example.com") == AgentProgram(
        "https://panel.example.com/agent/xpert-agent.pyz", digest
    )


@pytest.mark.parametrize("content", [None, "", "nothing of sixty-four digits"])
def test_without_a_digest_nothing_is_served(
    settings: Settings, tmp_path: Path, content: str | None
) -> None:
    settings.PUBLIC_FOLDER = tmp_path
    (tmp_path / "agent").mkdir()
    if content is not None:
        (tmp_path / "agent" / "xpert-agent.pyz.sha256").write_text(content)
    assert agent_program.served("https://panel.example.com") is None


def test_a_project_without_a_public_folder_serves_nothing(settings: Settings) -> None:
    del settings.PUBLIC_FOLDER
    assert agent_program.served("https://panel.example.com") is None
