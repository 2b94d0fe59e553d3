import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from traffic.checks import check_settings


def test_the_defaults_are_fine() -> None:
    assert check_settings() == []


@pytest.mark.parametrize(
    ("id_", "name", "value"),
    [
        ("traffic.E001", "XPERT_TRAFFIC_TRACKING_ENABLED", "maybe"),
        ("traffic.E002", "XPERT_TRAFFIC_RETENTION_DAYS", "ninety"),
        ("traffic.E003", "XPERT_DOMAIN", "not a domain"),
        ("traffic.E004", "XPERT_OPEN_ACCESS", "perhaps"),
        ("traffic.E005", "XPERT_REPORTS_NEED_KEY", "perhaps"),
        ("traffic.E006", "XPERT_RATE_REPORTS", "120"),
        ("traffic.E007", "XPERT_RATE_SUBSCRIPTIONS", "60/week"),
        ("traffic.E008", "XPERT_RATE_ADDRESS", "0/min"),
        ("traffic.E009", "XPERT_TRUSTED_PROXIES", "one"),
        ("traffic.E010", "XPERT_TIME_ZONE", "Mars/Olympus"),
        ("traffic.E011", "XPERT_HTTPS", "perhaps"),
        ("traffic.E012", "XPERT_LOG_LEVEL", "LOUD"),
        ("traffic.E014", "XPERT_LOG_FORMAT", "xml"),
        ("traffic.E013", "XPERT_ALLOWED_HOSTS", ["https://panel.example.com"]),
    ],
)
def test_each_setting_has_an_id_a_sentence_and_a_hint(settings: Settings, id_: str, name: str, value: str) -> None:
    setattr(settings, name, value)
    (found,) = [message for message in run_checks() if (message.id or "").startswith("traffic.")]
    assert found.id == id_
    assert found.is_serious()
    assert found.msg.startswith(f"{name} takes ")
    assert name in (found.hint or "")


def test_every_wrong_setting_is_named_at_once(settings: Settings) -> None:
    settings.XPERT_RATE_REPORTS = settings.XPERT_DOMAIN = "?"
    assert [message.id for message in check_settings()] == ["traffic.E003", "traffic.E006"]


def test_open_access_on_a_public_domain_is_warned_of_loudly(settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS, settings.XPERT_DOMAIN, settings.XPERT_HTTPS = True, "panel.example.com", True
    (found,) = check_settings()
    assert (found.id, found.is_serious()) == ("traffic.W001", False)
    assert "ANYBODY" in found.msg
    assert "https://panel.example.com" in found.msg


@pytest.mark.parametrize("domain", ["", "localhost:8000", "your-domain.com"])
def test_open_access_on_one_machine_is_no_reason_to_warn(settings: Settings, domain: str) -> None:
    settings.XPERT_OPEN_ACCESS, settings.XPERT_DOMAIN = True, domain
    assert check_settings() == []


@pytest.mark.parametrize(
    ("domain", "https", "ids"),
    [
        ("panel.example.com", False, ["traffic.W002"]),
        ("panel.example.com", True, []),
        ("http://panel.example.com", False, []),
        ("https://localhost", False, []),
    ],
)
def test_links_that_say_https_want_https(settings: Settings, domain: str, https: bool, ids: list[str]) -> None:
    settings.XPERT_DOMAIN, settings.XPERT_HTTPS = domain, https
    assert [message.id for message in check_settings()] == ids
