"""Backup files: names, permissions, atomic replacement and rotation."""

import contextlib
import gzip
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

# Bytes per read.
CHUNK = 2**20
SQLITE_MAGIC = b"SQLite format 3\x00"
_GZIP_MAGIC = b"\x1f\x8b"
_NAME = re.compile(r"xpert-panel-\d{8}-\d{6}\.(?:db|sql)\.gz", re.ASCII)

Progress = Callable[[str, int, int], object]
"""Called with the stage, the amount done and the total (bytes, pages or rows; 0 = unknown)."""


class BackupError(Exception):
    """Why a backup or restore failed: one sentence for an operator."""


def dated_name(now: datetime, suffix: str) -> str:
    """A name like ``xpert-panel-20240210-192030.db.gz``, in UTC, so that names sort by time."""
    return f"xpert-panel-{now.astimezone(UTC):%Y%m%d-%H%M%S}.{suffix}.gz"


def stored(folder: Path) -> list[Path]:
    """The backups with dated names in a folder, oldest first."""
    return sorted(path for path in folder.glob("xpert-panel-*.gz") if _NAME.fullmatch(path.name))


def rotate(folder: Path, keep: int) -> list[Path]:
    """Delete all dated backups except the ``keep`` newest, and return the deleted ones. Other files stay."""
    old = stored(folder)[:-keep]
    for path in old:
        path.unlink(missing_ok=True)
    return old


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A private folder for unfinished files, on the same disk as the finished file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".xpert-panel-", dir=folder) as name:
        yield Path(name)


def compress(chunks: Iterator[bytes], target: Path, now: datetime) -> None:
    """Write a gzip file that only its owner may read, with ``now`` in its header; it is synced to disk on return."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with gzip.GzipFile("", "wb", 6, raw, mtime=now.timestamp()) as packed:
            for chunk in chunks:
                packed.write(chunk)
        raw.flush()
        os.fsync(raw.fileno())


def put_in_place(source: Path, target: Path) -> None:
    """Replace ``target`` atomically: even after a power cut it is the old file or the whole new one."""
    source.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked content of a backup; reading a truncated or changed file raises BackupError."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        with raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            with (
                cast(IO[bytes], gzip.GzipFile("", "rb", fileobj=raw)) if packed else raw as content
            ):
                yield content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BackupError(f"{path} is damaged: {error}.") from None


def made_at(path: Path) -> datetime:
    """The moment whose state a backup holds; for a file packed by another program, its modification time."""
    with opened(path) as content:
        content.read(1)
        moment = getattr(content, "mtime", None)
    return datetime.fromtimestamp(moment or path.stat().st_mtime, UTC)


def chunks_of(path: Path, stage: str, progress: Progress) -> Iterator[bytes]:
    total, done = path.stat().st_size, 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
            done += len(chunk)
            progress(stage, done, total)


def unpack(path: Path, target: Path, progress: Progress) -> None:
    """Write the content of a backup to ``target``, readable only by its owner."""
    done = 0
    with (
        opened(path) as content,
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as plain,
    ):
        while chunk := content.read(CHUNK):
            plain.write(chunk)
            done += len(chunk)
            progress("unpacking", done, 0)
