"""Runs one program of the system and takes what it prints, bounded in time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from xpert_agent.sources.base import SourceError

TIMEOUT = 5.0


def output(arguments: Sequence[str], given: str = "") -> str:
    """Standard output of a program that succeeds; raises `SourceError` with what it complained.

    `given` goes to its standard input.
    """
    program = arguments[0]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, and arguments without a shell
            list(arguments),
            input=given,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            timeout=TIMEOUT,
        )
    except FileNotFoundError as error:
        raise SourceError(f"The program “{program}” is not installed.") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"“{program}” cannot be run: {type(error).__name__}.") from error
    if done.returncode:
        raise SourceError(f"“{program}” failed: {_complaint(done.stderr)}.")
    return done.stdout


def _complaint(stderr: str) -> str:
    lines = [line.strip().rstrip(".") for line in stderr.splitlines() if line.strip()]
    return lines[0][:200] if lines else "it does not say why"
