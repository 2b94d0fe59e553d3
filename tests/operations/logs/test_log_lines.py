"""Log lines, with the formatters and the handler that production uses."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError
from django.test import Client, RequestFactory
from django.urls import resolve
from pytest_django import Settings

from operations.logs import context
from operations.logs.formatters import JSONFormatter, TextFormatter
from operations.logs.handler import BoundedHandler
from tests.traffic.examples import STATISTICS, WEBHOOK, a_report, stored, wire

pytestmark = pytest.mark.django_db
SECRET = "s3cr3t-token-of-somebody"


@contextmanager
def written(formatter: logging.Formatter) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = BoundedHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield stream
    finally:
        root.removeHandler(handler)


def test_a_request_is_one_line_of_text_with_method_path_status_time_and_id() -> None:
    with written(TextFormatter()) as stream:
        response = Client().get(f"{STATISTICS}/user123?days=7")
    line = rf" INFO xpert.request: GET {STATISTICS}/us…\?days=7 200 \d+\.\dms \[{response['X-Request-Id']}\]\n"
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}}{line}", stream.getvalue())


def test_the_line_of_a_report_shows_whose_it_is_masked() -> None:
    stored(a_report())
    with written(TextFormatter()) as stream:
        Client().post(WEBHOOK, wire(), content_type="application/json")
    assert re.search(r"traffic-webhook 200 \d+\.\dms us… \[", stream.getvalue())


def test_a_request_is_one_object_of_json() -> None:
    stored(a_report())
    with written(JSONFormatter()) as stream:
        response = Client().post(WEBHOOK, wire(), content_type="application/json")
    found = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found.pop("time"))
    assert found.pop("ms") >= 0
    assert found.pop("message").startswith(f"POST {WEBHOOK} 200 ")
    assert found == {
        "level": "INFO",
        "logger": "xpert.request",
        "request_id": response["X-Request-Id"],
        "method": "POST",
        "route": "traffic:webhook",
        "path": WEBHOOK,
        "status": 200,
        "token": "us…",
    }


@pytest.mark.parametrize(
    ("url", "token"),
    [
        (f"{STATISTICS}/user123", "us…"),
        (f"{STATISTICS}/global", ""),
        ("/api/xpert/sub?user_token=user123", "us…"),
        ("/nowhere", ""),
        ("/healthz?" + "a=1&" * 20_001, ""),
    ],
)
def test_json_names_the_token_masked_wherever_it_stood(url: str, token: str) -> None:
    with written(JSONFormatter()) as stream:
        Client().get(url)
    assert json.loads(stream.getvalue().splitlines()[-1])["token"] == token


def test_every_answer_has_an_id_of_its_own() -> None:
    ids = [
        Client().get(url)["X-Request-Id"]
        for url in ("/healthz", "/nowhere", "/admin/", f"{STATISTICS}/global")
    ]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"[0-9a-f]{16}", id_) for id_ in ids)


@pytest.mark.parametrize(
    ("proxies", "given", "is_taken"),
    [
        (1, "4bf92f3577b34da6a3ce929d0e0e4736", True),
        (1, "a.b_c-12", True),
        (0, "4bf92f3577b34da6a3ce929d0e0e4736", False),
        (1, "short12", False),
        (1, "x" * 64, True),
        (1, "x" * 65, False),
        (1, "with space", False),
        (1, "forged\nline-of-log", False),
        (1, "", False),
    ],
)
def test_an_id_is_taken_from_a_trusted_proxy_when_it_is_well_formed(
    settings: Settings, proxies: int, given: str, is_taken: bool
) -> None:
    settings.XPERT_TRUSTED_PROXIES = proxies
    response = Client(headers={"x-request-id": given}).get("/healthz")
    assert (response["X-Request-Id"] == given) is is_taken


@pytest.mark.parametrize("formatter", [TextFormatter(), JSONFormatter()])
def test_an_error_is_written_with_traceback_and_the_id_that_the_client_got(
    formatter: logging.Formatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the reason")

    monkeypatch.setattr("traffic.figures.statistics.user", broken)
    with written(formatter) as stream:
        response = Client(raise_request_exception=False).get(f"{STATISTICS}/{SECRET}")
    error, _, rest = stream.getvalue().rpartition("INFO")
    assert response["X-Request-Id"] in error + rest
    assert "RuntimeError: the reason" in stream.getvalue()
    assert "Traceback (most recent call last)" in stream.getvalue()


def test_outside_of_a_request_a_line_has_no_id() -> None:
    for formatter in (TextFormatter(), JSONFormatter()):
        with written(formatter) as stream:
            logging.getLogger("other").warning("a disk")
        assert "a disk" in stream.getvalue()
        assert "[" not in stream.getvalue()
        assert "request_id" not in stream.getvalue()


@pytest.mark.parametrize("formatter", [TextFormatter(), JSONFormatter()])
@pytest.mark.parametrize("secret_in", ["path", "query", "bearer", "key", "cookie", "form"])
def test_an_error_that_quotes_a_secret_of_the_request_is_written_without_it(
    secret_in: str, formatter: logging.Formatter
) -> None:
    factory = RequestFactory()
    request = {
        "path": lambda: factory.get(f"{STATISTICS}/{SECRET}"),
        "query": lambda: factory.get(f"/api/xpert/sub?user_token={SECRET}"),
        "bearer": lambda: factory.get("/metrics", headers={"authorization": f"Bearer {SECRET}"}),
        "key": lambda: factory.get("/metrics", headers={"x-api-key": SECRET}),
        "cookie": lambda: factory.get("/admin/", headers={"cookie": f"sessionid={SECRET}"}),
        "form": lambda: factory.post("/admin/login/", {"password": SECRET}),
    }[secret_in]()
    request.resolver_match = resolve(request.path)
    if secret_in == "form":
        assert request.POST
    with written(formatter) as stream, context.speaking_of(request):
        error = ValueError(f"broken by {SECRET!r}")
        logging.getLogger("some.library").error("no luck with %s", SECRET, exc_info=error)
    assert SECRET not in stream.getvalue()
    assert "broken by 's3cr…'" in stream.getvalue()


def test_values_that_postgresql_quotes_are_left_out() -> None:
    with written(TextFormatter()) as stream:
        error = IntegrityError(f"duplicate key\nDETAIL:  Key (token)=({SECRET}) already exists.")
        logging.getLogger("some.library").error("no luck", exc_info=error)
    assert "duplicate key" in stream.getvalue()
    assert SECRET not in stream.getvalue()


# --- bounded -----------------------------------------------------------------


@pytest.fixture
def bounded() -> BoundedHandler:
    handler = BoundedHandler(io.StringIO())
    handler.limit = 2
    return handler


def lines(handler: BoundedHandler) -> list[str]:
    return str(handler.stream.getvalue()).splitlines()


def warn(
    handler: BoundedHandler, message: str, *args: Any, name: str = "x", level: int = logging.WARNING
) -> None:
    handler.emit(logging.LogRecord(name, level, "", 0, message, args, None))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("operations.logs.handler.time.monotonic", lambda: now[0])
    return now


def test_some_similar_warnings_are_written_and_then_the_number_left_out(
    bounded: BoundedHandler, clock: list[float]
) -> None:
    for number in range(5):
        warn(bounded, "no %s", number)
    assert lines(bounded) == ["no 0", "no 1"]
    clock[0] += 60
    warn(bounded, "something else")
    assert lines(bounded)[2:] == ["3 more lines were left out: x no %s ", "something else"]
    warn(bounded, "no %s", 6)
    assert lines(bounded)[-1] == "no 6"


def test_a_line_that_is_not_repeated_is_not_summed_up(
    bounded: BoundedHandler, clock: list[float]
) -> None:
    warn(bounded, "once")
    clock[0] += 60
    warn(bounded, "later")
    assert lines(bounded) == ["once", "later"]


def test_information_is_never_left_out(bounded: BoundedHandler) -> None:
    for _ in range(5):
        warn(bounded, "alike", level=logging.INFO)
    assert len(lines(bounded)) == 5


def test_false_host_names_are_one_kind_whatever_they_are(bounded: BoundedHandler) -> None:
    for number in range(5):
        warn(bounded, f"Invalid HTTP_HOST header: {number}", name="django.security.DisallowedHost")
    assert len(lines(bounded)) == 2


def test_errors_of_another_kind_are_written(bounded: BoundedHandler) -> None:
    for error in (ValueError(), ValueError(), ValueError(), KeyError()):
        bounded.emit(
            logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), (type(error), error, None))
        )
    assert [line for line in lines(bounded) if line.endswith("Error")] == [
        "ValueError",
        "ValueError",
        "KeyError",
    ]


def test_a_client_that_invents_new_kinds_does_not_fill_the_memory(bounded: BoundedHandler) -> None:
    bounded.kinds = 3
    for number in range(50):
        warn(bounded, f"kind {number}")
    assert len(bounded._held) <= 4
    assert len(lines(bounded)) == 5


def test_a_throttled_client_gets_some_lines_per_minute_and_others_get_all_of_theirs(
    settings: Settings,
) -> None:
    settings.XPERT_RATE_ADDRESS = "5/min"
    with written(TextFormatter()) as stream:
        for _ in range(60):
            Client().get(f"{STATISTICS}/user123", REMOTE_ADDR="203.0.113.7")
        Client().get(f"{STATISTICS}/user123", REMOTE_ADDR="198.51.100.1")
    statuses = re.findall(r" (\d+) \d+\.\dms", stream.getvalue())
    assert statuses.count("429") == BoundedHandler.limit
    assert statuses[-1] == "200"
