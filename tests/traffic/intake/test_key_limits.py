"""API keys that are limited to servers: they report about these alone, and open nothing that shows more."""

import io
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import Client

from operations.api.authentication import create_api_key
from operations.models import ApiKey
from tests.traffic.examples import HOUR, NOW, STATISTICS, WEBHOOK, uploaded
from tests.traffic.metering import row, send
from traffic import key_options
from traffic.models import Meter, Subscriber

pytestmark = pytest.mark.django_db
RUN = int((NOW - HOUR).timestamp())
JSON = "application/json"


@pytest.fixture(autouse=True)
def _ann() -> Any:
    Subscriber.objects.create(token="ann", name="Ann")
    with time_machine.travel(NOW, tick=False):
        yield


def a_client(servers: str, scope: str = "report") -> Client:
    chosen = {"servers": key_options.SERVERS.clean(servers)}
    secret = create_api_key("k", scope, None, chosen)[1]
    return Client(headers={"authorization": f"Bearer {secret}"})


def a_report(server: str = "a.example", port: int = 443) -> dict[str, Any]:
    return {
        "user_token": "ann",
        "server": server,
        "port": port,
        "protocol": "vless",
        "bytes_uploaded": 5,
    }


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a.example", "a.example"),
        (" B.example:8443 , A.Example. ", "a.example,b.example:8443"),
        ("[2001:DB8::1]:443,2001:db8::2", "2001:db8::2,[2001:db8::1]:443"),
        ("a.example,,a.example", "a.example"),
    ],
)
def test_servers_are_normalised_as_in_reports(text: str, stored: str) -> None:
    assert key_options.SERVERS.clean(text) == stored


@pytest.mark.parametrize("text", ["a b", "a.example:0", "a.example:443/vless", "a.example, :443"])
def test_what_is_not_a_server_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a server"):
        key_options.SERVERS.clean(text)


@pytest.mark.parametrize(
    ("servers", "report", "status"),
    [
        ("a.example", a_report(), 200),
        ("a.example", a_report(port=8443), 200),
        ("a.example:443", a_report("A.example."), 200),
        ("a.example:443", a_report(port=8443), 403),
        ("a.example", a_report("b.example"), 403),
        ("2001:db8::1", a_report("[2001:DB8::1]"), 200),
    ],
)
def test_a_report_about_another_server_is_refused(
    servers: str, report: dict[str, Any], status: int
) -> None:
    answer = a_client(servers).post(WEBHOOK, report, content_type=JSON)
    assert answer.status_code == status
    assert uploaded("ann") == (5 if status == 200 else 0)


def test_in_a_batch_the_other_rows_count() -> None:
    batch = [a_report("b.example"), a_report()]
    answer = a_client("a.example").post(WEBHOOK, batch, content_type=JSON)
    assert answer.json()["rejected"] == [
        {"index": 0, "errors": {"server": ["This key may not report about this server."]}}
    ]
    assert uploaded("ann") == 5


def test_a_batch_of_other_servers_alone_is_400() -> None:
    answer = a_client("a.example").post(WEBHOOK, [a_report("b.example")], content_type=JSON)
    assert answer.status_code == 400


def test_readings_of_another_server_are_not_even_remembered() -> None:
    answer = send(a_client("b.example"), row(), run=RUN)
    assert answer.status_code == 400
    assert answer.json()["rejected"][0]["errors"] == {
        "server": ["This key may not report about this server."]
    }
    assert not Meter.objects.exists()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/server/a.example/443", 200),
        ("/server/a.example/8443", 200),
        ("/server/b.example/443", 403),
        ("/global", 403),
        ("/database/info", 403),
    ],
)
def test_such_a_key_reads_its_servers_alone(path: str, status: int) -> None:
    assert a_client("a.example", "read").get(STATISTICS + path).status_code == status


def test_the_command_takes_servers_for_every_scope() -> None:
    for scope in ("report", "read"):
        call_command(
            "create_api_key",
            scope,
            scope=scope,
            servers="B.example, a.example",
            stdout=io.StringIO(),
        )
    assert {key.options["servers"] for key in ApiKey.objects.all()} == {"a.example,b.example"}


def test_the_command_names_what_is_not_a_server() -> None:
    with pytest.raises(CommandError, match="a b is not a server"):
        call_command("create_api_key", "k", "--scope", "report", "--servers", "a b")
