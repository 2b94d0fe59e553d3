import base64

import pytest

from subscriptions import links
from subscriptions.formats import FormatError, chosen, content_type, left_out, render

A, B = "trojan://pw@a.example:1#A", "trojan://pw@b.example:2#Б"
ID = "11111111-2222-4333-8444-555555555555"


def test_plain_is_one_link_a_line_with_a_line_feed_behind_each() -> None:
    assert render("plain", [links.parse(A), links.parse(B)]) == f"{A}\n{B}\n".encode()


def test_plain_of_nothing_is_nothing() -> None:
    assert render("plain", []) == b""


def test_base64_is_standard_padded_and_one_line() -> None:
    link = f"{A}{'ÿÿ~?' * 40}"
    body = render("base64", [links.parse(link)])
    assert base64.b64decode(body, validate=True) == f"{link}\n".encode()
    assert b"\n" not in body


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("plain", "plain"),
        ("universal", "plain"),
        ("base64", "base64"),
        ("mihomo", "mihomo"),
        ("clash", "mihomo"),
        ("sing-box", "sing-box"),
        ("xray", "xray"),
    ],
)
def test_the_requested_format_is_chosen(asked: str, name: str) -> None:
    assert chosen(asked, "base64") == name


@pytest.mark.parametrize("preferred", ["plain", "mihomo", "sing-box"])
def test_without_a_wish_the_client_decides(preferred: str) -> None:
    assert chosen("", preferred) == preferred


@pytest.mark.parametrize("asked", ["yaml", "PLAIN", "plain ", "\0", "auto"])
def test_an_unknown_format_is_refused(asked: str) -> None:
    with pytest.raises(FormatError, match="Unknown format"):
        chosen(asked, "plain")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("plain", "text/plain; charset=utf-8"),
        ("base64", "text/plain; charset=utf-8"),
        ("mihomo", "text/yaml; charset=utf-8"),
        ("sing-box", "application/json"),
        ("xray", "application/json"),
    ],
)
def test_every_format_has_its_media_type(name: str, kind: str) -> None:
    assert content_type(name) == kind


def test_servers_that_a_format_cannot_express_are_counted() -> None:
    assert left_out(
        [links.parse(A), links.parse(f"vless://{ID}@a.example:1?security=tls&type=xhttp#X")]
    ) == {"sing-box": 1}


def test_nothing_is_counted_for_servers_that_all_formats_know() -> None:
    assert left_out([links.parse(A)]) == {}
