"""Authentication of callers: a program with an API key, a bearer token that an app knows, or a signed-in staff user."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import OperationalError
from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from operations.databases.transactions import write_transaction
from operations.extension import Bearer, extensions
from operations.models import ApiKey

# The precision of ``last_used_at``, so that not every read costs a write.
_LAST_USED = timedelta(minutes=5)
WRONG_KEY = (
    "This API key is unknown, expired or revoked. "
    "manage.py create_api_key NAME --scope report|read|manage makes one."
)
# The Marzban UI sends these texts of JavaScript instead of a key when nobody is signed in.
_NO_SECRET = frozenset({"", "null", "undefined"})


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def create_api_key(
    name: str,
    scope: str,
    expires_at: datetime | None = None,
    options: Mapping[str, str] | None = None,
) -> tuple[ApiKey, str]:
    """Create a key; return it with its secret, which is shown once and not stored."""
    secret = secrets.token_urlsafe(32)
    with write_transaction():
        key = ApiKey.objects.create(
            name=name,
            scope=scope,
            expires_at=expires_at,
            options=dict(options or {}),
            hash=digest(secret),
            hint=secret[:4],
        )
    return key, secret


@write_transaction
def replace_secret(key: ApiKey) -> str:
    """Give a key a new secret, which is shown once; the old one is refused from now on."""
    secret = secrets.token_urlsafe(32)
    key.hash, key.hint = digest(secret), secret[:4]
    key.save(update_fields=["hash", "hint"])
    return secret


def find_api_key(secret: str, now: datetime) -> ApiKey | None:
    """The key with this secret, unless it has expired or is revoked."""
    valid = Q(expires_at=None) | Q(expires_at__gt=now)
    return ApiKey.objects.filter(valid, hash=digest(secret), revoked_at=None).first()


def note_use(key: ApiKey, now: datetime) -> None:
    if key.last_used_at and now - key.last_used_at < _LAST_USED:
        return
    try:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    except OperationalError:
        pass  # the database is busy, and the last use of a key is not worth an error


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer …`` or ``X-Api-Key``; ``request.auth`` is then the ApiKey.

    A bearer token that is not an API key may be one that an app knows: ``request.auth`` is then its ``Bearer``.
    """

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey | Bearer] | None:
        secret = self._secret(request)
        if secret is None:
            return None
        now = timezone.now()
        key = find_api_key(secret, now)
        if key is None:
            return AnonymousUser(), self._bearer(request, secret)
        note_use(key, now)
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"

    def _secret(self, request: Request) -> str | None:
        meta = request.META
        if "HTTP_X_API_KEY" in meta:
            return str(meta["HTTP_X_API_KEY"]).strip()
        kind, _, secret = str(meta.get("HTTP_AUTHORIZATION", "")).partition(" ")
        secret = secret.strip()
        return secret if kind.lower() == "bearer" and secret not in _NO_SECRET else None

    def _bearer(self, request: Request, token: str) -> Bearer:
        known = (extension.bearer for extension in extensions() if extension.bearer)
        found = (find(token) for find in known if "x-api-key" not in request.headers)
        for bearer in found:
            if bearer is not None:
                return bearer
        raise AuthenticationFailed(WRONG_KEY)


class StaffAuthentication(SessionAuthentication):
    """A signed-in staff user of the Django admin; CSRF is enforced."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        user = getattr(request._request, "user", None)  # noqa: SLF001  as DRF's own class does
        return (
            super().authenticate(request)
            if user is not None and user.is_active and user.is_staff
            else None
        )
