"""Reads the lines that a script appends to a file, each exactly once, over kills of both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xpert_agent.sources.base import SourceError

MAX_BYTES = 1024 * 1024


class Spool:
    """The caller keeps `state` together with what it made of the lines, in one save.

    A file that has grown is put aside and read to its end one more time before it is deleted:
    a script may have opened it just before.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._aside = Path(path + ".old")

    def lines(self, state: dict[str, Any]) -> list[str]:
        """The lines that are new since `state`, which moves on; raises `SourceError`."""
        try:
            return self._aside_lines(state) + self._new_lines(state)
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error.strerror}.") from error

    def tidy(self, state: dict[str, Any]) -> None:
        """Puts a long file aside, when `state` is on disk; raises `SourceError`."""
        try:
            self._tidy(state)
        except OSError as error:
            raise SourceError(f"{self._path} cannot be renewed: {error.strerror}.") from error

    def _aside_lines(self, state: dict[str, Any]) -> list[str]:
        if not self._aside.exists() or self._aside.stat().st_ino != state.get("inode"):
            return []
        rest, _ = _complete_lines(self._aside, state["offset"])
        state.update(inode=None, offset=0)
        return rest

    def _new_lines(self, state: dict[str, Any]) -> list[str]:
        if not self._path.exists():
            return []
        found = self._path.stat()
        known = found.st_ino == state.get("inode") and found.st_size >= state["offset"]
        lines, end = _complete_lines(self._path, state["offset"] if known else 0)
        state.update(inode=found.st_ino, offset=end)
        return lines

    def _tidy(self, state: dict[str, Any]) -> None:
        if self._aside.exists() and self._aside.stat().st_ino != state.get("inode"):
            self._aside.unlink()
        if self._aside.exists() or not self._path.exists():
            return
        found = self._path.stat()
        if found.st_size < MAX_BYTES:
            return
        fresh = Path(f"{self._path}.new")
        fresh.write_bytes(b"")
        os.chown(fresh, found.st_uid, found.st_gid)
        fresh.chmod(found.st_mode & 0o777)
        os.link(self._path, self._aside)
        fresh.replace(self._path)


def _complete_lines(path: Path, offset: int) -> tuple[list[str], int]:
    """The lines after `offset` that have an end, and where they end."""
    with path.open("rb") as opened:
        opened.seek(offset)
        complete, newline, _ = opened.read().rpartition(b"\n")
    text = complete.decode("utf-8", "replace")
    return text.split("\n") if newline else [], offset + len(complete) + len(newline)
