import base64
from datetime import UTC, datetime, timedelta

import pytest

from subscriptions.serving import headers

TAG = '"abc"'


def test_userinfo_has_four_integers_and_no_semicolon_at_the_end() -> None:
    assert headers.userinfo(64000000, 128000000, 192000000, 0) == (
        "upload=64000000; download=128000000; total=192000000; expire=0"
    )


@pytest.mark.parametrize(
    ("mode", "is_quota", "total"),
    [
        ("auto", True, 0),
        ("auto", False, 30),
        ("used", True, 30),
        ("used", False, 30),
        ("quota", True, 0),
        ("quota", False, 0),
    ],
)
def test_total_without_a_limit(mode: str, is_quota: bool, total: int) -> None:
    assert headers.total(None, 30, mode=mode, is_quota=is_quota) == total


@pytest.mark.parametrize("mode", ["auto", "used", "quota"])
def test_total_is_the_limit_when_there_is_one(mode: str) -> None:
    assert headers.total(100, 30, mode=mode, is_quota=False) == 100


def test_an_ascii_title_is_sent_unchanged() -> None:
    assert headers.readable("Xpert Panel") == "Xpert Panel"


def test_any_other_title_is_sent_as_padded_standard_base64() -> None:
    kind, _, encoded = headers.readable("Панель ÿÿ?").partition(":")
    assert (kind, base64.b64decode(encoded, validate=True).decode()) == ("base64", "Панель ÿÿ?")


def test_content_disposition_carries_the_name_in_both_forms() -> None:
    assert headers.content_disposition("Xpert Panel") == (
        "attachment; filename=\"Xpert Panel\"; filename*=UTF-8''Xpert%20Panel"
    )


def test_a_file_name_holds_nothing_that_could_end_the_header() -> None:
    found = headers.content_disposition('a"b\\c\r\nПанель')
    assert found.startswith('attachment; filename="abc"; ')
    assert found.isascii()
    assert "\n" not in found


def test_a_name_without_ascii_has_a_file_name_nevertheless() -> None:
    assert 'filename="subscription"' in headers.content_disposition("Панель")


def test_the_etag_follows_the_body() -> None:
    assert headers.etag(b"a") == headers.etag(b"a") != headers.etag(b"b")


@pytest.mark.parametrize("sent", ['"abc"', 'W/"abc"', '"x", "abc"', 'W/"x",W/"abc"', "*", " * "])
def test_if_none_match_names_the_tag(sent: str) -> None:
    assert headers.matches(sent, TAG)


@pytest.mark.parametrize("sent", ["", '"ab"', "abc", '"x"', "**"])
def test_if_none_match_names_another_tag(sent: str) -> None:
    assert not headers.matches(sent, TAG)


def test_content_for_a_browser_is_inline() -> None:
    assert (
        headers.content_disposition("Xpert", "inline")
        == "inline; filename=\"Xpert\"; filename*=UTF-8''Xpert"
    )


@pytest.mark.parametrize("seconds", [-86_400, -1, 0, 1])
@pytest.mark.parametrize("zero_is_1970", [True, False])
def test_an_end_at_or_before_1970_is_past_and_not_for_ever(
    seconds: int, zero_is_1970: bool
) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert headers.expire(moment, zero_is_1970=zero_is_1970) == 1
