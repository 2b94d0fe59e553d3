"""Settings: defaults, and the sentence that stops the start when one is wrong."""

from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from subscriptions.conf import conf


def problems() -> dict[str | None, str]:
    return {
        found.id: found.msg for found in run_checks() if str(found.id).startswith("subscriptions.")
    }


@pytest.mark.parametrize(
    ("setting", "name", "default"),
    [
        ("XPERT_USERINFO_TOTAL", "userinfo_total", "auto"),
        ("XPERT_SUPPORT_URL", "support_url", ""),
        ("XPERT_PROFILE_WEB_PAGE_URL", "profile_web_page_url", ""),
        ("XPERT_HITS_ENABLED", "hits_enabled", True),
        ("XPERT_HITS_RETENTION_DAYS", "hits_retention_days", 30),
        ("XPERT_DEVICES_WITHOUT_ID", "devices_without_id", "allow"),
        ("XPERT_DEVICES_RETENTION_DAYS", "devices_retention_days", 0),
        ("XPERT_LANGUAGE", "language", "en"),
    ],
)
def test_a_setting_that_is_not_there_has_its_default(
    settings: Settings, setting: str, name: str, default: Any
) -> None:
    delattr(settings, setting)
    assert getattr(conf, name) == default


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("XPERT_USERINFO_TOTAL", "quota"),
        ("XPERT_SUPPORT_URL", "tg://resolve?domain=support"),
        ("XPERT_SUPPORT_URL", "https://t.me/support"),
        ("XPERT_PROFILE_WEB_PAGE_URL", "HTTP://example.com/a?b=c#d"),
        ("XPERT_PROFILE_WEB_PAGE_URL", None),
        ("XPERT_HITS_ENABLED", False),
        ("XPERT_HITS_RETENTION_DAYS", 1),
        ("XPERT_HITS_RETENTION_DAYS", 3650),
        ("XPERT_DEVICES_WITHOUT_ID", "refuse"),
        ("XPERT_DEVICES_RETENTION_DAYS", 3650),
        ("XPERT_LANGUAGE", "fa"),
    ],
)
def test_a_good_value_passes(settings: Settings, setting: str, value: Any) -> None:
    setattr(settings, setting, value)
    assert problems() == {}


@pytest.mark.parametrize(
    ("setting", "value", "id_"),
    [
        ("XPERT_USERINFO_TOTAL", "both", "subscriptions.E001"),
        ("XPERT_DEVICES_WITHOUT_ID", "no", "subscriptions.E018"),
        ("XPERT_DEVICES_RETENTION_DAYS", -1, "subscriptions.E019"),
        ("XPERT_DEVICES_RETENTION_DAYS", 3651, "subscriptions.E019"),
        ("XPERT_SUPPORT_URL", "t.me/support", "subscriptions.E002"),
        ("XPERT_SUPPORT_URL", "javascript://alert(1)", "subscriptions.E002"),
        ("XPERT_SUPPORT_URL", "https://a b", "subscriptions.E002"),
        ("XPERT_SUPPORT_URL", "https://a\r\nX: y", "subscriptions.E002"),
        ("XPERT_SUPPORT_URL", "https://пример.рф", "subscriptions.E002"),
        ("XPERT_SUPPORT_URL", "https://" + "a" * 501, "subscriptions.E002"),
        ("XPERT_PROFILE_WEB_PAGE_URL", 5, "subscriptions.E003"),
        ("XPERT_HITS_ENABLED", "maybe", "subscriptions.E004"),
        ("XPERT_HITS_RETENTION_DAYS", 0, "subscriptions.E005"),
        ("XPERT_HITS_RETENTION_DAYS", 3651, "subscriptions.E005"),
        ("XPERT_LANGUAGE", "de", "subscriptions.E006"),
    ],
)
def test_a_wrong_value_stops_the_start_with_a_sentence(
    settings: Settings, setting: str, value: Any, id_: str
) -> None:
    setattr(settings, setting, value)
    assert setting in problems()[id_]
