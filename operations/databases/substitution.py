"""Replacing the default database for a while, so that the same code can check the copy in a backup."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.utils import load_backend


def like_default(**changes: Any) -> dict[str, Any]:
    """The settings of the default database, with some of them changed."""
    return copy.deepcopy(connection.settings_dict) | changes


@contextmanager
def as_default(settings: dict[str, Any]) -> Iterator[None]:
    """In this thread, use a database with these ``settings`` as the default one, over its own connection."""
    before = connections[DEFAULT_DB_ALIAS]
    try:
        with beside_default(DEFAULT_DB_ALIAS, settings):
            yield
    finally:
        connections[DEFAULT_DB_ALIAS] = before


@contextmanager
def beside_default(alias: str, settings: dict[str, Any]) -> Iterator[None]:
    """In this thread, make a database with these ``settings`` available as ``alias``."""
    # Django types connections by their common base, which every backend's wrapper has.
    wrapper: Any = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, alias)
    connections[alias] = wrapper
    try:
        yield
    finally:
        wrapper.close()
        del connections[alias]


def sqlite_file() -> Path | None:
    """The file of the default database; None if it is not a SQLite file."""
    name = Path(str(connection.settings_dict["NAME"]))
    return name if connection.vendor == "sqlite" and name.is_absolute() else None
