"""Whose a Marzban admin's token is. Only Marzban can tell: its signing key is in its own database."""

import binascii
import os
import re
import time
from base64 import urlsafe_b64decode
from typing import Any

import msgspec

from operations.outbound.errors import OutboundError

from . import panel_client
from .conf import conf
from .models import PanelLink
from .token_checks import REMEMBERED, TokenChecks

# Header, payload and signature (RFC 7519). Marzban's have about 200 characters.
_JWT = re.compile(r"([\w-]+)\.([\w-]+)\.[\w-]+", re.ASCII)
_MAX_LENGTH = 4096
# PasarGuard's scope of a right over users.
_EVERYBODY = 2


class Admin(msgspec.Struct, frozen=True):
    """Whose a token is. ``is_sudo``: Marzban's word for an admin of everything."""

    username: str
    is_sudo: bool


class _Scoped(msgspec.Struct):
    """``scope``: 2 is everybody's users, 1 an admin's own."""

    scope: int = 0


_Right = bool | _Scoped | None


class _Rights(msgspec.Struct):
    update: _Right = None
    delete: _Right = None


class _Permissions(msgspec.Struct):
    users: _Rights | None = None
    admins: _Rights | None = None
    settings: _Rights | None = None


class _Role(msgspec.Struct):
    """PasarGuard's. An administrator there is what a sudo admin was before: only a few rights tell them from an operator."""

    is_owner: bool = False
    permissions: _Permissions = msgspec.field(default_factory=_Permissions)

    @property
    def is_sudo(self) -> bool:
        users, admins, settings = (
            self.permissions.users,
            self.permissions.admins,
            self.permissions.settings,
        )
        has_all = users is not None and users.delete == _Scoped(_EVERYBODY)
        has_panel = bool(admins and admins.update is True and settings and settings.update is True)
        return self.is_owner or (has_all and has_panel)


class _Answer(msgspec.Struct):
    """As ``GET /api/admin`` describes an admin: Marzban with ``is_sudo``, PasarGuard with ``role``."""

    username: str
    is_sudo: bool | None = None
    role: _Role | None = None


def panel_url() -> str:
    """Address of the one panel whose admins sign in here; empty when there is none."""
    return conf.marzban_url or (
        PanelLink.objects.filter(signs_in=True).values_list("url", flat=True).first() or ""
    )


def is_jwt(token: str) -> bool:
    """Whether a token has the shape of a JWT. That alone proves nothing."""
    return "alg" in _part(token, 1)


def is_admin_token(token: str) -> bool:
    """Whether a token has a shape that a panel gives its admins."""
    return is_jwt(token) or panel_client.is_api_key(token)


def claims(token: str) -> dict[str, Any]:
    """What a token says of itself, and nobody has confirmed."""
    return _part(token, 2)


def find(token: str) -> Admin | None:
    """The admin whom Marzban knows by this token; None when it refuses the token.

    Raises OutboundError when Marzban does not say: then nobody may be let in. Needs a panel (``panel_url``).
    """
    return _checks.verdict(panel_url(), token, seconds=_seconds_to_remember(token))


def forget_all() -> None:
    _checks.begin_afresh()


def _ask(url: str, token: str) -> Admin | None:
    answer = panel_client.get(f"{url}/api/admin", panel_client.credentials(token))
    if answer.status == 401:
        return None
    if answer.status != 200:
        raise OutboundError(f"http_{answer.status}")
    try:
        found = msgspec.json.decode(answer.body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise OutboundError("bad_response") from None
    return _admin(found)


def _admin(found: _Answer) -> Admin:
    is_sudo = found.is_sudo if found.role is None else found.role.is_sudo
    if is_sudo is None:
        raise OutboundError("bad_response")
    return Admin(found.username, is_sudo)


def _seconds_to_remember(token: str) -> float:
    """Not beyond the end that the token names for itself: what it says can only shorten the time."""
    end, now = claims(token).get("exp"), time.time()
    # Compared before anything is computed: the number may be too large for a float.
    if not isinstance(end, int | float) or end >= now + REMEMBERED:
        return REMEMBERED
    return end - now if end > now else 0


def _part(token: str, number: int) -> dict[str, Any]:
    """The JSON object in one part of a JWT; empty when there is none."""
    found = _JWT.fullmatch(token) if len(token) <= _MAX_LENGTH else None
    if not found:
        return {}
    encoded = found[number]
    try:
        decoded = msgspec.json.decode(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


_checks: TokenChecks[Admin | None] = TokenChecks(_ask)
os.register_at_fork(after_in_child=forget_all)
