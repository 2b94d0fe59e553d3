"""No test sees another's cache, and no hit is written behind a test's back: the thread stays off."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client
from hypothesis import HealthCheck, settings

from subscriptions import catalogue, hits
from traffic.authentication import create_api_key

pytest.register_assert_rewrite("tests.subscriptions.examples", "tests.traffic.examples")

# The same examples on every machine, however slow it is.
settings.register_profile(
    "tests", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def no_background_writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hits.writer, "start", lambda: None)
    yield
    hits.writer._reset()


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()
    catalogue.shelf.clear()


@pytest.fixture
def reader(db: None) -> Client:
    """A program with a key of scope ``read``, from anywhere."""
    return Client(headers={"authorization": f"Bearer {create_api_key('reader', 'read')[1]}"})


@pytest.fixture
def manager(db: None) -> Client:
    """A program with a key of scope ``manage``, from anywhere."""
    return Client(headers={"authorization": f"Bearer {create_api_key('manager', 'manage')[1]}"})


@pytest.fixture
def reporter(db: None) -> Client:
    """A program with a key of scope ``report``, from anywhere."""
    return Client(headers={"authorization": f"Bearer {create_api_key('reporter', 'report')[1]}"})
