"""A dump of the database alone tells no secret that the panel must be able to read again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from integrations.marzban import accounts
from integrations.marzban.models import PanelLink
from integrations.marzban.panel_api import PanelApi
from integrations.moving.models import OldPanel
from integrations.pulls.models import Panel
from operations.audit import By
from operations.sealing import CannotOpenError
from tests.integrations.moving.old_databases import SECRET, marzban
from tests.integrations.pulls.test_admin import NEW

pytestmark = pytest.mark.django_db

PASSWORD, COOKIE, ACCOUNT = "s3cr3t-password", "s3cr3t-cookie", "s3cr3t-account"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def stored(admin: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each kind, entered as an operator does it."""
    admin.post(
        "/admin/pulls/panel/add/", NEW | {"secret": PASSWORD, "headers": f"Cookie: a={COOKIE}"}
    )
    call_command(
        "import_panel", "marzban", str(marzban(tmp_path / "db", [{}])), "--yes", verbosity=0
    )
    monkeypatch.setattr(PanelApi, "sign_in", lambda *_: None)
    link = PanelLink.objects.create(name="Link", url="https://linked.example.com")
    accounts.store(link, "admin", ACCOUNT, By("root", timezone.now()))


def dump() -> str:
    """All rows of all tables, with what is encoded as text."""
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            rows.append(cursor.fetchall())
    return str(rows)


@pytest.mark.usefixtures("stored")
def test_a_dump_holds_no_stored_secret_in_the_clear() -> None:
    found = dump()
    assert Panel.objects.get().sealed_secret in found
    assert OldPanel.objects.get().sealed_secret in found
    assert [secret for secret in (PASSWORD, COOKIE, SECRET, ACCOUNT) if secret in found] == []


@pytest.mark.usefixtures("stored")
def test_without_the_key_they_cannot_be_read(settings: Settings) -> None:
    pull, old = Panel.objects.get(), OldPanel.objects.get()
    assert (pull.secret, old.secret) == (PASSWORD, SECRET)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 10, []
    reads: list[Callable[[], object]] = [
        lambda: pull.secret,
        lambda: pull.headers,
        lambda: old.secret,
    ]
    for read in reads:
        with pytest.raises(CannotOpenError):
            read()


@pytest.mark.usefixtures("stored")
def test_after_forgetting_not_even_the_sealed_secret_is_left(admin: Client) -> None:
    pull, old = Panel.objects.get(), OldPanel.objects.get()
    admin.post(f"/admin/pulls/panel/{pull.pk}/forget/")
    admin.post(f"/admin/moving/oldpanel/{old.pk}/forget/")
    found = dump()
    sealed = (pull.sealed_secret, pull.sealed_headers, old.sealed_secret)
    assert [secret for secret in sealed if secret in found] == []
