"""XPERT_MARZBAN_URL: which forms it takes."""

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from integrations.marzban.conf import conf


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("", ""),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://marzban:8000", "http://marzban:8000"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000"),
        ("https://marzban.example.com/", "https://marzban.example.com"),
        ("https://example.com/marzban/", "https://example.com/marzban"),
    ],
)
def test_the_address_of_a_marzban_is_read_without_a_slash_at_its_end(
    settings: Settings, value: str, read: str
) -> None:
    settings.XPERT_MARZBAN_URL = value
    assert conf.marzban_url == read


@pytest.mark.parametrize(
    "value",
    [
        "marzban.example.com",
        "ftp://marzban.example.com",
        "https://",
        "https://:8000",
        "https://a.example:0",
        "https://a.example:99999",
        "https://a.example:x",
        "https://ann:secret@a.example",
        "https://a.example/?x=1",
        "https://a.example/#x",
        "https://a.example /",
        "https://[::1",
        "http://169.254.169.254",
    ],
)
def test_a_wrong_address_stops_the_start_with_a_sentence(settings: Settings, value: str) -> None:
    settings.XPERT_MARZBAN_URL = value
    (found,) = [message for message in run_checks() if (message.id or "").startswith("marzban.")]
    assert found.id == "marzban.E010"
    assert found.msg.startswith("XPERT_MARZBAN_URL takes ")
    assert "XPERT_MARZBAN_URL" in (found.hint or "")
