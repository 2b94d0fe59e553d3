"""One POST to an address of an operator's: bounded, and followed nowhere."""

import pytest

from traffic.notifications.posting import Address, PostError, post, read_url

from .loopback import Loopback


def error(url: str, **arguments: float) -> str:
    with pytest.raises(PostError) as found:
        post(url, b"{}", {}, **arguments)
    return found.value.code


def test_what_is_sent_arrives_with_its_headers(loopback: Loopback) -> None:
    post(f"{loopback.url}/a/b?c=d", '{"text": "привет"}'.encode(), {"Xpert-Id": "7"})
    (came,) = loopback.came
    assert (came.path, came.json) == ("/a/b?c=d", {"text": "привет"})
    assert came.headers["Host"] == loopback.url.removeprefix("http://")
    assert came.headers["Content-Type"] == "application/json"
    assert came.headers["Xpert-Id"] == "7"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_confirms(loopback: Loopback, status: int) -> None:
    loopback.answers = [status]
    post(loopback.url, b"{}", {})


@pytest.mark.parametrize("status", [300, 304, 400, 403, 410, 429, 500, 503])
def test_no_other_status_confirms(loopback: Loopback, status: int) -> None:
    loopback.answers = [status]
    assert error(loopback.url) == f"http_{status}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(loopback: Loopback, status: int) -> None:
    loopback.answers, loopback.location = [status], f"{loopback.url}/elsewhere"
    assert error(loopback.url) == f"http_{status}"
    assert len(loopback.came) == 1


def test_a_receiver_that_does_not_answer_is_left(loopback: Loopback) -> None:
    loopback.go.clear()
    assert error(loopback.url, total=0.3) == "timeout"


def test_a_port_where_nobody_listens_is_told(unused_port: int) -> None:
    assert error(f"http://127.0.0.1:{unused_port}") == "connection"


def test_a_name_that_nobody_has_is_told() -> None:
    assert error("http://nobody.invalid/") == "connection"


@pytest.mark.parametrize(
    "raw",
    [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, b"HTTP/1.1 200 OK\r\nX: y"],
)
def test_an_answer_that_is_no_http_or_has_no_end_confirms_nothing(loopback: Loopback, raw: bytes) -> None:
    loopback.raw = raw
    assert error(loopback.url) in {"bad_response", "connection"}


def test_an_interim_answer_is_passed_over(loopback: Loopback) -> None:
    loopback.raw = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    post(loopback.url, b"{}", {})


def test_plain_http_where_tls_is_expected_is_told(loopback: Loopback) -> None:
    assert error(loopback.url.replace("http:", "https:")) in {"tls", "connection"}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://example.com/hook", Address("example.com", 443, "example.com", "/hook", True)),
        ("http://example.com", Address("example.com", 80, "example.com", "/", False)),
        ("http://[::1]:8080/?a=b", Address("::1", 8080, "[::1]:8080", "/?a=b", False)),
    ],
)
def test_a_url_says_where_to_post(url: str, address: Address) -> None:
    assert read_url(url) == address


@pytest.mark.parametrize(
    "url",
    ["", "example.com/hook", "ftp://example.com/", "https://", "https://user:password@example.com/", "https://a b/",
     "https://a/b c", "https://a/\r\nX: y", "https://пример.рф/", "http://a:99999/", "http://a:b/", "file:///etc/passwd"],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        read_url(url)
    assert error(url) == "bad_url"
