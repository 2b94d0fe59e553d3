import pytest

from integrations.marzban.merging import NotUnderstood, format_of


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/plain; charset=utf-8", b"", "base64"),
        ("text/yaml; charset=utf-8", b"x", "mihomo"),
        ("Text/YAML", b"x", "mihomo"),
        ("application/json", b' {"outbounds": []}', "sing-box"),
        ("application/json", b"[{}]", "xray"),
    ],
)
def test_the_answer_decides_on_the_format(content_type: str, body: bytes, expected: str) -> None:
    assert format_of(content_type, body) == expected


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=utf-8", b"<html>"),
        ("", b""),
        ("application/json", b"1"),
        ("image/png", b"{"),
    ],
)
def test_anything_else_is_not_understood(content_type: str, body: bytes) -> None:
    with pytest.raises(NotUnderstood):
        format_of(content_type, body)
