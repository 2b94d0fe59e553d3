"""What is chosen for API keys that report: grade and way in; and keys that are replaced."""

import io
import re
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from operations.api.authentication import create_api_key
from operations.models import ApiKey, AuditEntry
from tests.traffic.examples import HOUR, NOW, balance
from tests.traffic.metering import row, send
from traffic.models import Reporter, Subscriber

pytestmark = pytest.mark.django_db
RUN = int((NOW - HOUR).timestamp())
WEBHOOK = "/api/xpert/traffic-webhook"
REPORT = {"user_token": "ann", "server": "a.example", "port": 443, "protocol": "vless"}


@pytest.fixture(autouse=True)
def _ann() -> Any:
    Subscriber.objects.create(token="ann", name="Ann")
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("op"))
    return client


def with_key(secret: str) -> Client:
    return Client(headers={"authorization": f"Bearer {secret}"})


def a_key(**options: str) -> Client:
    return with_key(create_api_key("k", "report", None, options)[1])


def statuses(client: Client) -> tuple[int, int]:
    """Of the webhook and of meter readings."""
    report = client.post(WEBHOOK, REPORT, content_type="application/json")
    return report.status_code, send(client, row(), run=RUN).status_code


def made(operator: Client, **fields: str) -> ApiKey:
    answer = operator.post(reverse("admin:operations_apikey_add"), {"name": "k"} | fields)
    assert answer.status_code == 302
    return ApiKey.objects.get()


def secret_in(answer: Any) -> str:
    found = re.search(r'value="([^"]+)" data-copy="Copy">', answer.content.decode())
    assert found
    return found[1]


# --- grade ---------------------------------------------------------------------


def test_the_grade_of_a_key_is_that_of_its_meters() -> None:
    send(a_key(grade="measured"), row(), run=RUN)
    assert Reporter.objects.get().grade == "measured"


def test_without_a_choice_it_is_provider() -> None:
    send(a_key(), row(), run=RUN)
    assert Reporter.objects.get().grade == "provider"


def test_it_is_that_of_single_reports_too() -> None:
    a_key(grade="reported").post(WEBHOOK, REPORT, content_type="application/json")
    assert Reporter.objects.get().grade == "reported"


def test_it_is_chosen_in_the_admin(operator: Client) -> None:
    assert made(operator, scope="report", grade="measured").options == {
        "grade": "measured",
        "way": "",
    }


def test_the_form_starts_with_provider(operator: Client) -> None:
    page = operator.get(reverse("admin:operations_apikey_add")).content.decode()
    assert '<option value="provider" selected>' in page


def test_a_key_that_only_reads_has_no_options(operator: Client) -> None:
    assert made(operator, scope="read", grade="measured").options == {}


def test_the_page_of_a_key_shows_them_and_cannot_change_them(operator: Client) -> None:
    key = made(operator, scope="report", grade="measured", way="readings")
    url = reverse("admin:operations_apikey_change", args=[key.pk])
    assert "grade: measured: an own gateway or node; accepted by: meter readings" in (
        operator.get(url).content.decode()
    )
    operator.post(url, {"name": "k", "grade": "reported"})
    assert ApiKey.objects.get().options["grade"] == "measured"


def test_the_command_takes_them() -> None:
    call_command("create_api_key", "k", scope="report", grade="measured", stdout=io.StringIO())
    assert ApiKey.objects.get().options == {"grade": "measured", "way": ""}


@pytest.mark.parametrize("arguments", [["--grade", "best"], ["--way", "mail"]])
def test_the_command_refuses_others(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", "k", "--scope", "report", *arguments)


# --- way in ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "expected"),
    [("", (200, 200)), ("webhook", (200, 403)), ("readings", (403, 200)), ("inform", (403, 403))],
)
def test_a_key_may_be_limited_to_one_way_in(way: str, expected: tuple[int, int]) -> None:
    assert statuses(a_key(way=way)) == expected


# --- replacing -------------------------------------------------------------------


def test_a_replaced_key_keeps_its_meters(operator: Client) -> None:
    key, old = create_api_key("k", "report")
    send(with_key(old), row(), run=RUN)
    url = reverse("admin:operations_apikey_replace", args=[key.pk])
    new = secret_in(operator.post(url, follow=True))
    assert send(with_key(old), row(), run=RUN).status_code == 401
    assert send(with_key(new), row(150, 1000), run=RUN).json()["recorded"] == 1
    assert balance("ann").life_upload == 150
    assert Reporter.objects.count() == 1


def test_replacing_is_asked_for_first_and_noted(operator: Client) -> None:
    key, _ = create_api_key("k", "report")
    url = reverse("admin:operations_apikey_replace", args=[key.pk])
    assert "are not counted again" in operator.get(url).content.decode()
    assert ApiKey.objects.get().hash == key.hash
    answer = operator.post(url, follow=True)
    entry = AuditEntry.objects.get(action="replaced")
    assert (entry.author, entry.target_name) == ("op", "k")
    assert secret_in(answer) not in str(entry.__dict__)


def test_a_revoked_key_is_not_replaced(operator: Client) -> None:
    key, _ = create_api_key("k", "report")
    ApiKey.objects.update(revoked_at=NOW)
    operator.post(reverse("admin:operations_apikey_replace", args=[key.pk]))
    assert ApiKey.objects.get().hash == key.hash
