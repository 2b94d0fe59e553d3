import pytest
from pytest_django import Settings

from subscriptions.serving import public_urls


def test_the_domain_wins_over_the_requests_own_origin(settings: Settings) -> None:
    settings.XPERT_DOMAIN = "panel.example.com"
    assert public_urls.public_url("http://127.0.0.1:8000") == "https://panel.example.com"


def test_without_a_domain_the_requests_own_origin_counts(settings: Settings) -> None:
    settings.XPERT_DOMAIN = ""
    assert public_urls.public_url("http://127.0.0.1:8000") == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::", "http://[::1]:8123"),
        ("2001:db8::1", "http://[2001:db8::1]:8123"),
        ("[::1]", "http://[::1]:8123"),
    ],
)
def test_the_panels_own_address_can_be_opened(settings: Settings, host: str, origin: str) -> None:
    settings.HOST, settings.PORT = host, 8123
    assert public_urls.local_origin() == origin


def test_a_plus_in_a_token_is_escaped() -> None:
    assert public_urls.subscription_url("a+b@c:d=~", "https://p.example") == (
        "https://p.example/api/xpert/sub?user_token=a%2Bb%40c%3Ad%3D~"
    )


def test_the_webhook_is_absolute() -> None:
    assert (
        public_urls.webhook_url("https://p.example")
        == "https://p.example/api/xpert/traffic-webhook"
    )
