"""The choice on a subscriber's page to be notified when the subscription runs out."""

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from subscriptions import telling
from tests.subscriptions.examples import subscriber
from tests.subscriptions.serving.test_subscriber_page import browse
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
TELL_ME = "/api/xpert/tell-me"


@pytest.fixture
def person() -> Subscriber:
    return subscriber()


@pytest.fixture
def _on(settings: Settings) -> None:
    settings.XPERT_TELL_PEOPLE = True


def choose(told: str, token: str = "user123", lang: str = "ru") -> "Client":
    url = f"{TELL_ME}?user_token={token}&lang={lang}&told={told}"
    return Client(enforce_csrf_checks=True).post(url)  # type: ignore[return-value]


@pytest.mark.usefixtures("_on")
def test_the_page_offers_it_and_may_send_its_form_to_the_panel(person: Subscriber) -> None:
    page = browse(lang="ru")
    assert 'action="/api/xpert/tell-me?user_token=user123&amp;lang=ru&amp;told=yes"' in page.text
    assert "form-action 'self'" in page["Content-Security-Policy"]


def test_without_the_setting_the_page_has_no_form_and_asks_the_database_nothing_more(
    person: Subscriber, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    page = browse()
    assert "<form" not in page.text
    assert "form-action 'none'" in page["Content-Security-Policy"]


@pytest.mark.usefixtures("_on")
def test_yes_remembers_the_language_of_the_page_and_leads_back(person: Subscriber) -> None:
    answer = choose("yes")
    assert (answer.status_code, answer["Location"]) == (  # type: ignore[attr-defined, index]
        303,
        "/api/xpert/sub?user_token=user123&lang=ru#telling",
    )
    assert telling.language_of(person) == "ru"
    assert "Сообщения включены" in browse(lang="ru").text


@pytest.mark.usefixtures("_on")
def test_no_ends_it(person: Subscriber) -> None:
    telling.tell(person.pk, "ru")
    choose("no")
    assert telling.language_of(person) is None


@pytest.mark.usefixtures("_on")
def test_an_unknown_token_changes_nothing_and_creates_nobody() -> None:
    assert choose("yes", "nobody").status_code == 404  # type: ignore[attr-defined]
    assert not Subscriber.objects.exists()


def test_the_address_leads_nowhere_while_the_setting_is_off(person: Subscriber) -> None:
    assert choose("yes").status_code == 404  # type: ignore[attr-defined]
    assert telling.language_of(person) is None


@pytest.mark.usefixtures("_on")
def test_it_is_limited_like_subscription_requests(person: Subscriber, settings: Settings) -> None:
    settings.XPERT_RATE_SUBSCRIPTIONS = "1/hour"
    assert [choose("yes").status_code for _ in range(2)] == [303, 429]  # type: ignore[attr-defined]
