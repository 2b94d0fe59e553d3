"""Old subscription links of people who moved in."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from integrations.moving import old_links, old_tokens
from tests.integrations.moving.old_databases import MADE, SECRET, marzban, pasarguard
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

BORN = int(datetime.fromisoformat(MADE).replace(tzinfo=UTC).timestamp())
LATER = BORN + 1000


def hashed(payload: str, secret: str = SECRET) -> str:
    """As Marzban signs."""
    text = _text(payload.encode())
    return text + urlsafe_b64encode(sha256((text + secret).encode()).digest()).decode()[:10]


def keyed(payload: str, secret: str = SECRET) -> str:
    """As PasarGuard signs."""
    text = _text(payload.encode())
    return f"{text}.{_signature(text, secret)}"


def jwt(name: str, at: int, access: str = "subscription", secret: str = SECRET) -> str:
    """As the first versions of Marzban have signed."""
    head = _text(b'{"alg":"HS256","typ":"JWT"}')
    claims = _text(json.dumps({"sub": name, "access": access, "iat": at}).encode())
    return f"{head}.{claims}.{_signature(f'{head}.{claims}', secret)}"


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _signature(text: str, secret: str) -> str:
    return _text(hmac.digest(secret.encode(), text.encode(), "sha256"))


@pytest.fixture
def alice(tmp_path: Path) -> Subscriber:
    """She has moved in from a Marzban."""
    _move_in("marzban", marzban(tmp_path / "db", [{}]))
    return Subscriber.objects.get()


def _move_in(kind: str, path: Path, *options: str) -> None:
    call_command("import_panel", kind, str(path), "--yes", *options, verbosity=0)


def test_an_old_link_gives_the_list(alice: Subscriber, client: Client) -> None:
    answer = client.get("/api/xpert/sub", {"user_token": hashed(f"alice,{LATER}")})
    assert answer.status_code == 200
    assert client.get("/api/xpert/sub", {"user_token": alice.token}).content == answer.content


@pytest.mark.parametrize("make", [hashed, keyed], ids=["sha256", "hmac"])
def test_every_token_that_the_panel_has_signed_means_its_owner(
    alice: Subscriber, make: Callable[[str], str]
) -> None:
    for at in (LATER, LATER + 1):
        assert old_links.own_token(make(f"alice,{at}")) == alice.token


def test_the_oldest_tokens_mean_their_owner(alice: Subscriber) -> None:
    assert old_links.own_token(jwt("alice", LATER)) == alice.token
    assert old_links.own_token(jwt("alice", LATER, access="admin")) is None
    assert old_links.own_token(jwt("alice", LATER, secret="another")) is None


def test_tokens_of_pasarguard_name_its_user_by_number(tmp_path: Path) -> None:
    _move_in("pasarguard", pasarguard(tmp_path / "db", [{}, {"username": "bob"}]))
    bob = Subscriber.objects.get(name="bob")
    assert old_links.own_token(keyed(f"v3,2,{LATER}")) == bob.token
    assert old_links.own_token(hashed(f"v2,2,{LATER}")) == bob.token
    assert old_links.own_token(keyed(f"v3,9,{LATER}")) is None


@pytest.mark.parametrize("payload", [f"alice,{BORN - 1}", f"bob,{LATER}"])
def test_a_token_from_before_the_account_or_of_somebody_else_means_nobody(
    alice: Subscriber, payload: str
) -> None:
    assert old_links.own_token(hashed(payload)) is None
    assert old_links.own_token(hashed(f"alice,{BORN}")) == alice.token


def test_a_token_with_another_signature_means_nobody(alice: Subscriber) -> None:
    good = hashed(f"alice,{LATER}")
    assert old_links.own_token(hashed(f"alice,{LATER}", secret="0" * 64)) is None
    assert old_links.own_token(good[:-1] + ("A" if good[-1] != "A" else "B")) is None


def test_a_revoked_token_means_nobody(tmp_path: Path) -> None:
    revoked = datetime.fromtimestamp(LATER, UTC).strftime("%Y-%m-%d %H:%M:%S.500000")
    _move_in("marzban", marzban(tmp_path / "db", [{"sub_revoked_at": revoked}]))
    assert old_links.own_token(hashed(f"alice,{LATER}")) is None
    assert old_links.own_token(hashed(f"alice,{LATER + 1}")) is not None


def test_a_second_run_learns_of_revoked_links(alice: Subscriber, tmp_path: Path) -> None:
    token = hashed(f"alice,{LATER}")
    assert old_links.own_token(token) == alice.token
    revoked = datetime.fromtimestamp(LATER + 5, UTC).strftime("%Y-%m-%d %H:%M:%S")
    _move_in("marzban", marzban(tmp_path / "later", [{"sub_revoked_at": revoked}]))
    assert old_links.own_token(token) is None
    assert old_links.own_token(hashed(f"alice,{LATER + 6}")) == alice.token


def test_without_the_secret_old_tokens_mean_nobody_until_it_is_given(tmp_path: Path) -> None:
    _move_in("marzban", marzban(tmp_path / "one", [{}], secret=""))
    token = hashed(f"alice,{LATER}")
    assert old_links.own_token(token) is None
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    nothing = marzban(tmp_path / "two", [], secret="")
    _move_in("marzban", nothing, "--secret-file", str(tmp_path / "secret"))
    assert old_links.own_token(token) == Subscriber.objects.get().token


def test_a_subscriber_with_exactly_this_token_keeps_it(alice: Subscriber) -> None:
    token = hashed(f"alice,{LATER}")
    Subscriber.objects.create(name="bob", token=token)
    assert old_links.own_token(token) is None


def test_after_a_change_of_the_secret_key_old_tokens_mean_nobody(
    alice: Subscriber, settings: Settings
) -> None:
    settings.SECRET_KEY = "another" * 10
    assert old_links.own_token(hashed(f"alice,{LATER}")) is None


def test_the_secret_is_not_in_the_database_in_the_clear(alice: Subscriber) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed_secret FROM moving_oldpanel")
        assert SECRET not in str(cursor.fetchall())


def test_a_token_of_our_own_costs_no_query(alice: Subscriber) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert old_links.own_token(alice.token) is None
        assert old_links.own_token("guide-user") is None
    assert len(queries) == 0


@pytest.mark.parametrize("text", ["", "x", "a" * 5000, "eyJ" + "a" * 20 + "." + "b" * 20, "ü" * 40])
def test_what_is_no_such_token_is_none(text: str) -> None:
    assert old_tokens.read(text) is None
