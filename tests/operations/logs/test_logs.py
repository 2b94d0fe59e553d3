import logging
import sys

import pytest
from django.test import Client, RequestFactory
from django.urls import ResolverMatch, resolve
from hypothesis import given
from hypothesis import strategies as st

from operations.api.authentication import create_api_key
from operations.logs.formatters import ClientMistakes
from operations.logs.masking import masked_path
from operations.masks import masked
from tests.traffic.examples import STATISTICS, WEBHOOK, wire

SECRET = "s3cr3t-token-of-somebody"
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("", "…"),
        ("ab", "…"),
        ("abc", "a…"),
        ("abcdefgh", "ab…"),
        ("abcdefghijkl", "abcd…"),
        ("a" * 255, "aaaa…"),
        ("\n" * 9, "…"),
    ],
)
def test_at_most_a_third_and_never_more_than_4_characters_of_a_secret_are_shown(
    secret: str, shown: str
) -> None:
    assert masked(secret) == shown


@given(st.text(min_size=1))
def test_a_masked_secret_is_no_secret_and_one_line(secret: str) -> None:
    shown = masked(secret).removesuffix("…")
    assert len(shown) <= min(4, len(secret) / 3)
    assert shown.isprintable()


def line_of(url: str, match: ResolverMatch | None = None) -> str:
    request = RequestFactory().get(url)
    request.resolver_match = match
    return masked_path(request)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        (f"{STATISTICS}/user123", "/api/xpert/traffic-stats/us…"),
        (f"{STATISTICS}/user123/?days=7", "/api/xpert/traffic-stats/us…/?days=7"),
        (f"{STATISTICS}/a", "/api/xpert/traffic-stats/…"),
        (f"{STATISTICS}/series", "/api/xpert/traffic-stats/se…"),
        (f"{STATISTICS}/series/series", "/api/xpert/traffic-stats/se…/se…"),
        (f"{STATISTICS}/user123/series?tz=Europe/Moscow&bucket=day", "/api/xpert/traffic-stats/us…/series?tz=Europe/Moscow&bucket=day"),
        (f"{STATISTICS}/user123/and/more456", "/api/xpert/traffic-stats/us…/a…/mo…"),
        (f"{STATISTICS}/%75ser123", "/api/xpert/traffic-stats/us…"),
        (f"{STATISTICS}/user%0Aevil", "/api/xpert/traffic-stats/use…"),
        (f"{STATISTICS}/%0A%0A%0Aevil678", "/api/xpert/traffic-stats/…"),
        (f"{STATISTICS}/server/vpn.example.com/443", "/api/xpert/traffic-stats/server/vpn.example.com/443"),
        (f"{STATISTICS}/server/a%0Ab/443", "/api/xpert/traffic-stats/server/a?b/443"),
        ("/admin/auth/user/17/change/", "/admin/auth/user/17/change/"),
        ("/admin/auth/user/user123/change/", "/admin/auth/user/us…/change/"),
        ("/admin/user123456789", "/admin/user…"),
    ],
)  # fmt: skip
def test_the_log_shows_which_route_and_hides_whose(url: str, line: str) -> None:
    path = RequestFactory().get(url).path
    assert line_of(url, resolve(path)) == line


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("user_token=user123", "user_token=us…"),
        ("user_token=%75ser123", "user_token=us…"),
        ("days=30", "days=30"),
        ("days=user123", "days=us…"),
        ("format=mihomo", "format=mihomo"),
        ("format=user123", "format=us…"),
        ("bucket=hour&tz=Asia/Tehran", "bucket=hour&tz=Asia/Tehran"),
        ("tz=user123", "tz=us…"),
        ("page=2", "page=2"),
        ("page=user123", "page=us…"),
        ("user123", "us…=…"),
        ("user123=1", "us…=…"),
        ("a%0Ab%0Ac=1", "a…=…"),
        ("%0A%0A%0Aabc=1", "…=…"),
        ("days=30&days=user123", "days=30&days=us…"),
    ],
)
def test_only_harmless_parts_of_a_query_are_shown(query: str, shown: str) -> None:
    assert line_of(f"/metrics?{query}", resolve("/metrics")) == f"/metrics?{shown}"


def test_a_path_without_a_route_is_masked_part_by_part() -> None:
    assert line_of(f"/api/xpert/wrong/{SECRET}/") == "/api/xpert/w…/s3cr…/"


def test_a_query_of_too_many_parameters_is_left_out() -> None:
    assert line_of("/metrics?" + "a=1&" * 20_001, resolve("/metrics")) == "/metrics?…"


def test_a_long_path_is_cut() -> None:
    assert len(line_of("/x" * 1000)) == 300


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("get", f"{STATISTICS}/{SECRET}"),
        ("get", f"{STATISTICS}/{SECRET}/"),
        ("get", f"{STATISTICS}/{SECRET}/series"),
        ("get", f"{STATISTICS}/{SECRET}?days=wrong"),
        ("get", f"{STATISTICS}/" + "".join(f"%{ord(letter):02X}" for letter in SECRET)),
        ("get", f"{STATISTICS}/global?days={SECRET}"),
        ("get", f"{STATISTICS}/global/series?tz={SECRET}"),
        ("get", f"{STATISTICS}/global/series?bucket={SECRET}"),
        ("get", f"{STATISTICS}/database/info?user_token={SECRET}"),
        ("get", f"{STATISTICS}/server/a.example/443?{SECRET}"),
        ("get", f"/api/xpert/marzban-traffic-stats?x={SECRET}"),
        ("get", f"/api/xpert/sub?user_token={SECRET}"),
        ("get", f"/api/xpert/direct-configs/sub?user_token={SECRET}"),
        ("get", f"/api/xpert/direct-configs/{SECRET}"),
        ("get", f"/api/xpert/{SECRET}"),
        ("get", f"/{SECRET}"),
        ("get", f"/admin/{SECRET}"),
        ("get", f"/static/{SECRET}"),
        ("get", f"/healthz?{SECRET}"),
        ("get", f"/metrics?api_key={SECRET}"),
        ("get", f"/api/xpert/schema?{SECRET}={SECRET}"),
        ("get", f"/api/xpert/docs?key={SECRET}"),
        ("post", f"{STATISTICS}/cleanup?days={SECRET}"),
        ("post", f"{WEBHOOK}?user_token={SECRET}"),
        ("put", f"{STATISTICS}/{SECRET}"),
        ("options", f"{STATISTICS}/{SECRET}"),
    ],
)
def test_no_log_line_of_any_endpoint_holds_a_token(
    method: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = getattr(Client(raise_request_exception=False), method)(url)
    assert response.status_code < 500
    requests = [record for record in caplog.records if record.name == "xpert.request"]
    assert len(requests) == 1
    assert requests[0].getMessage().startswith(method.upper())
    written = [
        record.getMessage() for record in caplog.records if not record.name.startswith("django.db")
    ]
    assert not [line for line in written if SECRET in line]


@pytest.mark.usefixtures("open_access")
def test_no_log_line_of_a_report_holds_token_or_key(caplog: pytest.LogCaptureFixture) -> None:
    _, key = create_api_key("reporter", "report")
    with caplog.at_level(logging.INFO):
        for headers in (
            {"authorization": f"Bearer {key}"},
            {"x-api-key": key},
            {"authorization": f"Bearer {SECRET}"},
            {},
        ):
            for body in (
                wire(user_token=SECRET),
                [wire(user_token=SECRET)],
                wire(user_token=SECRET, port=SECRET),
            ):
                Client().post(WEBHOOK, body, content_type="application/json", headers=headers)
    assert len(caplog.messages) == 12
    assert SECRET not in caplog.text
    assert key not in caplog.text


def test_client_errors_are_logged_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(ClientMistakes())
    logging.getLogger().addHandler(handler)
    try:
        assert Client(headers={"host": "evil.example"}).get("/healthz").status_code == 400
        logging.getLogger("other").error("ours", exc_info=ValueError("ours"))
    finally:
        logging.getLogger().removeHandler(handler)
    written = capsys.readouterr().out
    assert "Invalid HTTP_HOST header: 'evil.example'" in written
    assert "DisallowedHost" not in written
    assert "ValueError: ours" in written


def test_an_unexpected_error_is_written_down_with_the_token_masked(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the reason")

    monkeypatch.setattr("traffic.figures.statistics.user", broken)
    response = Client(raise_request_exception=False).get(f"{STATISTICS}/{SECRET}")
    assert (response.status_code, response.json()) == (500, {"detail": "Internal Server Error."})
    assert "GET /api/xpert/traffic-stats/s3cr… failed" in caplog.text
    assert "the reason" in caplog.text
    assert SECRET not in caplog.text
