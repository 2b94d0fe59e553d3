"""The OpenAPI schema and the panel's behaviour agree."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from pytest_django import Settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from operations.api.authentication import create_api_key
from tests.routes import SUBSCRIBER_ACTIONS

pytestmark = pytest.mark.slow

URL = "/api/xpert/schema"
STATISTICS = "/api/xpert/traffic-stats"
SUBSCRIBERS = "/api/xpert/subscribers"
READ = {"200", "400", "401", "403", "411", "429", "503"}
EXPECTED = {
    ("post", "/api/xpert/traffic-webhook"): READ | {"413", "415"},
    ("post", "/api/xpert/meter-readings"): READ | {"413", "415"},
    ("post", "/api/xpert/inform/3x-ui/{key}"): READ | {"413", "415"},
    ("get", f"{STATISTICS}/{{user_token}}"): READ - {"401", "403"},
    ("get", f"{STATISTICS}/{{user_token}}/series"): READ - {"401", "403"},
    ("get", f"{STATISTICS}/global"): READ,
    ("get", f"{STATISTICS}/global/series"): READ,
    ("get", f"{STATISTICS}/server/{{server}}/{{port}}"): READ,
    ("get", f"{STATISTICS}/database/info"): READ,
    ("post", f"{STATISTICS}/cleanup"): READ | {"413", "415"},
    ("get", "/api/xpert/marzban-traffic-stats"): READ,
    ("get", "/api/xpert/marzban/widget"): READ,
    ("post", "/api/xpert/marzban-events"): READ - {"403"} | {"404", "413", "415"},
    ("get", "/metrics"): READ,
    ("get", SUBSCRIBERS): READ,
    ("post", SUBSCRIBERS): READ - {"200"} | {"201", "404", "409", "413", "415"},
    ("get", f"{SUBSCRIBERS}/{{id}}"): READ | {"404"},
    ("patch", f"{SUBSCRIBERS}/{{id}}"): READ | {"404", "413", "415"},
    ("delete", f"{SUBSCRIBERS}/{{id}}"): READ - {"200"} | {"204", "404"},
    **{
        ("post", f"{SUBSCRIBERS}/{{id}}/{action}"): READ | {"404", "409", "413", "415"}
        for action in SUBSCRIBER_ACTIONS
    },
    ("post", f"{SUBSCRIBERS}/bulk"): READ | {"409", "413", "415"},
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def document(*checks: str) -> dict[str, Any]:
    output = io.StringIO()
    call_command("spectacular", "--format", "openapi-json", *checks, stdout=output)
    found: dict[str, Any] = json.loads(output.getvalue())
    return found


def test_it_is_valid_and_made_without_a_warning() -> None:
    assert document("--validate", "--fail-on-warn")["info"]["title"] == "Xpert Panel"


@pytest.mark.parametrize(("method", "path"), EXPECTED)
def test_it_names_every_route_with_its_statuses(method: str, path: str) -> None:
    operation = document()["paths"][path][method]
    assert set(operation["responses"]) == EXPECTED[method, path]
    assert operation["description"]


def test_every_operation_has_a_unique_name() -> None:
    names = [
        operation["operationId"]
        for path in document()["paths"].values()
        for operation in path.values()
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", [URL, f"{URL}/"])
@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "text/html", "application/vnd.oai.openapi+json", "nonsense"],
)
def test_anybody_may_read_it_as_json(path: str, accept: str) -> None:
    response = Client().get(path, headers={"accept": accept})
    assert response.status_code == 200
    assert response.json()["openapi"].startswith("3.")
    assert Client().get(f"{path}?format=yaml").json() == response.json()


@pytest.mark.parametrize("path", ["/api/xpert/docs", "/api/xpert/docs/"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_the_docs_come_from_our_own_static_files(path: str, accept: str) -> None:
    for query in ("", "?script"):
        response = Client().get(path + query, headers={"accept": accept})
        assert response.status_code == 200
        page = response.content.decode()
        for foreign in ("https://", "http://", "//cdn", "unpkg", "jsdelivr"):
            assert foreign not in page.replace("http://testserver", "")


def test_the_files_of_the_docs_are_there() -> None:
    for name in (
        "swagger-ui-bundle.js",
        "swagger-ui.css",
        "swagger-ui-standalone-preset.js",
        "favicon-32x32.png",
    ):
        assert finders.find(f"drf_spectacular_sidecar/swagger-ui-dist/{name}")


@pytest.mark.django_db
def test_reading_it_is_limited_by_address(settings: Settings) -> None:
    settings.XPERT_RATE_ADDRESS = "1/min"
    assert [Client().get(URL).status_code for _ in range(2)] == [200, 429]


# --- the running panel -------------------------------------------------------

api = schemathesis.openapi.from_dict(document())
api.app = get_wsgi_application()
OPERATIONS = {
    found.ok().label: found.ok() for found in api.get_all_operations() if isinstance(found, Ok)
}


def test_every_operation_is_tried() -> None:
    assert len(OPERATIONS) == sum(len(operations) for operations in document()["paths"].values())


@pytest.fixture
def key(settings: Settings) -> Iterator[str]:
    settings.XPERT_OPEN_ACCESS = True
    # Keep the connection open, because it holds the test's transaction; Django's test client does the same.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield create_api_key("robot", "manage")[1]
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.django_db
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("label", OPERATIONS)
def test_the_panel_answers_as_documented(label: str, mode: GenerationMode, key: str) -> None:
    operation = OPERATIONS[label]

    @settings_of_search
    @given(case=operation.as_strategy(generation_mode=mode))
    def search(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers={"X-Api-Key": key, "Host": "localhost"}, checks=CHECKS)

    search()


settings_of_search = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
