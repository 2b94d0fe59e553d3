"""How this program was started: as a zipapp, a command of pipx, or a package."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


class InstallError(Exception):
    """The service cannot be installed. One clear sentence for people."""


def archive() -> Path | None:
    """The zipapp that runs, if it is one."""
    path = Path(__file__).resolve().parent.parent
    return path if path.is_file() else None


def command(program: Path | None = None) -> list[str]:
    """The command line that calls `program` (a zipapp; default: this one), without arguments."""
    program = program or archive()
    if program is not None:
        return [sys.executable, "-I", str(program)]
    return [sys.executable, "-m", "xpert_agent"]


def restart_with(arguments: Sequence[str]) -> NoReturn:
    """Replaces this process, so that the first command line is seen no longer."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*command(), *arguments])  # noqa: S606
