import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings

from operations import distribution
from operations.databases import citus
from operations.watch import readiness

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_is_migrated", readiness._Migrated())


def answer() -> tuple[int, dict[str, str]]:
    response = Client().get("/readyz")
    return response.status_code, response.json()


@pytest.mark.parametrize("path", ["/readyz", "/readyz/"])
def test_it_says_ready_to_anybody(path: str) -> None:
    response = Client().get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


def test_it_says_503_while_migrations_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "pending_migrations", lambda: ["traffic.0002"])
    assert answer() == (503, {"status": "unavailable", "detail": "Migrations are not applied."})


def test_migrations_are_looked_at_until_they_are_applied_and_then_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = iter([["traffic.0002"], []])
    monkeypatch.setattr(readiness, "pending_migrations", lambda: next(asked))
    assert [answer()[0] for _ in range(3)] == [503, 200, 200]


def test_it_says_503_when_the_database_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OperationalError("attempt to write a readonly database: secret path")

    monkeypatch.setattr("django.db.models.query.QuerySet.update", read_only)
    assert answer() == (503, {"status": "unavailable", "detail": "The database cannot be written."})


def test_it_says_503_when_the_disk_takes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that the kernel has made read-only: a transaction that changes nothing succeeds there."""

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    monkeypatch.setattr(readiness, "connection", SimpleNamespace(vendor="postgresql"))
    assert readiness.is_writable()
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    if connection.vendor == "sqlite":
        assert not readiness.is_writable()


def test_it_says_503_when_the_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> list[str]:
        raise OperationalError("secret path")

    monkeypatch.setattr(readiness, "pending_migrations", away)
    assert answer() == (503, {"status": "unavailable", "detail": "The database does not answer."})


@pytest.mark.parametrize(
    ("free", "status"), [(readiness.DISK_FLOOR - 1, 503), (readiness.DISK_FLOOR, 200)]
)
def test_it_says_503_when_the_disk_is_below_the_floor(
    free: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "disk", lambda: readiness.Disk(2**40, free))
    assert answer()[0] == status


@pytest.mark.parametrize(("vendor", "found"), [("sqlite", (10, 7)), ("postgresql", None)])
def test_the_disk_of_the_sqlite_file_is_looked_at(
    vendor: str, found: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        looked_at.append(path)
        return SimpleNamespace(total=10, used=3, free=7)

    monkeypatch.setattr("shutil.disk_usage", usage)
    database = SimpleNamespace(vendor=vendor, settings_dict={"NAME": "/srv/data/panel.db"})
    monkeypatch.setattr(readiness, "connection", database)
    assert readiness.disk() == found
    assert looked_at == ([Path("/srv/data")] if found else [])


def test_a_client_that_asks_too_often_is_told_to_wait(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "1/min"
    assert answer()[0] == 200
    response = Client().get("/readyz")
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_only_reads(method: str) -> None:
    response = Client(enforce_csrf_checks=True).generic(method, "/readyz")
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(("old", "status"), [([], 200), (["traffic_usage"], 503)])
def test_a_worker_of_a_cluster_looks_at_its_tables_instead_of_migrations(
    old: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(citus, "is_worker", lambda: True)
    monkeypatch.setattr(distribution, "outdated", lambda: old)
    monkeypatch.setattr(readiness, "pending_migrations", lambda: ["traffic.0001"])
    monkeypatch.setattr(readiness, "_setting", {"transaction_read_only": "off"}.__getitem__)
    assert answer()[0] == status


def test_a_worker_that_only_reads_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(citus, "is_worker", lambda: True)
    monkeypatch.setattr(distribution, "outdated", list)
    monkeypatch.setattr(readiness, "_setting", {"transaction_read_only": "on"}.__getitem__)
    assert answer() == (503, {"status": "unavailable", "detail": "The database cannot be written."})
