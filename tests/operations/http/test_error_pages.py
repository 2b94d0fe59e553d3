from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from operations.http import error_pages

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/api/xpert/nowhere", "/api/xpert/", "/api/xpert/traffic-webhook/x"],
)
def test_an_unknown_path_is_404_in_json(path: str) -> None:
    response = Client().get(path)
    assert (response.status_code, response.json()) == (404, {"detail": error_pages._NO_ADDRESS})


def test_a_wrong_address_is_told_where_the_addresses_are() -> None:
    assert (
        Client()
        .get("/api/xpert/nowhere")
        .json()["detail"]
        .startswith("Not Found. docs/api.md lists")
    )


def test_people_in_the_admin_get_a_page() -> None:
    response = Client().get("/static/nowhere.css")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_the_page_is_in_the_panels_style_and_leads_back() -> None:
    page = Client().get("/static/nowhere.css").content.decode()
    assert '<link rel="stylesheet" href="/static/operations/trouble.css">' in page
    assert '<a href="/admin/">Overview</a>' in page


def test_the_page_needs_no_collected_files(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }
    page = Client().get("/static/nowhere.css")
    assert page.status_code == 404
    assert b"Not found" in page.content
    assert b"stylesheet" not in page.content


def test_a_wrong_host_is_400_in_json() -> None:
    response = Client(headers={"host": "evil.example"}).get("/api/xpert/traffic-stats/user123")
    assert response.status_code == 400
    assert list(response.json()) == ["detail"]
    assert "evil" not in response.content.decode()


def answers(path: str) -> list[HttpResponse]:
    request = RequestFactory().get(path)
    return [
        error_pages.bad_request(request, SuspiciousOperation("secret")),
        error_pages.permission_denied(request, PermissionDenied("secret")),
        error_pages.not_found(request, Exception("secret")),
        error_pages.server_error(request),
    ]


def test_the_api_says_no_more_than_the_status() -> None:
    for response, status in zip(answers("/api/xpert/sub"), (400, 403, 404, 500), strict=True):
        assert response.status_code == status
        assert response["Content-Type"] == "application/json"
        assert b"secret" not in response.content


def test_the_admin_gets_django_s_own_pages() -> None:
    for response, status in zip(answers("/admin/x"), (400, 403, 404, 500), strict=True):
        assert response.status_code == status
        assert response["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("language", "words"), [("en", "This page was open for too long"), ("ru", "слишком долго")]
)
def test_a_form_of_an_old_page_is_refused_in_the_panel_s_words(language: str, words: str) -> None:
    client = Client(enforce_csrf_checks=True, headers={"accept-language": language})
    answer = client.post("/admin/login/", {"username": "eva"})
    assert answer.status_code == 403
    assert words in answer.content.decode()


def test_outside_the_admin_it_is_refused_in_json() -> None:
    answer = error_pages.csrf_failure(RequestFactory().post("/api/xpert/sub"), "no cookie")
    assert (answer.status_code, answer.content) == (403, b'{"detail": "Forbidden."}')


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "A form accepts at most 2.5 MB."), ("ru", "не больше 2,5 МБ.")],
)
def test_a_form_too_large_is_refused_in_the_panel_s_words(language: str, words: str) -> None:
    client = Client(headers={"accept-language": language})
    answer = client.post("/admin/login/", {"username": "x" * 3_000_000})
    assert answer.status_code == 413
    assert words in answer.content.decode()


def test_outside_the_admin_a_form_too_large_is_refused_in_json() -> None:
    request = RequestFactory().post("/api/xpert/sub", b"x", "text/plain")
    answer = error_pages.bad_request(request, RequestDataTooBig("secret"))
    assert (answer.status_code, answer["Content-Type"]) == (413, "application/json")
    assert b"secret" not in answer.content
