import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/healthz/"])
def test_it_says_ok_to_anybody(path: str) -> None:
    response = Client().get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "error", [OperationalError("secret path"), InterfaceError("connection already closed")]
)
def test_it_says_503_when_the_database_does_not_answer(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr(connection, "cursor", broken)
    response = Client().get("/healthz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "detail": "The database does not answer."}
