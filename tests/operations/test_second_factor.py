"""Codes of the second factor: which are right, how often, and what is stored of them."""

import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from operations import audit, second_factor
from operations.audit import By
from operations.models import AuditEntry, RecoveryCode, SecondFactor
from operations.second_factor import Verdict
from operations.watch import conditions
from tests.authenticators import SECRET, shown, with_app

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
BY = By("ada", NOW)


@pytest.fixture
def ann() -> User:
    return User.objects.create_superuser("ann", password="right")


@pytest.fixture
def codes(ann: User) -> list[str]:
    with time_machine.travel(NOW, tick=False):
        return with_app(ann)


def check(user: User, code: str, after: timedelta = timedelta()) -> Verdict:
    with time_machine.travel(NOW + after, tick=False):
        return second_factor.check(user, code, NOW + after)


def actions(user: User) -> list[str]:
    return [entry.action for entry in audit.entries(user)]


# --- setting up --------------------------------------------------------------


def test_a_wrong_code_sets_nothing_up(ann: User) -> None:
    assert second_factor.set_up(ann, SECRET, "000000", BY) is None
    assert not SecondFactor.objects.exists()
    assert actions(ann) == []


def test_the_code_of_the_app_sets_it_up_and_gives_ten_recovery_codes(
    ann: User, codes: list[str]
) -> None:
    assert len(set(codes)) == 10
    assert all(len(code.split()) == 3 for code in codes)
    assert second_factor.factor_of(User.objects.get()) is not None
    assert actions(ann) == ["second factor set up"]


def test_the_code_that_set_it_up_does_not_sign_in(ann: User) -> None:
    code = shown(at=NOW)
    assert second_factor.set_up(ann, SECRET, code, BY)
    assert check(ann, code) is Verdict.WRONG


@pytest.mark.usefixtures("codes")
def test_neither_secret_nor_recovery_codes_are_stored_in_the_clear(
    ann: User, codes: list[str]
) -> None:
    factor = SecondFactor.objects.get()
    assert SECRET not in factor.sealed_secret
    stored = list(RecoveryCode.objects.values_list("hash", flat=True))
    assert not {code.replace(" ", "") for code in codes} & set(stored)
    assert all(len(found) == 64 for found in stored)


def test_the_qr_code_names_the_panel_and_the_account(settings: Settings) -> None:
    settings.XPERT_DOMAIN = "panel.example.com"
    url = urlsplit(second_factor.app_url("an:n", SECRET))
    assert (url.scheme, url.netloc) == ("otpauth", "totp")
    assert url.path == "/Xpert%20Panel%20panel.example.com%3Aan%20n"
    assert parse_qs(url.query) == {
        "secret": [SECRET],
        "issuer": ["Xpert Panel panel.example.com"],
        "digits": ["6"],
        "period": ["30"],
    }


# --- codes -------------------------------------------------------------------


@pytest.mark.usefixtures("codes")
@pytest.mark.parametrize("typed", ["{}{}", " {} {} ", "{}-{}"])
def test_the_code_that_the_app_shows_is_right(ann: User, typed: str) -> None:
    code = shown(at=NOW)
    assert check(ann, typed.format(code[:3], code[3:])) is Verdict.RIGHT


@pytest.mark.usefixtures("codes")
def test_a_code_works_once(ann: User) -> None:
    code = shown(at=NOW)
    assert check(ann, code) is Verdict.RIGHT
    assert check(ann, code) is Verdict.WRONG


@pytest.mark.usefixtures("codes")
def test_an_older_code_does_not_work_after_a_newer_one(ann: User) -> None:
    assert check(ann, shown(at=NOW, later=1)) is Verdict.RIGHT
    assert check(ann, shown(at=NOW)) is Verdict.WRONG


@pytest.mark.usefixtures("codes")
@pytest.mark.parametrize(("later", "verdict"), [(1, Verdict.RIGHT), (2, Verdict.WRONG)])
def test_a_phone_s_clock_may_be_thirty_seconds_off(ann: User, later: int, verdict: Verdict) -> None:
    assert check(ann, shown(at=NOW, later=later)) is verdict


@pytest.mark.usefixtures("codes")
@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "abcdef", "１２３４５６", "-00001", "\0", "9" * 4000]
)
def test_anything_else_is_wrong(ann: User, code: str) -> None:
    assert check(ann, code) is Verdict.WRONG


def test_nobody_without_a_factor_has_a_right_code(ann: User) -> None:
    assert check(ann, shown(at=NOW)) is Verdict.WRONG


@pytest.mark.usefixtures("codes")
def test_a_code_of_another_person_is_wrong(ann: User) -> None:
    bob = User.objects.create_user("bob")
    assert check(bob, shown(at=NOW)) is Verdict.WRONG


def test_a_recovery_code_works_once_and_is_in_the_audit_trail(ann: User, codes: list[str]) -> None:
    assert check(ann, codes[3]) is Verdict.RECOVERY_CODE
    assert actions(ann) == ["recovery code used", "second factor set up"]
    assert check(ann, codes[3]) is Verdict.WRONG
    assert check(ann, codes[4].replace(" ", "-"), timedelta(minutes=1)) is Verdict.RECOVERY_CODE
    assert RecoveryCode.objects.count() == 8


def test_new_recovery_codes_end_the_old_ones(ann: User, codes: list[str]) -> None:
    new = second_factor.renew_codes(SecondFactor.objects.get(), BY)
    assert check(ann, codes[0]) is Verdict.WRONG
    assert check(ann, new[0], timedelta(minutes=1)) is Verdict.RECOVERY_CODE
    assert actions(ann)[1] == "new recovery codes"


# --- delays ------------------------------------------------------------------


@pytest.mark.usefixtures("codes")
def test_wrong_codes_delay_the_next_one_twice_as_long_each_time(ann: User) -> None:
    moment = timedelta()
    for seconds in (1, 2, 4):
        assert check(ann, "000000", moment) is Verdict.WRONG
        almost = moment + timedelta(seconds=seconds - 0.5)
        assert check(ann, shown(at=NOW + almost), almost) is Verdict.TOO_SOON
        moment += timedelta(seconds=seconds)
    assert check(ann, shown(at=NOW + moment), moment) is Verdict.RIGHT


@pytest.mark.usefixtures("codes")
def test_no_delay_is_longer_than_a_quarter_of_an_hour(ann: User) -> None:
    SecondFactor.objects.update(
        throttling_failure_count=60, throttling_failure_timestamp=NOW, last_step=-1
    )
    almost, after = timedelta(minutes=14, seconds=59), timedelta(minutes=15)
    assert check(ann, shown(at=NOW + almost), almost) is Verdict.TOO_SOON
    assert check(ann, shown(at=NOW + after), after) is Verdict.RIGHT


@pytest.mark.usefixtures("codes")
def test_a_right_code_ends_the_delays(ann: User) -> None:
    check(ann, "000000")
    assert check(ann, shown(at=NOW + timedelta(seconds=2)), timedelta(seconds=2)) is Verdict.RIGHT
    factor = SecondFactor.objects.get()
    assert (factor.throttling_failure_count, factor.throttling_failure_timestamp) == (0, None)


# --- SECRET_KEY --------------------------------------------------------------


def test_under_another_secret_key_the_app_cannot_be_checked(
    ann: User, codes: list[str], settings: Settings
) -> None:
    settings.SECRET_KEY = "another" * 10
    assert check(ann, shown(at=NOW)) is Verdict.UNREADABLE
    assert check(ann, codes[0], timedelta(minutes=1)) is Verdict.WRONG


def test_a_former_secret_key_still_opens_both(
    ann: User, codes: list[str], settings: Settings
) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10
    assert check(ann, shown(at=NOW)) is Verdict.RIGHT
    assert check(ann, codes[0]) is Verdict.RECOVERY_CODE


# --- taking it away ----------------------------------------------------------


@pytest.mark.usefixtures("codes")
def test_the_command_takes_a_lost_factor_away(ann: User) -> None:
    out = StringIO()
    call_command("reset_second_factor", "ann", stdout=out)
    assert out.getvalue() == "The second factor of 'ann' is gone; the password lets them in.\n"
    assert not SecondFactor.objects.exists()
    assert not RecoveryCode.objects.exists()
    last = audit.entries(ann)[0]
    assert (last.author, last.action) == ("reset_second_factor", "second factor taken away")


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [("bob", "There is no user 'bob'."), ("ann", "'ann' has no second factor.")],
)
def test_the_command_says_when_there_is_nothing_to_take(name: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("reset_second_factor", name)
    assert not AuditEntry.objects.exists()


# --- doctor ------------------------------------------------------------------


def codes_found() -> dict[str, object]:
    found = conditions.everything(timezone.now())
    return {one.code: one.figures for one in found if one.code.startswith("second-factor")}


@pytest.mark.usefixtures("ann")
def test_doctor_is_silent_where_none_is_required() -> None:
    assert codes_found() == {}


@pytest.mark.usefixtures("codes")
def test_doctor_names_active_staff_without_a_required_factor(settings: Settings) -> None:
    settings.XPERT_REQUIRE_SECOND_FACTOR = True
    assert codes_found() == {"second-factor-ok": {}}
    User.objects.create_user("bob", is_staff=True)
    User.objects.create_user("ade", is_staff=True)
    User.objects.create_user("off", is_staff=True, is_active=False)
    User.objects.create_user("no staff")
    assert codes_found() == {"second-factor-missing": {"names": ["ade", "bob"]}}


# --- at once -----------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["app", "recovery code"])
def test_of_many_who_send_one_code_at_once_one_gets_in(ann: User, kind: str) -> None:
    now = timezone.now()
    recovery = with_app(ann)
    code = shown(at=now) if kind == "app" else recovery[0]
    begin, found = threading.Barrier(4), []

    def send() -> None:
        begin.wait()
        try:
            found.append(second_factor.check(ann, code, now))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [verdict.lets_in for verdict in found].count(True) == 1
    assert len(found) == 4
