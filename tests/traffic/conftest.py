import pytest
from django.test import Client
from pytest_django import Settings


@pytest.fixture
def open_access(settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS = True


@pytest.fixture
def local() -> Client:
    """Somebody on the panel's own machine, without a key."""
    return Client(headers={"host": "127.0.0.1:8000"})
