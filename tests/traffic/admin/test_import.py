"""Import of subscribers from a CSV file in the admin: a preview first, then the import after confirmation."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError
from django.test import Client

from operations.models import AuditEntry
from tests.traffic.admin_pages import a_subscriber, messages_of, operator, staff, text_of
from tests.traffic.examples import DAY, GB, NOW
from traffic.admin import importing
from traffic.models import Subscriber
from traffic.people import csv_import

pytestmark = pytest.mark.django_db

LIST = "/admin/traffic/subscriber/"
IMPORT = f"{LIST}import/"
GOOD = b"name,token,data_limit\nAnn,ann-token-1234,50 GB\nBob,,\n"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def shown(client: Client, content: bytes) -> Any:
    return client.post(IMPORT, {"file": SimpleUploadedFile("people.csv", content)})


def agreed(client: Client, content: bytes) -> Any:
    return client.post(IMPORT, {"content": base64.b64encode(content).decode()}, follow=True)


def test_the_list_leads_to_it(client: Client) -> None:
    assert f'href="{IMPORT}"' in client.get(LIST).content.decode()
    assert "Nothing is created yet" in text_of(client.get(IMPORT))


def test_a_file_is_shown_and_nothing_is_made(client: Client) -> None:
    answer = shown(client, GOOD)
    words = text_of(answer)
    assert "2 subscribers will be created" in words
    assert "2 Ann ann-… 50.00 GB never never yes" in words
    assert "3 Bob" in words
    assert "ann-token" not in answer.content.decode()
    assert not Subscriber.objects.exists()
    assert answer.context["content"] == base64.b64encode(GOOD).decode()


def test_agreed_to_they_are_made_and_noted(client: Client) -> None:
    answer = agreed(client, GOOD)
    assert answer.redirect_chain == [(LIST, 302)]
    assert messages_of(answer)[0] == "2 subscribers were created."
    assert "/export/list.csv?id__in=" in messages_of(answer)[1]
    assert list(Subscriber.objects.order_by("pk").values_list("name", "data_limit")) == [
        ("Ann", 50 * GB),
        ("Bob", None),
    ]
    assert list(AuditEntry.objects.values_list("author", "action")) == [("root", "added")] * 2


def test_a_form_sent_twice_creates_nobody_twice(client: Client) -> None:
    page = shown(client, b"name\nAnn\nBob\n")
    form = {name: page.context[name] for name in ("content", "seed")}
    assert messages_of(client.post(IMPORT, form, follow=True))[0] == "2 subscribers were created."
    assert messages_of(client.post(IMPORT, form, follow=True)) == ["0 subscribers were created."]
    assert Subscriber.objects.count() == 2


def test_the_tokens_that_are_made_are_those_that_were_shown(client: Client) -> None:
    page = shown(client, b"name\nAnn\nBob\n")
    promised = {subscriber.token for _, subscriber in page.context["found"]}
    client.post(IMPORT, {name: page.context[name] for name in ("content", "seed")})
    assert set(Subscriber.objects.values_list("token", flat=True)) == promised
    assert {len(token) for token in promised} == {43}


def test_the_same_file_uploaded_again_creates_other_subscribers(client: Client) -> None:
    first, second = (shown(client, b"name\nAnn\n").context["found"][0][1].token for _ in range(2))
    assert first != second


def test_a_file_of_a_header_alone_is_said_to_be_empty(client: Client) -> None:
    words = text_of(shown(client, b"name,token\n"))
    assert "There are no subscribers in this file." in words
    assert "Create them" not in words
    assert "There are no subscribers" not in text_of(shown(client, GOOD))


def test_bad_lines_are_named_and_left_out(client: Client) -> None:
    a_subscriber("Old", token="taken-token-1")
    content = b"name,token,data_limit\nAnn,,much\nBob,taken-token-1,\nCid,,\n"
    words = text_of(shown(client, content))
    assert "2 lines have errors and will be left out" in words
    assert "Line 2: data_limit:" in words
    assert "Line 3: token: Another subscriber has this token." in words
    assert "1 subscriber will be created" in words
    agreed(client, content)
    assert set(Subscriber.objects.values_list("name", flat=True)) == {"Old", "Cid"}


def test_a_file_without_a_good_line_offers_nothing_to_make(client: Client) -> None:
    words = text_of(shown(client, b"name,colour\nAnn,red\n"))
    assert "Unknown columns: colour." in words
    assert "Create them" not in words
    assert messages_of(agreed(client, b"nonsense")) == ["0 subscribers were created."]


def test_only_the_first_of_many_lines_are_shown(client: Client) -> None:
    words = text_of(
        shown(client, b"name\n" + b"".join(b"user%d\n" % number for number in range(60)))
    )
    assert "60 subscribers will be created" in words
    assert "and 10 more" in words
    assert "user49" in words
    assert "user50" not in words


@pytest.mark.parametrize(("size", "is_taken"), [(0, True), (1, False)])
def test_a_file_too_large_for_the_page_is_refused(
    size: int, is_taken: bool, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MAX_BYTES", len(GOOD) - size)
    assert ("use manage.py import_subscribers" in text_of(shown(client, GOOD))) != is_taken


def test_the_largest_file_comes_back_whole(client: Client) -> None:
    lines, rest = divmod(importing.MAX_BYTES - len("name,note\n"), len("Ann,\n") + 9_995)
    content = (
        b"name,note\n"
        + b"".join(b"Ann," + b"x" * 9_995 + b"\n" for _ in range(lines))
        + b"\n" * rest
    )
    assert len(content) == importing.MAX_BYTES
    returned = shown(client, content).context["content"]
    client.post(IMPORT, {"content": returned})
    assert Subscriber.objects.count() == lines


def test_without_a_file_it_asks_for_one(client: Client) -> None:
    assert "This field is required." in text_of(client.post(IMPORT, {"file": ""}))


def test_a_file_changed_after_the_preview_creates_nothing(client: Client) -> None:
    assert client.post(IMPORT, {"content": "§"}, follow=True).status_code == 200
    assert not Subscriber.objects.exists()


def test_a_token_taken_meanwhile_makes_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: Any) -> int:
        raise IntegrityError

    monkeypatch.setattr(csv_import, "store", taken)
    answer = agreed(client, GOOD)
    assert "one of the tokens is already in use" in messages_of(answer)[0]
    assert "2 subscribers will be created" in text_of(answer)


def test_it_needs_the_permission_to_add() -> None:
    client = staff("view_subscriber", "change_subscriber")
    assert client.get(IMPORT).status_code == 403
    assert shown(client, GOOD).status_code == agreed(client, GOOD).status_code == 403
    assert IMPORT not in client.get(LIST).content.decode()
    assert not Subscriber.objects.exists()


def test_a_download_can_be_imported_elsewhere(client: Client) -> None:
    fields = {
        "data_limit": 3 * GB + 1,
        "limit_reset": "monthly",
        "reset_day": 7,
        "expires_at": NOW + DAY,
        "is_active": False,
    }
    a_subscriber("=Ann", token="-a-token-with-dash", note="+1", **fields)
    content = b"".join(client.get(f"{LIST}export/import.csv").streaming_content)  # type: ignore[attr-defined]
    before = list(Subscriber.objects.values_list("name", "token", "note", *fields))
    Subscriber.objects.all().delete()
    agreed(client, content)
    assert list(Subscriber.objects.values_list("name", "token", "note", *fields)) == before
