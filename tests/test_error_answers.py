"""Every address of the API × every way to ask wrongly: the status and the shape that CONTRACT part B1 promises."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError
from django.test import Client
from model_bakery import baker
from pytest_django import Settings

from operations.api.authentication import create_api_key
from operations.models import ApiKey
from subscriptions.models import DirectConfig, Source, Template
from tests.routes import SUBSCRIBER_ACTIONS, routes
from traffic.models import ServerLimit, Subscriber

pytestmark = pytest.mark.django_db
TOKEN = "token-of-somebody-123"
ENDPOINT = {"server": "vpn.example.com", "port": 443}
# Pages and files for people; the errors of the API do not concern them.
FOR_PEOPLE = {"docs", "set_language"}
# Their row has the number of the source.
OF_THE_SOURCE = {
    "subscriptions:source",
    "subscriptions:template",
    "subscriptions:server-limit",
    "subscriptions:server-limit-restart",
}
READ = ("GET", "HEAD")
ACTIONS = tuple(f"subscriptions:subscriber-{name}" for name in SUBSCRIBER_ACTIONS)
# Methods beyond which an address answers 405.
METHODS: dict[str, tuple[str, ...]] = {
    "traffic:webhook": ("POST",),
    "traffic:cleanup": ("POST",),
    "subscriptions:direct-configs": (*READ, "POST"),
    "subscriptions:direct-config": (*READ, "PUT", "PATCH", "DELETE"),
    "subscriptions:sources": (*READ, "POST"),
    "subscriptions:source": (*READ, "PUT", "PATCH", "DELETE"),
    "subscriptions:templates": (*READ, "POST"),
    "subscriptions:template": (*READ, "PUT", "PATCH", "DELETE"),
    "subscriptions:server-limits": (*READ, "POST"),
    "subscriptions:server-limit": (*READ, "PATCH", "DELETE"),
    "subscriptions:server-limit-restart": ("POST",),
    "traffic:meter-readings": ("POST",),
    "marzban:events": ("POST",),
    "subscriptions:tell-me": ("POST",),
    "telegram:link": ("POST",),
    "gateways:state": ("POST",),
    "three_x_ui:inform": ("POST",),
    "subscriptions:subscribers": (*READ, "POST"),
    "subscriptions:subscriber": (*READ, "PATCH", "DELETE"),
    "subscriptions:subscribers-bulk": ("POST",),
    "subscriptions:devices": (*READ, "DELETE"),
    "subscriptions:device": (*READ, "DELETE"),
    **dict.fromkeys(ACTIONS, ("POST",)),
    "subscriptions:subscriber-next-plan": ("POST", "DELETE"),
}
WITH_A_BODY = {
    "traffic:webhook": "post",
    "traffic:cleanup": "post",
    "subscriptions:direct-configs": "post",
    "subscriptions:direct-config": "put",
    "subscriptions:sources": "post",
    "subscriptions:source": "put",
    "subscriptions:templates": "post",
    "subscriptions:template": "put",
    "subscriptions:server-limits": "post",
    "subscriptions:server-limit": "patch",
    "subscriptions:server-limit-restart": "post",
    "traffic:meter-readings": "post",
    "three_x_ui:inform": "post",
    "subscriptions:subscribers": "post",
    "subscriptions:subscriber": "patch",
    "subscriptions:subscribers-bulk": "post",
    **dict.fromkeys(ACTIONS, "post"),
}
SMALL = 64 * 1024
LARGE = dict.fromkeys(
    (
        "traffic:webhook",
        "traffic:meter-readings",
        "three_x_ui:inform",
        "subscriptions:subscribers-bulk",
    ),
    4 * 2**20,
)
NEEDS_A_KEY = {
    "metrics", "traffic:marzban", "traffic:global", "traffic:global-series", "traffic:server", "traffic:cleanup",
    "traffic:database-info", "gateways:config", "marzban:widget", "subscriptions:devices", "subscriptions:device", *(WITH_A_BODY.keys() - {"traffic:webhook", "traffic:meter-readings", "three_x_ui:inform"}),
}  # fmt: skip
READS_DAYS = {
    "traffic:user", "traffic:user-series", "traffic:global", "traffic:global-series", "traffic:server", "traffic:marzban",
    "marzban:widget",
}  # fmt: skip
LIMITED = {"readyz"} | NEEDS_A_KEY | READS_DAYS | {
    "traffic:webhook", "traffic:meter-readings", "subscriptions:subscription", "subscriptions:direct-subscription",
    "subscriptions:servers", "marzban-panel:subscription", "three_x_ui:inform",
}  # fmt: skip
NO_DATABASE = LIMITED | {"healthz"}


@pytest.fixture
def urls() -> dict[str, str]:
    subscriber = baker.make(Subscriber, token=TOKEN)
    direct = baker.make(
        DirectConfig,
        pk=subscriber.pk,
        raw="trojan://pw@a.example.com:443",
        protocol="trojan",
        server="a.example.com",
        port=443,
    )
    source = baker.make(Source, pk=direct.pk + 1, url="https://lists.example.com/sub")
    baker.make(Template, pk=source.pk, format="mihomo", text="a: b")
    baker.make(ServerLimit, pk=source.pk, data_limit=1)
    names = ("object_id", "id", "pk", "content_type_id", "kind", "name", "device")
    path = {"folder": "sub", "token": TOKEN, "rest": ""}
    _, friend = create_api_key("friend", ApiKey.Scope.REPORT, None)
    values = {"user_token": TOKEN, "app_label": "traffic", "key": friend, **ENDPOINT, **path}
    return {
        route.name: route.url
        for pk in (direct.pk, source.pk)
        for route in routes(values | dict.fromkeys(names, pk))
        if not route.name.startswith("admin:")
        and route.name not in FOR_PEOPLE
        and (pk == direct.pk or route.name in OF_THE_SOURCE)
    }


@pytest.fixture
def key() -> dict[str, str]:
    _, secret = create_api_key("manager", ApiKey.Scope.MANAGE, None)
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def reading() -> dict[str, str]:
    _, secret = create_api_key("reporter", ApiKey.Scope.REPORT, None)
    return {"authorization": f"Bearer {secret}"}


def token_in_the_query(name: str) -> str:
    return f"?user_token={TOKEN}" if name.endswith(("subscription", "servers")) else ""


def asked(url: str, method: str = "GET", body: bytes = b"", **options: Any) -> Any:
    options.setdefault("content_type", "application/json")
    return Client(raise_request_exception=False).generic(method, url, body, **options)


def is_refusal(answer: Any, status: int) -> None:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/json"
    errors = json.loads(answer.content)
    assert isinstance(errors, dict)
    assert errors
    for field, said in errors.items():
        text = said if isinstance(said, str) else said[0]
        assert isinstance(text, str), field
        assert text
        assert not re.search(r"Traceback|File \"|SELECT|sqlite|/home/", text)


def test_every_address_of_the_api_is_in_the_tables(urls: dict[str, str]) -> None:
    known = (
        {"healthz", "readyz", "schema", "marzban:widget-script"}
        | METHODS.keys()
        | NEEDS_A_KEY
        | LIMITED
    )
    assert set(urls) == known


def test_405_for_every_other_method_with_those_that_are_allowed(
    urls: dict[str, str], key: dict[str, str]
) -> None:
    for name, url in urls.items():
        allowed = METHODS.get(name, READ)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(allowed):
            answer = asked(url, method, headers=key)
            is_refusal(answer, 405)
            assert {*answer["Allow"].split(", ")} - {"HEAD"} == {*allowed} - {"HEAD"}, (
                name,
                method,
            )


def test_401_without_a_key_or_with_a_wrong_one(urls: dict[str, str]) -> None:
    for name in NEEDS_A_KEY:
        method = WITH_A_BODY.get(name, "get").upper()
        for headers in ({}, {"authorization": "Bearer nobody-has-this-key"}):
            answer = asked(urls[name], method, b"{}", headers=headers)
            is_refusal(answer, 401)
            assert answer["WWW-Authenticate"].startswith("Bearer"), name


def test_403_with_a_key_of_another_scope(urls: dict[str, str], reading: dict[str, str]) -> None:
    for name in NEEDS_A_KEY:
        is_refusal(
            asked(urls[name], WITH_A_BODY.get(name, "get").upper(), b"{}", headers=reading), 403
        )


def test_400_names_the_field(urls: dict[str, str], key: dict[str, str]) -> None:
    for name in READS_DAYS:
        for days in ("0", "3651", "x", "-1"):
            answer = asked(f"{urls[name]}?days={days}", headers=key)
            is_refusal(answer, 400)
            assert list(json.loads(answer.content)) == ["days"], name


def test_400_for_a_body_that_is_no_json(urls: dict[str, str], key: dict[str, str]) -> None:
    for name, method in WITH_A_BODY.items():
        for body in (b"{", b"\xff", b"nul"):
            is_refusal(asked(urls[name], method.upper(), body, headers=key), 400)


def test_415_for_a_body_of_another_kind(urls: dict[str, str], key: dict[str, str]) -> None:
    for name, method in WITH_A_BODY.items():
        is_refusal(
            asked(urls[name], method.upper(), b"a=b", content_type="text/plain", headers=key), 415
        )


def test_413_for_a_body_that_is_too_large(urls: dict[str, str], key: dict[str, str]) -> None:
    for name, method in WITH_A_BODY.items():
        body = b" " * (LARGE.get(name, SMALL) + 1)
        is_refusal(asked(urls[name], method.upper(), body, headers=key), 413)


def test_411_for_a_body_without_a_length(urls: dict[str, str], key: dict[str, str]) -> None:
    for name, method in WITH_A_BODY.items():
        request = {"REQUEST_METHOD": method.upper(), "HTTP_TRANSFER_ENCODING": "chunked"}
        client = Client(headers=key)
        answer = client.get(urls[name], **request, CONTENT_TYPE="application/json")  # type: ignore[arg-type]
        is_refusal(answer, 411)


def test_404_for_what_is_not_there(urls: dict[str, str], key: dict[str, str]) -> None:
    for name in ("subscriptions:direct-config", "subscriptions:source", "subscriptions:template"):
        is_refusal(asked(re.sub(r"\d+(/?)$", r"999999\1", urls[name]), headers=key), 404)
    for path in ("/api/xpert/nowhere", "/nowhere", "/api/xpert/traffic-webhook/x"):
        is_refusal(asked(path), 404)


def test_429_says_when_to_come_back(
    urls: dict[str, str], key: dict[str, str], settings: Settings
) -> None:
    for number, name in enumerate(sorted(LIMITED)):
        settings.XPERT_RATE_ADDRESS = "1/hour"
        options = {"REMOTE_ADDR": f"203.0.113.{number + 1}", "headers": key}
        url, method = urls[name] + token_in_the_query(name), WITH_A_BODY.get(name, "get").upper()
        asked(url, method, b"{}", **options)
        answer = asked(url, method, b"{}", **options)
        is_refusal(answer, 429)
        assert int(answer["Retry-After"]) > 0, name


@pytest.fixture
def broken_database() -> Iterator[None]:
    broken = OperationalError("database is locked: SELECT secret")
    with mock.patch("django.db.backends.utils.CursorWrapper.execute", side_effect=broken):
        yield


def test_503_while_the_database_is_busy(urls: dict[str, str], broken_database: None) -> None:
    report = {"user_token": TOKEN, "protocol": "vless", **ENDPOINT}
    headers = {"authorization": "Bearer some-key-that-has-to-be-looked-up"}
    for name in NO_DATABASE:
        url, method = urls[name] + token_in_the_query(name), WITH_A_BODY.get(name, "get").upper()
        answer = asked(url, method, json.dumps(report).encode(), headers=headers)
        is_refusal(answer, 503)
        assert int(answer["Retry-After"]) > 0, name


def test_no_second_place_builds_an_error() -> None:
    """The worker's are of what never became a request; the webhook's hold what was rejected, in DRF's own answer."""
    root = Path(__file__).parents[1]
    apps = ("operations", "traffic", "subscriptions", "gateways", "xpert_panel")
    files = [file for app in apps for file in (root / app).rglob("*.py")]
    found = {
        str(file.relative_to(root))
        for file in files
        if re.search(r"JsonResponse\((?![^)]*\"(?:ok|ready|servers|url)\")", file.read_text())
    }

    assert found == {"operations/api/exceptions.py"}
