from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from operations.conf import Rate, choice
from subscriptions.conf import conf


@pytest.mark.parametrize(
    ("name", "attribute", "default"),
    [
        ("XPERT_TRAFFIC_TRACKING_ENABLED", "tracking_enabled", True),
        ("XPERT_TRAFFIC_RETENTION_DAYS", "retention_days", 0),
        ("XPERT_DOMAIN", "domain", ""),
        ("XPERT_OPEN_ACCESS", "open_access", False),
        ("XPERT_REPORTS_NEED_KEY", "reports_need_key", False),
        ("XPERT_RATE_REPORTS", "rate_reports", Rate(120, 60)),
        ("XPERT_RATE_SUBSCRIPTIONS", "rate_subscriptions", Rate(60, 60)),
        ("XPERT_RATE_ADDRESS", "rate_address", Rate(1200, 60)),
        ("XPERT_TRUSTED_PROXIES", "trusted_proxies", 0),
    ],
)
def test_a_project_that_sets_nothing_gets_the_default(
    settings: Settings, name: str, attribute: str, default: object
) -> None:
    delattr(settings, name)
    assert getattr(conf, attribute) == default


def test_without_a_setting_days_begin_in_utc(settings: Settings) -> None:
    del settings.XPERT_TIME_ZONE
    assert conf.time_zone.key == "UTC"


@pytest.mark.parametrize(
    ("value", "origin", "is_public"),
    [
        ("", "", False),
        ("panel.example.com", "https://panel.example.com", True),
        ("https://panel.example.com", "https://panel.example.com", True),
        ("https://panel.example.com/", "https://panel.example.com", True),
        ("http://panel.example.com:8000", "http://panel.example.com:8000", True),
        ("PANEL.example.com:8443", "https://PANEL.example.com:8443", True),
        ("192.0.2.1", "https://192.0.2.1", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443", True),
        ("localhost", "https://localhost", False),
        ("LOCALHOST:8000", "https://LOCALHOST:8000", False),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000", False),
        ("[::1]:8000", "https://[::1]:8000", False),
        ("your-domain.com", "https://your-domain.com", False),
        ("https://your-domain.com", "https://your-domain.com", False),
        ("my.your-domain.com", "https://my.your-domain.com", True),
        ("127.0.0.1.example.com", "https://127.0.0.1.example.com", True),
    ],
)
def test_a_domain_becomes_an_origin(
    settings: Settings, value: str, origin: str, is_public: bool
) -> None:
    settings.XPERT_DOMAIN = value
    assert (conf.domain, conf.has_public_domain) == (origin, is_public)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("", None),
        ("120/min", Rate(120, 60)),
        ("1/sec", Rate(1, 1)),
        ("1/second", Rate(1, 1)),
        ("5/minute", Rate(5, 60)),
        ("5/hour", Rate(5, 3600)),
        ("999999999/day", Rate(999_999_999, 86_400)),
    ],
)
def test_a_rate_is_so_many_requests_in_a_time(
    settings: Settings, value: str, rate: Rate | None
) -> None:
    settings.XPERT_RATE_REPORTS = value
    assert conf.rate_reports == rate


@pytest.mark.parametrize(
    ("name", "attribute", "values"),
    [
        ("XPERT_TRAFFIC_TRACKING_ENABLED", "tracking_enabled", ["maybe", 1, None]),
        ("XPERT_TRAFFIC_RETENTION_DAYS", "retention_days", [-1, 3651, True, "90", 1.5, None]),
        ("XPERT_DOMAIN", "domain", ["a b", "ftp://a", "https://", "a/b", "https://a/b", "user@a", 5, "a:port", "a:123456"]),
        ("XPERT_OPEN_ACCESS", "open_access", ["yes please", 0]),
        ("XPERT_REPORTS_NEED_KEY", "reports_need_key", [""]),
        ("XPERT_RATE_REPORTS", "rate_reports", ["0/min", "-1/min", "120", "120/week", "1 / min", "１/min", 120, "1/min "]),
        ("XPERT_RATE_SUBSCRIPTIONS", "rate_subscriptions", ["60"]),
        ("XPERT_RATE_ADDRESS", "rate_address", ["many"]),
        ("XPERT_TRUSTED_PROXIES", "trusted_proxies", [-1, 11, "1", False]),
        ("XPERT_TIME_ZONE", "time_zone", ["Moscow", "", "../etc/passwd", "UTC+3"]),
    ],
)  # fmt: skip
def test_a_malformed_value_is_reported_in_a_sentence(
    settings: Settings, name: str, attribute: str, values: list[Any]
) -> None:
    for value in values:
        setattr(settings, name, value)
        with pytest.raises(
            ImproperlyConfigured,
            match=rf"^{name} takes .*not {value!r}\.$".replace("(", "").replace("+", "."),
        ):
            getattr(conf, attribute)


@pytest.mark.parametrize("days", [0, 1, 3650])
def test_the_retention_takes_its_edges(settings: Settings, days: int) -> None:
    settings.XPERT_TRAFFIC_RETENTION_DAYS = days
    assert conf.retention_days == days


def test_a_choice_is_one_of_its_values(settings: Settings) -> None:
    settings.XPERT_COLOUR = "red"
    assert choice("XPERT_COLOUR", default="blue", choices=("red", "blue")) == "red"
    assert choice("XPERT_OTHER", default="blue", choices=("red", "blue")) == "blue"
    settings.XPERT_COLOUR = "green"
    with pytest.raises(
        ImproperlyConfigured, match=r"^XPERT_COLOUR takes one of red, blue, not 'green'.$"
    ):
        choice("XPERT_COLOUR", default="blue", choices=("red", "blue"))
