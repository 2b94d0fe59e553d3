"""The pages of a month: what is charged, what servers carried, and a statement to send."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.traffic.admin_pages import a_subscriber, operator, staff, text_of, url
from tests.traffic.examples import GB, NOW, a_report, stored
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

SUBSCRIBERS = "/admin/traffic/subscriber/bill/"
SERVERS = "/admin/traffic/server/bill/"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


@pytest.fixture
def ann() -> Subscriber:
    found = a_subscriber("Ann", token="ann-token-1", external_id="order-7")
    stored(a_report(user_token="ann-token-1", upload=GB, download=GB // 2))
    return found


def file(client: Client, path: str, **query: Any) -> list[str]:
    answer = client.get(path, {"file": "csv"} | query)
    return b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]


def test_a_month_of_subscribers_is_a_page_and_a_file(ann: Subscriber, client: Client) -> None:
    assert "Ann 1.000 GB 0.500 GB – 1.500 GB" in text_of(client.get(SUBSCRIBERS))
    assert file(client, SUBSCRIBERS)[1] == (
        f"2024-02,{ann.pk},order-7,Ann,{GB},{GB // 2},0,{GB * 3 // 2},1.5"
    )
    assert file(client, SUBSCRIBERS, month="2024-01")[1:] == []


@pytest.mark.usefixtures("ann")
def test_a_month_of_servers_is_a_page_and_a_file(client: Client) -> None:
    assert "vpn.example.com:443 vless 1.000 GB 0.500 GB 1.500 GB" in text_of(client.get(SERVERS))
    assert file(client, SERVERS)[1].startswith("2024-02,vpn.example.com,443,vless,")


@pytest.mark.parametrize("month", ["", "soon", "99999-01", "2024-02"])
def test_a_strange_month_shows_the_current_one(month: str, client: Client) -> None:
    assert "February 2024" in text_of(client.get(SUBSCRIBERS, {"month": month}))


def test_a_statement_is_a_file_that_needs_nothing_else(ann: Subscriber, client: Client) -> None:
    path = url("subscriber_statement", ann.pk)
    assert f'href="{path}"' in client.get(url("subscriber_usage", ann.pk)).content.decode()
    assert "Used 1.500 GB" in text_of(client.get(path))
    answer = client.get(path, {"file": "html"})
    page = answer.content.decode()
    assert answer["Content-Disposition"].endswith(f'"statement-{ann.pk}-2024-02.html"')
    assert "Used 1.500 GB" in text_of(answer)
    assert not {"<script", "<link", "src=", "href=", "token"} & set(page.split())
    assert ann.token not in page


def test_others_see_no_bills(ann: Subscriber) -> None:
    reader = staff("view_apikey")
    for path in (SUBSCRIBERS, SERVERS, url("subscriber_statement", ann.pk)):
        assert reader.get(path).status_code == 403


def test_a_name_is_text_in_a_statement(client: Client) -> None:
    eve = a_subscriber("<script>alert(1)</script>", token="eve-token-1")
    page = client.get(url("subscriber_statement", eve.pk), {"file": "html"}).content.decode()
    assert "<script>" not in page
