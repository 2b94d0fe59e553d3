"""Marks beside the database, by which a link recognises that the database was put back to an earlier moment.

The number of hand-overs is in the database and, written before the panel gets its answer, in a file that no backup
holds. A database that knows fewer than the file was restored; so was one that knows hand-overs when the file is missing.
"""

import os
from pathlib import Path
from uuid import UUID

from .conf import conf


def read(key: UUID) -> int | None:
    """Hand-overs that a panel may have got; None when there is no mark. Raises OSError."""
    try:
        text = _path(key).read_text()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else None


def write(key: UUID, number: int) -> None:
    """Is on disk when it returns. Raises OSError."""
    path = _path(key)
    make_folder()
    beside = path.with_suffix(".new")
    beside.touch(mode=0o600)
    with beside.open("w") as file:
        file.write(str(number))
        file.flush()
        os.fsync(file.fileno())
    own_like_folder(beside)
    beside.replace(path)
    _sync(path.parent)


def remove(key: UUID) -> None:
    """Forget the mark of a link that is gone. Raises OSError."""
    _path(key).unlink(missing_ok=True)


def make_folder() -> Path:
    folder = conf.node_folder
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        own_like_folder(folder)
    return folder


def own_like_folder(path: Path) -> None:
    """Made by root, it must not lock the panel's user out."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)


def _path(key: UUID) -> Path:
    return conf.node_folder / f"{key}.mark"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
