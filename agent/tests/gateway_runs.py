"""Gateways that follow a panel on this machine: step by step in the test's own process, or the whole program."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from fake_panel import FakePanel

from xpert_agent.gateway.core import Core
from xpert_agent.gateway.supervisor import Supervisor
from xpert_agent.panel import Address, Panel

KEY = "the-key-of-the-gateway"
ROOT = Path(__file__).resolve().parents[1]

_Core = TypeVar("_Core", bound=Core)


@contextmanager
def core_of(kind: type[_Core], program: object, tmp_path: Path) -> Iterator[_Core]:
    """Stopped at the end."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    core = kind(str(program), folder)
    yield core
    core.stop()


def following(panel: FakePanel, core: Core) -> Supervisor:
    """It knows what the panel says, and has applied nothing."""
    made = Supervisor(Panel(Address(panel.url, key=KEY)), "-", core, core.folder)
    made.fetch_first()
    return made


def supervisor(panel: FakePanel, core: Core) -> Supervisor:
    made = following(panel, core)
    made._apply(time.monotonic())
    return made


def agent(
    panel: FakePanel, tmp_path: Path, option: str, program: object
) -> subprocess.Popen[bytes]:
    """The whole program; its log is `agent.log`. `option`: the one that names the program of its core."""
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    command = [sys.executable, "-m", "xpert_agent", "gateway", "--panel", panel.url]
    command += ["--key-file", str(key), option, str(program), "--state", str(tmp_path / "gw")]
    with (tmp_path / "agent.log").open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, stderr=output)


def booked(panel: FakePanel) -> dict[tuple[str, str], list[int]]:
    """By person and server."""
    with panel.lock:
        return {tuple(row[0].split("-")): sums for row, sums in panel.booked.items()}
