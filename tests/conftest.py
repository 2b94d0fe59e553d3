"""Fixtures. Each test has an empty cache, and the thread that writes hits is off."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, settings
from pytest_django import Settings

from operations import distribution, extension
from operations.api.authentication import create_api_key
from operations.watch import attention
from subscriptions.serving import catalogue, hits
from tests import cluster, tiers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tiers.leave_out(items, everything=config.getoption("--all"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for sentence in tiers.summary(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(sentence)


pytest.register_assert_rewrite("tests.subscriptions.examples", "tests.traffic.examples")

# The same examples on every machine, without a deadline for slow ones.
settings.register_profile(
    "tests",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


if cluster.WORKERS:

    @pytest.fixture(scope="session")
    def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
        """The tables of the database under test are spread over the nodes of a cluster."""
        settings = connection.settings_dict
        with cluster.joined(settings["NAME"], settings):
            with django_db_blocker.unblock():
                distribution.distribute(distribution.steps(cluster.SHARDS), lambda _: None)
                connection.close()
            yield
            with django_db_blocker.unblock():
                connection.close()


@pytest.fixture(autouse=True)
def no_background_writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hits.writer, "start", lambda: None)
    yield
    hits.writer._reset()


@pytest.fixture(autouse=True)
def no_badge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The menu counts what needs attention once a minute; tests that count the queries of a page leave that out."""
    monkeypatch.setattr(attention, "count", lambda now, may: 0)


@pytest.fixture
def only_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app above ``traffic`` is registered; registrations by a test are removed after it."""
    kept = {
        name: found
        for name, found in extension._registered.items()
        if name in {"operations", "traffic"}
    }
    monkeypatch.setattr(extension, "_registered", kept)


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


@pytest.fixture
def open_access(settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS = True


@pytest.fixture
def local() -> Client:
    """A client on the panel's own machine, without a key."""
    return Client(headers={"host": "127.0.0.1:8000"})
