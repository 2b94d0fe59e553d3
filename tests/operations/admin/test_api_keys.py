"""The operator's list and page of API keys: shown once, revoked, never deleted."""

import re
from collections.abc import Iterator
from datetime import datetime

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.test import Client

from operations.api.authentication import create_api_key, digest
from operations.models import ApiKey, AuditEntry
from tests.traffic.admin_pages import act, listed, messages_of, operator, queries, text_of, url
from tests.traffic.examples import DAY, HOUR, NOW

pytestmark = pytest.mark.django_db

LIST = "/admin/operations/apikey/"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def a_key(name: str = "billing", scope: str = "read", expires_at: datetime | None = None) -> ApiKey:
    return create_api_key(name, scope, expires_at)[0]


def made(client: Client, **fields: str) -> tuple[str, list[str]]:
    """The secret of a key that is added in the admin, and the URLs on the way to it."""
    answer = client.post(
        url("apikey_add"), {"name": "billing", "scope": "read"} | fields, follow=True
    )
    found = re.search(
        r'<input class="xp-secret"[^>]* value="([^"]+)" data-copy="Copy">', answer.content.decode()
    )
    assert found
    return found[1], [address for address, _ in answer.redirect_chain]


def test_a_new_key_is_shown_in_a_field_to_copy(client: Client) -> None:
    secret, _ = made(client)
    key = ApiKey.objects.get()
    assert (key.name, key.scope, key.hash, key.hint) == (
        "billing",
        "read",
        digest(secret),
        secret[:4],
    )


def test_a_new_key_works(client: Client) -> None:
    secret, _ = made(client)
    answer = Client().get(
        "/api/xpert/traffic-stats/global", headers={"authorization": f"Bearer {secret}"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother"])
def test_a_new_key_is_shown_exactly_once(button: str, client: Client) -> None:
    secret, addresses = made(client, **{button: "1"})
    for address in (*addresses, LIST, url("apikey_change", ApiKey.objects.get().pk), "/admin/"):
        assert secret not in client.get(address).content.decode()


def test_a_new_key_stands_in_no_address_log_or_session(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret, addresses = made(client)
    assert not [address for address in addresses if secret in address]
    assert secret not in caplog.text
    entry = AuditEntry.objects.get()
    assert entry.action == "added"
    assert secret not in str(entry.__dict__)
    assert secret not in str([session.get_decoded() for session in Session.objects.all()])
    assert secret not in str(list(ApiKey.objects.values()))


def test_a_key_may_expire(client: Client) -> None:
    made(client, expires_at_0="2024-02-11", expires_at_1="00:00:00")
    assert f"{ApiKey.objects.get().expires_at:%Y-%m-%d %H:%M}" == "2024-02-11 00:00"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "This field is required."),
        ({"scope": "root"}, "Select a valid choice."),
        ({"expires_at_0": "2024-02-10", "expires_at_1": "19:20:30"}, "This time is in the past."),
    ],
)
def test_it_says_what_is_wrong_with_a_new_key(
    fields: dict[str, str], words: str, client: Client
) -> None:
    answer = client.post(url("apikey_add"), {"name": "billing", "scope": "read"} | fields)
    assert words in text_of(answer)
    assert not ApiKey.objects.exists()


def test_the_list_shows_where_a_key_stands(client: Client) -> None:
    key = a_key()
    a_key("old", "manage", NOW)
    a_key("new", "report", NOW + DAY)
    ApiKey.objects.filter(name="new").update(revoked_at=NOW)
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=NOW - HOUR)
    words = text_of(client.get(LIST))
    assert (
        f"billing read: statistics {key.hint}… active 2024-02-10 19:20 never 2024-02-10 18:20"
        in words
    )
    assert "expired 2024-02-10 19:20 2024-02-10 19:20 never" in words
    assert "revoked 2024-02-10 19:20 2024-02-11 19:20 never" in words


def test_an_empty_list_says_what_keys_are_for(client: Client) -> None:
    assert "No API keys yet. Add one for each program" in text_of(client.get(LIST))


@pytest.mark.parametrize(("column", "order"), [(1, "abc"), (5, "cba"), (6, "bac"), (7, "cab")])
def test_the_list_sorts(column: int, order: str, client: Client) -> None:
    a_key("c")
    ApiKey.objects.filter(pk=a_key("b", expires_at=NOW + DAY).pk).update(last_used_at=NOW)
    ApiKey.objects.filter(pk=a_key("a", expires_at=NOW + 2 * DAY).pk).update(last_used_at=NOW - DAY)
    assert "".join(listed(client.get(f"{LIST}?o={column}"))) == order
    assert "".join(listed(client.get(f"{LIST}?o=-{column}"))) == order[::-1]


def test_the_list_costs_the_same_with_any_number_of_rows(client: Client) -> None:
    def cost() -> int:
        with queries() as found:
            assert client.get(LIST).status_code == 200
        return len(found)

    for number in range(3):
        a_key(f"key {number}")
    few = cost()
    for number in range(27):
        a_key(f"more {number}")
    assert few == cost() <= 4


def test_name_and_expiry_can_be_edited_and_nothing_else(client: Client) -> None:
    key = a_key()
    edit = {
        "name": "cron",
        "scope": "manage",
        "expires_at_0": "2024-03-01",
        "expires_at_1": "00:00:00",
        "hash": "x",
    }
    client.post(url("apikey_change", key.pk), edit)
    edited = ApiKey.objects.get()
    assert (edited.name, edited.scope, edited.hash) == ("cron", "read", key.hash)
    assert f"{edited.expires_at:%Y-%m-%d}" == "2024-03-01"


def test_an_expired_key_can_be_renamed(client: Client) -> None:
    key = a_key(expires_at=NOW - DAY)
    edit = {"name": "cron", "expires_at_0": "2024-02-09", "expires_at_1": "19:20:30"}
    client.post(url("apikey_change", key.pk), edit)
    assert ApiKey.objects.get().name == "cron"


def test_revoking_keeps_the_row(client: Client) -> None:
    key, other = a_key(), a_key("other")
    assert messages_of(act(client, "apikey", "revoke", key)) == ["1 API key is revoked."]
    assert ApiKey.objects.get(pk=key.pk).revoked_at == NOW
    assert ApiKey.objects.get(pk=other.pk).revoked_at is None
    assert [
        (entry.target_id, entry.action, entry.author) for entry in AuditEntry.objects.all()
    ] == [(key.pk, "revoked", "root")]


def test_revoking_again_keeps_the_first_moment(client: Client) -> None:
    key = a_key()
    ApiKey.objects.update(revoked_at=NOW - DAY)
    assert messages_of(act(client, "apikey", "revoke", key)) == ["0 API keys are revoked."]
    assert ApiKey.objects.get().revoked_at == NOW - DAY


def test_the_button_asks_before_it_revokes(client: Client) -> None:
    key = a_key()
    assert url("apikey_revoke", key.pk) in client.get(url("apikey_change", key.pk)).content.decode()
    assert "Revoke billing?" in text_of(client.get(url("apikey_revoke", key.pk)))
    assert ApiKey.objects.get().revoked_at is None
    answer = client.post(url("apikey_revoke", key.pk), follow=True)
    assert messages_of(answer) == ["1 API key is revoked."]
    assert ApiKey.objects.get().revoked_at == NOW
    assert (
        url("apikey_revoke", key.pk)
        not in client.get(url("apikey_change", key.pk)).content.decode()
    )


def test_a_revoked_key_is_refused(client: Client) -> None:
    secret, _ = made(client)
    client.post(url("apikey_revoke", ApiKey.objects.get().pk))
    answer = Client().get(
        "/api/xpert/traffic-stats/global", headers={"authorization": f"Bearer {secret}"}
    )
    assert answer.status_code == 401


def test_no_key_can_be_deleted(client: Client) -> None:
    key = a_key()
    assert client.post(url("apikey_delete", key.pk), {"post": "yes"}).status_code == 403
    act(client, "apikey", "delete_selected", key, post="yes")
    assert ApiKey.objects.exists()
