"""What the operator's first screen says of sources."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries

from subscriptions import card as cards
from subscriptions.models import Source

pytestmark = pytest.mark.django_db

GB = 2**30


def a_source(name: str = "Berlin", **fields: Any) -> Source:
    found: Source = baker.make(Source, name=name, url=f"https://{name}.example/secret", **fields)
    return found


def words(client: Client) -> str:
    page = client.get("/admin/").content.decode()
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"</?bdi[^>]*>", "", page)).split())


def test_it_shows_the_remaining_traffic_of_a_provider(admin_client: Client) -> None:
    a_source(provider_upload=GB, provider_download=3 * GB, provider_total=16 * GB)
    assert "Sources Berlin 12.00 GB left 4.00 GB of 16.00 GB, 25 %" in words(admin_client)


def test_more_than_the_limit_leaves_nothing(admin_client: Client) -> None:
    a_source(provider_download=3 * GB, provider_total=2 * GB)
    assert "Berlin 0 B left" in words(admin_client)


def test_an_unknown_quota_is_not_shown_as_used_up(admin_client: Client) -> None:
    a_source()
    assert "Berlin no limit reported" in words(admin_client)


def test_it_tells_until_when(admin_client: Client) -> None:
    a_source(provider_expire=int(datetime(2030, 1, 2, 3, 4, tzinfo=UTC).timestamp()))
    assert "Berlin until 2030-01-02 03:04" in words(admin_client)


@pytest.mark.parametrize("seconds", [0, 2**62])
def test_an_impossible_date_is_left_out(seconds: int, admin_client: Client) -> None:
    a_source(provider_expire=seconds)
    assert "Berlin no limit reported" in words(admin_client)


def test_it_shows_the_error_of_a_source(admin_client: Client) -> None:
    a_source(last_error="timeout")
    assert "Berlin The server is too slow." in words(admin_client)


def test_sources_that_are_off_and_urls_are_not_shown(admin_client: Client) -> None:
    a_source()
    a_source("Paris", enabled=False)
    page = admin_client.get("/admin/").content.decode()
    assert "Paris" not in page
    assert "secret" not in page


def test_without_sources_there_is_no_card(admin_client: Client) -> None:
    assert "no limit reported" not in words(admin_client)
    assert cards.sources(datetime.now(UTC)) == {"sources": []}


def test_many_take_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(30):
        a_source(f"s{number}")
    with django_assert_num_queries(1):
        assert len(cards.sources(datetime.now(UTC))["sources"]) == 20
