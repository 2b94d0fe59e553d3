"""Who calls: a program with an API key, or a signed-in member of the staff."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import OperationalError
from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from .models import ApiKey

# How exactly ``last_used_at`` is kept: a read must not cost a write each time.
_LAST_USED = timedelta(minutes=5)
# What the Marzban UI sends when nobody is signed in: JavaScript's words for a key that it does not have.
_NO_SECRET = frozenset({"", "null", "undefined"})


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def create_api_key(name: str, scope: str, expires_at: datetime | None = None) -> tuple[ApiKey, str]:
    """A new key and its secret, which is shown once and kept nowhere."""
    secret = secrets.token_urlsafe(32)
    key = ApiKey.objects.create(name=name, scope=scope, expires_at=expires_at, hash=digest(secret), hint=secret[:4])
    return key, secret


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer …`` or ``X-Api-Key``; ``request.auth`` is then the ApiKey."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        secret = self._secret(request)
        if secret is None:
            return None
        now = timezone.now()
        valid = Q(expires_at=None) | Q(expires_at__gt=now)
        key = ApiKey.objects.filter(valid, hash=digest(secret), revoked_at=None).first()
        if key is None:
            raise AuthenticationFailed("This API key is unknown, expired or revoked.")
        self._touch(key, now)
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"

    def _secret(self, request: Request) -> str | None:
        if "x-api-key" in request.headers:
            return str(request.headers["x-api-key"]).strip()
        kind, _, secret = str(request.headers.get("authorization", "")).partition(" ")
        secret = secret.strip()
        return secret if kind.lower() == "bearer" and secret not in _NO_SECRET else None

    def _touch(self, key: ApiKey, now: datetime) -> None:
        if key.last_used_at and now - key.last_used_at < _LAST_USED:
            return
        try:
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
        except OperationalError:
            pass  # a busy database: knowing when a key was used is not worth an error


class StaffAuthentication(SessionAuthentication):
    """A signed-in staff user of the Django admin; CSRF is enforced."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        user = getattr(request._request, "user", None)  # noqa: SLF001  as DRF's own class does
        return super().authenticate(request) if user is not None and user.is_active and user.is_staff else None
