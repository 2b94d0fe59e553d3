"""The line of a list that tells what is left."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from subscriptions import formats
from subscriptions.models import Brand
from subscriptions.serving import usage_lines
from subscriptions.serving.usage_lines import Figures
from tests.subscriptions.examples import A, ask, direct, subscriber, use
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
GB = 2**30
NOW = datetime(2026, 12, 30, 12, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def person(settings: Settings) -> Subscriber:
    settings.XPERT_LANGUAGE = "en"
    direct(A)
    return subscriber(name="Ann", data_limit=50 * GB)


def brand(**fields: Any) -> Brand:
    return Brand.objects.create(pk=1, **fields)


def shown(app: str, **headers: str) -> str:
    body = ask(format=app, headers=headers).content
    return unquote((b64decode(body) if app == "base64" else body).decode())


def filled(text: str, language: str = "en", **changed: Any) -> str:
    figures = Figures("Ann", 12 * GB, 50 * GB, END, NOW)
    return usage_lines.line(text, figures._replace(**changed), language)


def test_it_is_off_by_default_and_the_list_stays_as_it_was() -> None:
    first = ask()
    assert usage_lines.MARK not in unquote(first.content.decode())
    use(Subscriber.objects.get(), GB, 0)
    assert ask(headers={"if-none-match": first.headers["ETag"]}).status_code == 304
    assert first.headers["Vary"] == "User-Agent, Accept"


@pytest.mark.parametrize("app", formats.NAMES)
def test_it_ends_the_lists_of_the_chosen_format_alone(app: str) -> None:
    brand(line_formats=[app])
    found = [name for name in formats.NAMES if "Left: 50.00 GB, until: no end" in shown(name)]
    assert found == [app]
    assert "a.example" in shown(app)


def test_it_comes_last() -> None:
    brand(line_formats=["plain"])
    assert [line.partition("#")[2] for line in shown("plain").splitlines()] == [
        "A", "📊 Left: 50.00 GB, until: no end",
    ]  # fmt: skip


def test_it_follows_the_usage_and_so_does_the_etag() -> None:
    brand(line_formats=["plain"])
    tag = ask().headers["ETag"]
    assert ask(headers={"if-none-match": tag}).status_code == 304
    use(Subscriber.objects.get(), 10 * GB, 2 * GB)
    again = ask(headers={"if-none-match": tag})
    assert again.status_code == 200
    assert "Left: 38.00 GB" in unquote(again.content.decode())


def test_it_is_in_the_persons_language() -> None:
    brand(line_formats=["plain"], line_ru="{name}: {used} из {limit}")
    answer = ask(headers={"accept-language": "ru-RU"})
    assert "📊 Ann: 0" in unquote(answer.content.decode())
    assert answer.headers["Vary"] == "User-Agent, Accept, Accept-Language"


def test_whoever_gets_no_servers_gets_no_such_line() -> None:
    brand(line_formats=["plain"])
    Subscriber.objects.update(is_active=False)
    assert usage_lines.MARK not in shown("plain")


def test_every_placeholder_is_filled_in() -> None:
    text = "{name} {used} {limit} {left} {days} {until}"
    assert filled(text) == "Ann 12.00 GB 50.00 GB 38.00 GB 2 31 December 2026"
    assert filled(text, limit=None, ends_at=None) == "Ann 12.00 GB no limit no limit no end no end"


@pytest.mark.parametrize(("used", "left"), [(50 * GB - GB, "1.00 GB"), (51 * GB, "0 bytes")])
def test_less_than_nothing_is_never_left(used: int, left: str) -> None:
    assert filled("{left}", used=used).startswith(left[:1])


@pytest.mark.parametrize(("hours", "days"), [(12, "1"), (13, "2"), (36, "2"), (-12, "0")])
def test_days_are_counted_with_the_last_one(hours: int, days: str) -> None:
    assert filled("{days}", ends_at=NOW + timedelta(hours=hours)) == days


def test_a_name_with_braces_and_line_breaks_stays_a_name_on_one_line() -> None:
    assert filled("{name}", name="{left}\nx") == "{left} x"


def save(client: Client, **fields: Any) -> Any:
    client.get(reverse("admin:subscriptions_brand_changelist"))
    return client.post(reverse("admin:subscriptions_brand_change", args=[1]), fields)


def test_the_form_saves_it_and_shows_a_preview(admin_client: Client) -> None:
    save(admin_client, line_formats=["plain", "mihomo"], line_en="Rest {left}")
    found = Brand.objects.get()
    assert (found.line_formats, found.line_en) == (["plain", "mihomo"], "Rest {left}")
    page = admin_client.get(reverse("admin:subscriptions_brand_change", args=[1]))
    assert "📊 Rest 38.00 GB" in page.content.decode()


@pytest.mark.parametrize("text", ["{lefd}", "{}", "{left.__class__}"])
def test_an_unknown_placeholder_is_refused(admin_client: Client, text: str) -> None:
    answer = save(admin_client, line_fa=text)
    assert "line_fa" in answer.context["adminform"].form.errors
    assert Brand.objects.get().line_fa == ""
