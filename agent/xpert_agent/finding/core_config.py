"""Configurations of cores that are written in JSON: sing-box, Xray, v2ray."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from xpert_agent.finding.machine import Machine, Process, read_text

_MOST_FILES = 20
_STRING_OR_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)
"""Cores take the comments of C and of the shell."""


def of_processes(
    machine: Machine, program: re.Pattern[str], folder_options: tuple[str, ...]
) -> Iterator[Path]:
    """The configuration files that running programs were given."""
    for process in machine.processes:
        if program.fullmatch(process.name):
            yield from _files(process, folder_options)


def _files(process: Process, folder_options: tuple[str, ...]) -> Iterator[Path]:
    files, folders = process.values("c", "config"), process.values(*folder_options)
    yield from (process.path(file) for file in files)
    for folder in folders:
        yield from sorted(process.path(folder).glob("*.json"))[:_MOST_FILES]
    if not files and not folders:
        yield process.folder / "config.json"


def documents(paths: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each readable file once."""
    for path in dict.fromkeys(paths):
        try:
            document = json.loads(_without_comments(read_text(path)))
        except ValueError:
            continue
        if isinstance(document, dict):
            yield path, document


def _without_comments(text: str) -> str:
    return _STRING_OR_COMMENT.sub(lambda found: found[1] or "", text)
