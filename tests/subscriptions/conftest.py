from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from tests.subscriptions.hostile import InternetInThread


@pytest.fixture
def local(settings: Settings) -> Client:
    """Somebody on the panel's own machine under open access, without a key."""
    settings.XPERT_OPEN_ACCESS = True
    return Client(headers={"host": "127.0.0.1:8000"})


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """A signed-in member of the staff with just these permissions: ``view_directconfig``, …"""

    def signed_in(*permissions: str) -> Client:
        user = User.objects.create_user("member", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def internet() -> Iterator[InternetInThread]:
    """Names at public addresses whose servers are played here."""
    found = InternetInThread()
    yield found
    found.close()
