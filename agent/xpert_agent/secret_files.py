"""Files that only their owner may read."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

log = logging.getLogger(__name__)


def read_secret(path: Path) -> str:
    """The file's text without the space around it; warns when others can read it. Raises OSError."""
    warn_if_others_can_read(path)
    return path.read_text(encoding="utf-8").strip()


def warn_if_others_can_read(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        log.warning("Others can read %s, which holds a secret: chmod 600 %s", path, path)


def write_secret(path: Path, text: str) -> None:
    """Replaces the file at once; only its owner can read it."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def make_private_folder(path: Path) -> None:
    """Makes the folder when it is missing; others cannot look into it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
