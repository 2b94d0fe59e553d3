from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .fakes import Clock, Core, Journal, MemoryStore, http_core
from .labs import Lab


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def core() -> Iterator[Core]:
    with http_core() as running:
        yield running


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    making = Lab(tmp_path)
    yield making
    making.close()
