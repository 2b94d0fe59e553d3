from base64 import b64decode, b64encode

import pytest

from integrations.marzban.merging import NotUnderstood, merged
from tests.integrations.marzban.merging.examples import (
    HYSTERIA2,
    OWN,
    REALITY,
    TROJAN,
    base64_body,
    servers,
)


def lines(body: bytes, *raws: str) -> list[str]:
    return (
        b64decode(merged("base64", body, servers("base64", *raws)), validate=True)
        .decode()
        .split("\n")
    )


def test_external_links_follow_the_panel_s_own_which_stay_as_they_are() -> None:
    assert lines(base64_body(*OWN)) == [*OWN, REALITY, TROJAN]


def test_a_person_without_own_links_gets_the_external_ones() -> None:
    assert lines(b"") == [REALITY, TROJAN]


def test_every_kind_of_server_is_in_the_list() -> None:
    assert lines(base64_body(*OWN), HYSTERIA2) == [*OWN, HYSTERIA2]


def test_base64_without_padding_is_understood() -> None:
    assert lines(base64_body(*OWN, "vless://x").rstrip(b"="))[:3] == [*OWN, "vless://x"]


def test_a_name_that_the_panel_has_given_is_not_given_again() -> None:
    own = "ss://YWVzLTEyOC1nY206cHc@panel.example.com:1#berlin"
    assert lines(base64_body(own), REALITY, TROJAN) == [own, REALITY + "%202", TROJAN]


def test_a_name_inside_a_link_of_vmess_counts_as_given() -> None:
    vmess = b'{"v":"2","ps":"Paris","add":"a.example","port":"443","id":"11111111-2222-4333-8444-555555555555"}'
    own = f"vmess://{b64encode(vmess).decode()}"
    assert lines(base64_body(own), TROJAN) == [own, TROJAN + "%202"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b"not base64 at all!",
        "é".encode("latin-1"),
        b64encode(b"\xff\xfe"),
        b64encode(b"a line that is no link"),
        "\n".join(OWN).encode(),
    ],
)
def test_anything_else_is_not_understood(body: bytes) -> None:
    with pytest.raises(NotUnderstood):
        merged("base64", body, servers("base64"))
