from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import DataError, connection
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from prometheus_client import REGISTRY
from pytest_django import Settings

from operations.http.middleware import RequestLogMiddleware, TrustedProxyMiddleware
from tests.traffic.examples import STATISTICS

pytestmark = pytest.mark.django_db


def is_secure(proxies: int, header: str | None, settings: Settings) -> bool:
    settings.XPERT_TRUSTED_PROXIES = proxies
    seen: list[HttpRequest] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse()

    request = RequestFactory().get(
        "/", headers={} if header is None else {"x-forwarded-proto": header}
    )
    TrustedProxyMiddleware(view)(request)
    return seen[0].is_secure()


@pytest.mark.parametrize(
    ("proxies", "header", "secure"),
    [
        (0, "https", False),  # no proxy is trusted
        (0, None, False),
        (1, None, False),
        (1, "https", True),
        (1, "HTTPS", True),
        (1, " https ", True),
        (1, "http", False),
        (1, "https, http", False),  # the client invented the first value
        (1, "http, https", True),
        (2, "https", True),  # set by the outer proxy, passed on by the inner
        (2, "https, http", True),
        (2, "http, https, http", True),
        (2, "https, http, http", False),
        (3, "https, https", False),  # fewer values than trusted proxies: ignored
        (1, "", False),
        (1, "nonsense", False),
    ],
)
def test_the_scheme_is_what_the_trusted_proxies_say(
    settings: Settings, proxies: int, header: str | None, secure: bool
) -> None:
    assert is_secure(proxies, header, settings) is secure


def test_no_client_can_set_the_scheme_itself() -> None:
    request = RequestFactory().get(
        "/", headers={"xpert-client-scheme": "https", "xpert_client_scheme": "https"}
    )
    assert not request.is_secure()


@pytest.fixture
def https(settings: Settings) -> None:
    """The settings that XPERT_HTTPS=True switches on."""
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 31_536_000


@pytest.mark.usefixtures("https")
def test_with_https_plain_requests_are_sent_there() -> None:
    response = Client().get(f"{STATISTICS}/user123?days=7")
    assert response.status_code == 301
    assert response["Location"] == f"https://testserver{STATISTICS}/user123?days=7"


@pytest.mark.usefixtures("https")
def test_with_https_probes_on_the_machine_may_stay_plain() -> None:
    assert Client().get("/healthz").status_code == 200


@pytest.mark.usefixtures("https")
def test_behind_a_trusted_proxy_https_is_believed(settings: Settings) -> None:
    headers = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.5"}
    assert Client(headers=headers).get(f"{STATISTICS}/user123").status_code == 301
    settings.XPERT_TRUSTED_PROXIES = 1
    response = Client(headers=headers).get(f"{STATISTICS}/user123")
    assert response.status_code == 200
    assert response["Strict-Transport-Security"] == "max-age=31536000"


def counted(route: str, method: str, status: int) -> float:
    labels = {"route": route, "method": method, "status": str(status)}
    return REGISTRY.get_sample_value("xpert_requests_total", labels) or 0


@pytest.mark.parametrize(
    ("method", "url", "route", "label", "status"),
    [
        ("GET", f"{STATISTICS}/user123", "traffic:user", "GET", 200),
        ("GET", f"{STATISTICS}/user123?days=0", "traffic:user", "GET", 400),
        ("GET", "/nowhere", "none", "GET", 404),
        ("PROPFIND", f"{STATISTICS}/user123", "traffic:user", "OTHER", 405),
    ],
)
def test_every_request_is_counted_by_route_and_never_by_what_it_asks_for(
    method: str, url: str, route: str, label: str, status: int
) -> None:
    before = counted(route, label, status)
    assert Client().generic(method, url).status_code == status
    assert counted(route, label, status) == before + 1


def test_a_view_without_a_name_is_counted_as_such() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        request.resolver_match = SimpleNamespace(view_name="", kwargs={})  # type: ignore[assignment]
        return HttpResponse(status=204)

    before = counted("unnamed", "GET", 204)
    RequestLogMiddleware(view)(RequestFactory().get("/"))
    assert counted("unnamed", "GET", 204) == before + 1


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://marzban.example", "https://marzban.example"), ("https://evil.example", None)],
)
def test_pages_of_the_named_origins_may_read_the_api(
    settings: Settings, origin: str, allowed: str | None
) -> None:
    # What XPERT_CORS_ORIGINS=https://marzban.example switches on.
    settings.CORS_ALLOWED_ORIGINS = ["https://marzban.example"]
    settings.MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE]
    response = Client().get(f"{STATISTICS}/user123", headers={"origin": origin})
    assert (response.status_code, response.get("Access-Control-Allow-Origin")) == (200, allowed)
    asks = {
        "origin": origin,
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
    }
    preflight = Client().options(f"{STATISTICS}/global", headers=asks)
    assert preflight.get("Access-Control-Allow-Origin") == allowed
    assert ("authorization" in preflight.get("Access-Control-Allow-Headers", "")) == (
        allowed is not None
    )


def test_nobody_s_pages_may_read_the_api_by_default() -> None:
    response = Client().get(f"{STATISTICS}/user123", headers={"origin": "https://marzban.example"})
    assert "Access-Control-Allow-Origin" not in response


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", [f"{STATISTICS}/global", "/admin/"])
def test_a_session_cookie_that_the_database_cannot_look_for_is_no_accident(url: str) -> None:
    response = Client().get(url, headers={"cookie": 'sessionid="\\000' + "a" * 31 + '"'})
    assert response.status_code in ({400} if connection.vendor == "postgresql" else {401, 302})


@pytest.mark.parametrize("path", ["/api/xpert/sub", "/admin/"])
def test_a_value_that_the_database_cannot_hold_is_400_and_written_down(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = RequestLogMiddleware(lambda request: HttpResponse())
    response = log.process_exception(RequestFactory().get(path), DataError("s3cr3t"))
    assert isinstance(response, HttpResponse)
    assert response.status_code == 400
    assert b"s3cr3t" not in response.content
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("exception", "status"),
    [
        (Http404(), 404),
        (PermissionDenied(), 403),
        (BadRequest(), 400),
        (SuspiciousOperation(), 400),
    ],
)
def test_errors_that_django_answers_itself_are_not_logged_as_failures(
    exception: Exception, status: int, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with raising(exception, settings):
        assert Client().get("/healthz").status_code == status
    assert [
        record for record in caplog.records if record.name == "xpert.request" and record.exc_info
    ] == []


def test_an_error_outside_of_any_view_is_written_down_with_its_traceback(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with raising(ValueError("broken"), settings):
        assert Client(raise_request_exception=False).get("/healthz").status_code == 500
    (record,) = [
        record for record in caplog.records if record.name == "xpert.request" and record.exc_info
    ]
    assert record.getMessage() == "GET /he… failed"
    assert "ValueError: broken" in caplog.text


@contextmanager
def raising(exception: Exception, settings: Settings) -> Iterator[None]:
    """Add a middleware that raises before every view."""

    def broken(get_response: object) -> Callable[[HttpRequest], HttpResponse]:
        def answer(request: HttpRequest) -> HttpResponse:
            raise exception

        return answer

    globals()["broken"] = broken
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.broken"]
    yield
