"""The login form delays password guessing, and nobody else."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings
from redis.exceptions import ConnectionError as RedisIsGone

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def ann() -> User:
    return User.objects.create_superuser("ann", password="right")


def sign_in(password: str, username: str = "ann", **meta: Any) -> Any:
    return Client().post(
        LOGIN, {"username": username, "password": password, "next": "/admin/"}, **meta
    )


def guess(times: int, **meta: Any) -> Any:
    answers = [sign_in("wrong", **meta) for _ in range(times)]
    return answers[-1]


def test_the_right_password_lets_in() -> None:
    assert sign_in("right").status_code == 302


def test_a_login_at_the_form_itself_leads_to_the_overview() -> None:
    answer = Client().post(LOGIN, {"username": "ann", "password": "right"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_four_wrong_passwords_are_forgiven() -> None:
    assert guess(4).status_code == 200
    assert sign_in("right").status_code == 302


def test_a_successful_login_resets_the_failures() -> None:
    guess(4)
    sign_in("right")
    guess(4)
    assert sign_in("right").status_code == 302


def test_after_five_failures_even_the_right_password_is_refused() -> None:
    answer = guess(5)
    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    page = answer.content.decode()
    assert "There were 5 failed logins" in page
    assert "Try again in 15 minutes." in page
    assert sign_in("right").status_code == 429


def test_the_lock_ends_after_a_quarter_of_an_hour() -> None:
    with time_machine.travel(0, tick=False) as clock:
        guess(5)
        clock.shift(timedelta(minutes=14, seconds=59))
        assert sign_in("right").status_code == 429
        clock.shift(timedelta(seconds=2))
        assert sign_in("right").status_code == 302


def test_the_same_name_gets_in_from_elsewhere() -> None:
    guess(5)
    assert sign_in("right", REMOTE_ADDR="192.0.2.7").status_code == 302


def test_another_name_gets_in_from_the_same_address() -> None:
    User.objects.create_superuser("bob", password="right")
    guess(5)
    assert sign_in("right", username="bob").status_code == 302


def test_behind_a_trusted_proxy_the_client_counts(settings: Settings) -> None:
    settings.XPERT_TRUSTED_PROXIES = 1
    guess(5, HTTP_X_FORWARDED_FOR="198.51.100.1")
    assert sign_in("right", HTTP_X_FORWARDED_FOR="198.51.100.2").status_code == 302
    assert sign_in("right", HTTP_X_FORWARDED_FOR="198.51.100.1").status_code == 429


def test_an_untrusted_forwarded_address_is_ignored() -> None:
    for number in range(5):
        guess(1, HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")
    assert sign_in("right", HTTP_X_FORWARDED_FOR="198.51.100.9").status_code == 429


def test_it_needs_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RedisIsGone("the cache is down")

    for method in ("get", "set", "add", "incr", "delete", "get_many", "set_many"):
        monkeypatch.setattr(caches["default"], method, broken)
    assert guess(5).status_code == 429
    assert sign_in("right", REMOTE_ADDR="192.0.2.7").status_code == 302


def test_no_password_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    sign_in("my-secret-guess")
    assert "my-secret-guess" not in caplog.text
    assert "my-secret-guess" not in str(AccessAttempt.objects.values())
