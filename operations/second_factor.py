"""The second factor of staff: a code from an authenticator app, or a recovery code in its place.

The app's secret is sealed and recovery codes are hashed, both with SECRET_KEY, so that a copy of the database alone
opens nothing.
"""

import secrets
from base64 import b32decode, b32encode
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import models
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp import login as login_with
from django_otp.oath import TOTP

from . import audit
from .audit import Action, By
from .conf import conf
from .databases.transactions import write_transaction
from .models import RecoveryCode, SecondFactor
from .sealing import CannotOpenError, seal, unseal

CODES = 10
# Digits alone, so that a phone's number pad can type them. 40 bits, behind delays and a keyed hash.
_CODE_DIGITS = 12
_APP_DIGITS, _PERIOD = 6, 30
# A phone's clock may be this many periods off.
_TOLERANCE = 1
# django-otp's delay doubles without end; somebody who knows the password must not lock the owner out for days.
_LONGEST_WAIT = timedelta(minutes=15)


class Verdict(StrEnum):
    RIGHT = "right"
    RECOVERY_CODE = "recovery code"
    WRONG = "wrong"
    # Too many wrong codes: it was not looked at.
    TOO_SOON = "too soon"
    # SECRET_KEY has changed.
    UNREADABLE = "unreadable"

    @property
    def lets_in(self) -> bool:
        return self in {Verdict.RIGHT, Verdict.RECOVERY_CODE}


def factor_of(user: Any) -> SecondFactor | None:
    """The second factor of this user; it costs no query if the backend has loaded it along."""
    return getattr(user, "second_factor", None)


def is_verified(request: HttpRequest, factor: SecondFactor) -> bool:
    """Whether this session was opened with a code of this factor."""
    return bool(request.session.get(DEVICE_ID_SESSION_KEY) == factor.persistent_id)


def mark_verified(request: HttpRequest, factor: SecondFactor) -> None:
    """This session has had a code of the factor."""
    login_with(request, factor)


def is_missing(user: Any) -> bool:
    """Whether this user must set one up before anything else."""
    return conf.require_second_factor and bool(user.is_staff) and factor_of(user) is None


def without_one() -> models.QuerySet[Any]:
    """Staff who can sign in with a password alone."""
    found = get_user_model()._default_manager.filter(is_staff=True, is_active=True)  # noqa: SLF001
    return found.filter(second_factor=None)


# --- Setting up --------------------------------------------------------------


def new_secret() -> str:
    """160 bits, as RFC 4226 recommends, in the letters that authenticator apps take."""
    return b32encode(secrets.token_bytes(20)).decode()


def app_url(username: str, secret: str) -> str:
    """What the QR code holds: the key URI that authenticator apps read."""
    host = conf.domain.partition("://")[2]
    issuer = f"Xpert Panel {host}".strip().replace(":", " ")
    asked = {"secret": secret, "issuer": issuer, "digits": _APP_DIGITS, "period": _PERIOD}
    label = quote(f"{issuer}:{username.replace(':', ' ')}", safe="")
    return f"otpauth://totp/{label}?{urlencode(asked, quote_via=quote)}"


def set_up(user: Any, secret: str, code: str, by: By) -> list[str] | None:
    """Store the factor if ``code`` is right; return its recovery codes, which are shown once."""
    step = _step(secret, digits_of(code), after=-1, now=by.now)
    return None if step is None else _stored(user, secret, step, by)


@write_transaction
def _stored(user: Any, secret: str, step: int, by: By) -> list[str]:
    SecondFactor.objects.filter(user=user).delete()
    factor = SecondFactor.objects.create(
        user=user, sealed_secret=seal(secret), last_step=step, last_used_at=by.now
    )
    audit.note(Action.FACTOR_SET_UP, user, by)
    return _new_codes(factor)


def renew_codes(factor: SecondFactor, by: By) -> list[str]:
    """New recovery codes in place of all old ones."""
    with write_transaction():
        audit.note(Action.NEW_RECOVERY_CODES, factor.user, by)
        return _new_codes(factor)


def _new_codes(factor: SecondFactor) -> list[str]:
    factor.recovery_codes.all().delete()
    codes = [f"{secrets.randbelow(10**_CODE_DIGITS):0{_CODE_DIGITS}d}" for _ in range(CODES)]
    rows = [RecoveryCode(factor=factor, hash=_hash(factor, code)) for code in codes]
    RecoveryCode.objects.bulk_create(rows)
    return [" ".join(code[start : start + 4] for start in range(0, len(code), 4)) for code in codes]


@write_transaction
def take_away(user: Any, by: By) -> bool:
    """Remove the factor, its recovery codes, and the verification of all sessions; False if there was none."""
    deleted, _ = SecondFactor.objects.filter(user=user).delete()
    if deleted:
        audit.note(Action.FACTOR_TAKEN_AWAY, user, by)
    return bool(deleted)


# --- Checking ----------------------------------------------------------------


@write_transaction
def check(user: AbstractBaseUser, code: str, now: datetime) -> Verdict:
    """Look at a code of the user's app or a recovery code. It is used up if it is right; a wrong one delays the next."""
    factor = SecondFactor.objects.select_for_update().filter(user_id=user.pk).first()
    if factor is None:
        return Verdict.WRONG
    if wait_of(factor, now) > timedelta():
        return Verdict.TOO_SOON
    verdict = _verdict(factor, digits_of(code), now)
    if verdict.lets_in:
        factor.throttle_reset(commit=False)
        factor.last_used_at = now
    else:
        factor.throttling_failure_count += 1
        factor.throttling_failure_timestamp = now
    factor.save()
    if verdict is Verdict.RECOVERY_CODE:
        audit.note(Action.RECOVERY_CODE_USED, user, By(user.get_username(), now))
    return verdict


def wait_of(factor: SecondFactor, now: datetime) -> timedelta:
    """How long the next code is not looked at."""
    _, why = factor.verify_is_allowed()
    last = factor.throttling_failure_timestamp
    if why is None or last is None:
        return timedelta()
    until: datetime = min(why["locked_until"], last + _LONGEST_WAIT)
    return max(until - now, timedelta())


def digits_of(code: str) -> str:
    """The code as people type it, without spaces and dashes."""
    return "".join(letter for letter in code if letter not in " -\u00a0\u2013")


def _verdict(factor: SecondFactor, code: str, now: datetime) -> Verdict:
    if not (code.isascii() and code.isdigit()):
        return Verdict.WRONG
    if len(code) == _CODE_DIGITS:
        return Verdict.RECOVERY_CODE if _use_recovery_code(factor, code) else Verdict.WRONG
    try:
        secret = unseal(factor.sealed_secret)
    except CannotOpenError:
        return Verdict.UNREADABLE
    step = _step(secret, code, after=factor.last_step, now=now)
    if step is None:
        return Verdict.WRONG
    factor.last_step = step
    return Verdict.RIGHT


def _step(secret: str, code: str, *, after: int, now: datetime) -> int | None:
    """The period whose code this is, if it lies after the one that was used last."""
    if not (code.isascii() and code.isdigit()) or len(code) != _APP_DIGITS:
        return None
    totp = TOTP(b32decode(secret), _PERIOD, 0, _APP_DIGITS)
    totp.time = now.timestamp()
    return totp.t() if totp.verify(int(code), _TOLERANCE, after + 1) else None


def _use_recovery_code(factor: SecondFactor, code: str) -> bool:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    found = factor.recovery_codes.filter(hash__in=[_hash(factor, code, key) for key in keys])
    deleted, _ = found.delete()
    return bool(deleted)


def _hash(factor: SecondFactor, code: str, key: str | bytes | None = None) -> str:
    salt = "operations.second_factor.recovery_code"
    return salted_hmac(salt, f"{factor.pk}:{code}", key, algorithm="sha256").hexdigest()
