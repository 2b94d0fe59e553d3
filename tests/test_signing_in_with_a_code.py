"""Staff with a second factor need a code after the password; nothing that a session opens works without."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from axes.models import AccessAttempt
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings

from operations import audit, second_factor
from operations.http.second_factor import SecondFactorMiddleware
from operations.models import RecoveryCode, SecondFactor
from tests.authenticators import SECRET, shown, signed_in, with_app
from tests.routes import routes

pytestmark = pytest.mark.django_db

LOGIN, CODE, HOME = "/admin/login/", "/admin/login/code/", "/admin/second-factor/"
OLD_BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture(autouse=True)
def ann() -> User:
    return User.objects.create_superuser("ann", password="right")


@pytest.fixture
def recovery(ann: User) -> list[str]:
    return with_app(ann)


def password(client: Client, password: str = "right", **data: str) -> Any:
    return client.post(LOGIN, {"username": "ann", "password": password, **data})


def code(client: Client, code: str, **meta: Any) -> Any:
    return client.post(CODE, {"code": code}, **meta)


def is_in(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


def half_way(**data: str) -> Client:
    client = Client()
    answer = password(client, **data)
    assert (answer.status_code, answer["Location"]) == (302, CODE)
    return client


# --- the second step ---------------------------------------------------------


def test_without_a_factor_the_password_lets_in() -> None:
    client = Client()
    assert password(client)["Location"] == "/admin/"
    assert is_in(client)


@pytest.mark.usefixtures("recovery")
def test_the_password_alone_opens_nothing() -> None:
    client = half_way()
    assert not is_in(client)
    assert User.objects.get().last_login is None


@pytest.mark.usefixtures("recovery")
def test_the_code_lets_in_and_leads_to_where_they_wanted() -> None:
    client = half_way(next="/admin/traffic/server/")
    assert client.get(CODE).status_code == 200
    answer = code(client, shown())
    assert (answer.status_code, answer["Location"]) == (302, "/admin/traffic/server/")
    assert is_in(client)


@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize("there", ["https://evil.example/", "//evil.example/", "", "javascript:x"])
def test_it_leads_nowhere_else(there: str) -> None:
    assert code(half_way(next=there), shown())["Location"] == "/admin/"


def test_a_recovery_code_lets_in(recovery: list[str]) -> None:
    client = half_way()
    assert code(client, recovery[0])["Location"] == "/admin/"
    assert is_in(client)
    assert RecoveryCode.objects.count() == 9


@pytest.mark.usefixtures("recovery")
def test_a_code_that_somebody_saw_does_not_work_again() -> None:
    seen = shown()
    assert code(half_way(), seen).status_code == 302
    answer = code(half_way(), seen)
    assert answer.status_code == 200
    assert "This code is wrong or was used before." in answer.content.decode()


def test_the_page_leads_back_when_nobody_gave_a_password(ann: User) -> None:
    with_app(ann)
    for client in (Client(), signed_in(ann)):
        assert client.get(CODE)["Location"] == LOGIN
        assert code(client, shown())["Location"] == LOGIN


@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize(("seconds", "there"), [(599, "/admin/"), (600, LOGIN)])
def test_the_password_stays_good_for_ten_minutes(seconds: int, there: str) -> None:
    now = timezone.now()
    with time_machine.travel(now, tick=False) as clock:
        client = half_way()
        clock.shift(timedelta(seconds=seconds))
        assert code(client, shown())["Location"] == there


@pytest.mark.usefixtures("recovery")
def test_a_changed_password_or_a_switched_off_account_ends_the_second_step(ann: User) -> None:
    client = half_way()
    ann.set_password("new")
    ann.save()
    assert code(client, shown())["Location"] == LOGIN
    client = Client()
    password(client, "new")
    User.objects.update(is_active=False)
    assert code(client, shown())["Location"] == LOGIN


# --- guessing ----------------------------------------------------------------


@pytest.mark.usefixtures("recovery")
def test_wrong_codes_count_as_failed_logins() -> None:
    client = half_way()
    for _ in range(4):
        assert code(client, "000000").status_code == 200
    answer = code(client, "000000")
    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    assert password(Client()).status_code == 429
    assert code(client, shown()).status_code == 429


@pytest.mark.usefixtures("recovery")
def test_the_right_password_does_not_reset_the_count() -> None:
    for _ in range(4):
        client = half_way()
        assert code(client, "000000").status_code == 200
    assert code(half_way(), "000000").status_code == 429


@pytest.mark.usefixtures("recovery")
def test_a_whole_login_resets_the_count() -> None:
    now = timezone.now()
    with time_machine.travel(now, tick=False) as clock:
        for _ in range(4):
            code(half_way(), "000000")
        clock.shift(timedelta(seconds=60))
        assert code(half_way(), shown()).status_code == 302
    assert not AccessAttempt.objects.exists()


@pytest.mark.usefixtures("recovery")
def test_it_says_how_long_to_wait() -> None:
    with time_machine.travel(timezone.now(), tick=False):
        SecondFactor.objects.update(
            throttling_failure_count=5, throttling_failure_timestamp=timezone.now()
        )
        page = code(half_way(), shown()).content.decode()
    assert "Too many wrong codes. Try again in 16 seconds." in page


@pytest.mark.usefixtures("recovery")
def test_one_address_may_try_so_often(settings: Settings) -> None:
    settings.XPERT_RATE_LOGIN = "2/hour"
    client = half_way()
    assert code(client, "000000").status_code == 200
    assert code(client, shown()).status_code == 429


def test_no_code_and_no_secret_is_logged(
    caplog: pytest.LogCaptureFixture, recovery: list[str]
) -> None:
    code(half_way(), "135 791")
    code(half_way(), recovery[0])
    stored = str(list(AccessAttempt.objects.values()))
    for secret in ("135 791", "135791", recovery[0], recovery[0].replace(" ", ""), SECRET):
        assert secret not in caplog.text
        assert secret not in stored


@pytest.mark.usefixtures("recovery")
def test_after_another_secret_key_it_says_what_to_do(settings: Settings) -> None:
    settings.SECRET_KEY = "another" * 10
    page = code(half_way(), shown()).content.decode()
    assert "SECRET_KEY has changed" in page
    assert "manage.py reset_second_factor" in page


# --- sessions ----------------------------------------------------------------


def test_sessions_from_before_the_update_go_on(ann: User) -> None:
    client = Client()
    client.force_login(ann, backend=OLD_BACKEND)
    assert client.session[BACKEND_SESSION_KEY] == OLD_BACKEND
    assert is_in(client)


@pytest.mark.parametrize("backend", [None, OLD_BACKEND])
def test_a_session_without_a_code_ends_when_the_factor_is_set_up_elsewhere(
    ann: User, backend: str | None
) -> None:
    client = Client()
    client.force_login(ann, backend=backend)
    with_app(ann)
    assert client.get("/admin/")["Location"] == "/admin/login/?next=/admin/"


def test_a_session_with_a_code_of_an_earlier_factor_ends(ann: User) -> None:
    with_app(ann)
    client = signed_in(ann)
    with_app(ann)
    assert not is_in(client)


def values() -> dict[str, object]:
    names = (
        "object_id", "id", "pk", "user_token", "server", "port", "content_type_id", "kind", "key", "name", "device",
    )  # fmt: skip
    panel: dict[str, object] = {"folder": "sub", "token": "x" * 20, "rest": ""}
    return {**dict.fromkeys(names, 1), "app_label": "traffic", **panel}


def answers(client: Client, url: str) -> list[tuple[int, str]]:
    found = [getattr(client, method)(url) for method in ("get", "post")]
    return [(answer.status_code, answer.headers.get("Location", "")) for answer in found]


def test_without_a_code_a_session_opens_what_everybody_opens(ann: User) -> None:
    with_app(ann)
    half = Client()
    half.force_login(ann)
    for route in routes(values()):
        assert answers(half, route.url) == answers(Client(), route.url), route.name


def test_with_a_code_it_opens_json_and_metrics(ann: User) -> None:
    with_app(ann)
    client = signed_in(ann)
    for url in ("/metrics", "/api/xpert/traffic-stats/global", "/api/xpert/marzban/widget"):
        assert client.get(url).status_code == 200
        assert Client().get(url).status_code == 401


# --- when it is required -----------------------------------------------------


def test_whoever_lacks_a_required_factor_sees_only_where_to_set_it_up(
    ann: User, settings: Settings
) -> None:
    settings.XPERT_REQUIRE_SECOND_FACTOR = True
    client = Client()
    client.force_login(ann)
    opened = {HOME, "/admin/login/", CODE, "/admin/logout/", "/admin/jsi18n/"}
    for route in routes(values()):
        if route.url in opened:
            continue
        if route.url.startswith("/admin/") and route.name != "set_language":
            assert {there for _, there in answers(client, route.url)} == {HOME}, route.name
        else:
            assert answers(client, route.url) == answers(Client(), route.url), route.name
    page = client.get(HOME).content.decode()
    assert "This panel requires a second factor." in page
    assert "/admin/traffic/subscriber/" not in page
    assert 'action="/admin/logout/"' in page


def test_a_required_factor_opens_everything_once_it_is_set_up(
    ann: User, settings: Settings
) -> None:
    settings.XPERT_REQUIRE_SECOND_FACTOR = True
    client = Client()
    client.force_login(ann)
    assert password(client)["Location"] == "/admin/"
    assert client.get("/admin/")["Location"] == HOME
    set_up(client)
    assert is_in(client)


def test_somebody_who_is_no_staff_is_sent_to_the_login_as_ever(settings: Settings) -> None:
    settings.XPERT_REQUIRE_SECOND_FACTOR = True
    client = Client()
    client.force_login(User.objects.create_user("guest"))
    assert client.get("/admin/")["Location"] == "/admin/login/?next=/admin/"


# --- one's own pages ---------------------------------------------------------


def set_up(client: Client, **typed: str) -> Any:
    page = client.get(HOME).content.decode()
    (secret,) = re.findall(r'aria-label="Secret"[^>]*>([A-Z2-7 ]+)<', page)
    return client.post(HOME, {"code": shown(secret, later=-1)} | typed)


@pytest.fixture
def own(ann: User) -> Client:
    client = Client()
    client.force_login(ann)
    return client


def test_the_account_menu_leads_there(own: Client) -> None:
    page = own.get("/admin/").content.decode()
    assert f'href="{HOME}"' in page
    assert 'href="/admin/password_change/"' in page


def test_the_page_shows_qr_code_and_secret_until_a_code_confirms_it(own: Client) -> None:
    first, second = (own.get(HOME).content.decode() for _ in range(2))
    assert "<svg" in first
    find = re.compile(r'href="otpauth://totp/[^"]+"').findall
    assert find(first) == find(second) != []
    assert not SecondFactor.objects.exists()
    answer = set_up(own, code="000000").content.decode()
    assert "This code is wrong. Scan the QR code again" in answer
    assert find(answer) == find(first)
    assert not SecondFactor.objects.exists()
    assert is_in(own)


def test_the_secret_lies_sealed_in_the_session(own: Client) -> None:
    page = own.get(HOME).content.decode()
    (secret,) = re.findall(r'aria-label="Secret"[^>]*>([A-Z2-7 ]+)<', page)
    assert secret.replace(" ", "") not in str(dict(own.session))


def test_setting_up_shows_the_recovery_codes_once_and_keeps_this_session(own: Client) -> None:
    page = set_up(own).content.decode()
    codes = re.findall(r"^\d{4} \d{4} \d{4}$", page, re.MULTILINE)
    assert 'download="xpert-panel-recovery-codes.txt"' in page
    assert "data-copy" in page
    assert is_in(own)
    again = own.get(HOME).content.decode()
    assert "10 of 10" in again
    assert not any(code in again for code in codes)
    assert "operations.second_factor_secret" not in own.session


def test_the_form_sent_again_changes_nothing(own: Client) -> None:
    set_up(own)
    before = SecondFactor.objects.get().sealed_secret
    assert "10 of 10" in own.post(HOME, {"code": "123456"}).content.decode()
    assert SecondFactor.objects.get().sealed_secret == before


def test_new_recovery_codes_need_a_code(ann: User, recovery: list[str]) -> None:
    client = signed_in(ann)
    assert client.get(f"{HOME}codes/").status_code == 200
    page = client.post(f"{HOME}codes/", {"code": "000000"}).content.decode()
    assert "This code is wrong or was used before." in page
    assert second_factor.check(ann, recovery[0], timezone.now() + timedelta(minutes=1)).lets_in
    SecondFactor.objects.update(throttling_failure_count=0)
    page = client.post(f"{HOME}codes/", {"code": shown()}).content.decode()
    assert len(set(re.findall(r"^\d{4} \d{4} \d{4}$", page, re.MULTILINE))) >= 8
    assert not second_factor.check(ann, recovery[1], timezone.now() + timedelta(minutes=2)).lets_in


def test_it_warns_when_few_recovery_codes_are_left(ann: User, recovery: list[str]) -> None:
    client = signed_in(ann)
    for left, warns in ((4, False), (3, True)):
        kept = RecoveryCode.objects.order_by("id")[:left]
        RecoveryCode.objects.exclude(pk__in=[row.pk for row in kept]).delete()
        assert ("Few recovery codes are left" in client.get(HOME).content.decode()) is warns


@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize("typed", [{"password": "wrong"}, {"code": "000000"}, {"code": ""}])
def test_switching_off_needs_password_and_code(ann: User, typed: dict[str, str]) -> None:
    client = signed_in(ann)
    asked = {"password": "right", "code": shown()} | typed
    assert client.post(f"{HOME}off/", asked).status_code == 200
    assert SecondFactor.objects.exists()
    assert is_in(client)


@pytest.mark.usefixtures("recovery")
def test_a_wrong_password_does_not_use_the_code_up(ann: User) -> None:
    client = signed_in(ann)
    client.post(f"{HOME}off/", {"password": "wrong", "code": shown()})
    answer = client.post(f"{HOME}off/", {"password": "right", "code": shown()})
    assert answer["Location"] == HOME


@pytest.mark.usefixtures("recovery")
def test_switched_off_the_password_alone_lets_in_again(ann: User) -> None:
    client = signed_in(ann)
    answer = client.post(f"{HOME}off/", {"password": "right", "code": shown()}, follow=True)
    assert "The second factor is switched off." in answer.content.decode()
    assert is_in(client)
    assert not SecondFactor.objects.exists()
    assert audit.entries(ann)[0].action == "second factor taken away"
    other = Client()
    assert password(other)["Location"] == "/admin/"


def test_the_other_pages_lead_home_without_a_factor(own: Client) -> None:
    for page in ("codes", "off"):
        assert own.get(f"{HOME}{page}/")["Location"] == HOME


@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize("page", ["", "codes/", "off/"])
def test_other_people_see_none_of_it(page: str) -> None:
    assert Client().get(HOME + page)["Location"].startswith(LOGIN)
    assert half_way().get(HOME + page)["Location"].startswith(LOGIN)


# --- the superuser -----------------------------------------------------------


@pytest.fixture
def bob() -> User:
    bob = User.objects.create_user("bob", password="right", is_staff=True)
    bob.groups.add(Group.objects.get(name="operator"))
    with_app(bob)
    return bob


def away(user: User) -> str:
    return f"/admin/auth/user/{user.pk}/second_factor/"


def test_a_superuser_takes_a_lost_factor_away(own: Client, ann: User, bob: User) -> None:
    there = f"/admin/auth/user/{bob.pk}/change/"
    assert f'href="{away(bob)}"' in own.get(there).content.decode()
    assert "Their password alone then opens the panel" in own.get(away(bob)).content.decode()
    assert SecondFactor.objects.exists()
    assert own.post(away(bob))["Location"] == there
    assert not SecondFactor.objects.exists()
    last = audit.entries(bob)[0]
    assert (last.author, last.action) == ("ann", "second factor taken away")
    assert f'href="{away(bob)}"' not in own.get(there).content.decode()


def test_nobody_else_takes_it_away(ann: User, bob: User) -> None:
    with_app(ann)
    client = signed_in(bob)
    assert client.get(away(ann)).status_code == 403
    assert client.post(away(ann)).status_code == 403
    assert SecondFactor.objects.count() == 2


def test_one_s_own_is_switched_off_with_a_code(ann: User) -> None:
    with_app(ann)
    assert signed_in(ann).post(away(ann))["Location"] == HOME
    assert SecondFactor.objects.exists()


def test_the_list_of_staff_shows_who_has_one(
    own: Client, bob: User, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        page = own.get("/admin/auth/user/").content.decode()
    assert "Second factor" in page


# --- asynchronous views ------------------------------------------------------


@pytest.mark.parametrize("has_code", [False, True])
def test_an_asynchronous_view_believes_no_more(ann: User, has_code: bool) -> None:
    with_app(ann)
    request = RequestFactory().get("/")
    client = signed_in(ann) if has_code else Client()
    if not has_code:
        client.force_login(ann)
    request.session = client.session
    for middleware in (AuthenticationMiddleware, SecondFactorMiddleware):
        middleware(lambda _: HttpResponse())(request)

    async def asked() -> Any:
        return await request.auser()

    assert async_to_sync(asked)().is_authenticated is has_code
    assert request.user.is_authenticated is has_code
