"""A member of the staff's phone: the codes that its authenticator app shows."""

from base64 import b32decode
from datetime import datetime
from typing import Any

from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP

from operations import second_factor
from operations.audit import By

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def shown(secret: str = SECRET, *, at: datetime | None = None, later: int = 0) -> str:
    """The code that the app shows; ``later``: so many periods after that moment."""
    totp = TOTP(b32decode(secret.replace(" ", "")), drift=later)
    totp.time = (at or timezone.now()).timestamp()
    return f"{totp.token():06d}"


def with_app(user: Any) -> list[str]:
    """Set up a second factor whose codes of now and later are not used yet; return its recovery codes."""
    codes = second_factor.set_up(user, SECRET, shown(later=-1), By("ada", timezone.now()))
    assert codes is not None
    return codes


def signed_in(user: Any) -> Client:
    """A browser in which the user has given the password and a code."""
    client = Client()
    client.force_login(user)
    session = client.session
    session["otp_device_id"] = user.second_factor.persistent_id
    session.save()
    return client
