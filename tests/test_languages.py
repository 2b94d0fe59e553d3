"""The admin is in the operator's language; the API is always in English."""

from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from tests.traffic.admin_pages import a_subscriber, operator, text_of, url
from tests.traffic.examples import DAY, GB, NOW, STATISTICS, WEBHOOK, a_report, stored

pytestmark = pytest.mark.django_db

RUSSIAN = {"accept-language": "ru-RU,ru;q=0.9,en;q=0.5"}
HOME = "/admin/"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def test_a_russian_browser_gets_russian(client: Client) -> None:
    answer = client.get(HOME, headers=RUSSIAN)
    assert "Подписчики" in text_of(answer)
    assert answer["Content-Language"] == "ru"


@pytest.mark.parametrize("language", ["de", "fa", ""])
def test_a_browser_with_another_language_gets_english(language: str, client: Client) -> None:
    answer = client.get(HOME, headers={"accept-language": language})
    assert "Subscribers" in text_of(answer)
    assert answer["Content-Language"] == "en"


def test_the_panels_language_is_for_browsers_that_ask_for_none(
    client: Client, settings: Settings
) -> None:
    settings.LANGUAGE_CODE = "ru"
    assert "Подписчики" in text_of(client.get(HOME))


def test_the_switch_wins_over_the_browser(client: Client) -> None:
    answer = client.post("/admin/language/", {"language": "ru", "next": HOME})
    assert answer["Location"] == HOME
    assert answer.cookies["django_language"]["samesite"] == "Lax"
    assert "Подписчики" in text_of(client.get(HOME, headers={"accept-language": "en"}))


def test_the_switch_offers_the_available_languages(client: Client) -> None:
    page = client.get(HOME).content.decode()
    assert 'action="/admin/language/"' in page
    assert [
        code
        for code in ("en", "ru", "fa")
        if f'name="language" type="hidden" value="{code}"' in page
    ] == [
        "en",
        "ru",
    ]


def test_the_switch_leads_nowhere_else(client: Client) -> None:
    answer = client.post("/admin/language/", {"language": "ru", "next": "https://evil.example/"})
    assert "evil" not in answer["Location"]


def test_figures_and_dates_have_the_local_form(client: Client) -> None:
    stored(
        a_report(upload=GB, download=GB // 2),
        a_report(NOW - 8 * DAY, server="old.example.com", user_token="b"),
    )
    page = client.get(HOME, headers=RUSSIAN)
    assert "Сегодня 1,50 ГБ" in text_of(page)
    assert 'title="1\xa0610\xa0612\xa0736 байт"' in page.content.decode()
    assert "с 02.02.2024 19:20" in text_of(page)


@pytest.mark.parametrize(
    "address", ["subscriber_changelist", "server_changelist", "apikey_changelist"]
)
def test_a_list_is_russian(address: str, client: Client) -> None:
    a_subscriber()
    stored(a_report())
    page = text_of(client.get(url(address), headers=RUSSIAN))
    assert "Subscribers" not in page
    assert "Filters" not in page
    assert "Type to search" not in page


def test_a_list_counts_in_russian(client: Client) -> None:
    a_subscriber()
    assert "Всего: 1" in text_of(client.get(url("subscriber_changelist"), headers=RUSSIAN))


def test_the_api_answers_in_english_whatever_the_language() -> None:
    answers = [
        Client().post(
            WEBHOOK, {"port": 0}, "application/json", headers={"accept-language": language}
        )
        for language in ("ru", "en")
    ]
    assert answers[0].content == answers[1].content
    assert "Content-Language" not in answers[0].headers
    assert "Accept-Language" not in answers[0].get("Vary", "")


def test_a_thread_does_not_go_on_in_russian(client: Client) -> None:
    before = client.get(f"{STATISTICS}/global?days=0").content
    client.get(HOME, headers=RUSSIAN)
    assert client.get(f"{STATISTICS}/global?days=0").content == before
