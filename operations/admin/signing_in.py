"""Signing in: limits by address and by name, the password, and a code of the second factor."""

import math
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from operations import second_factor
from operations.addresses import client_address
from operations.api.throttling import spend_login
from operations.conf import conf
from operations.second_factor import Verdict


class AddressLimit:
    """The first backend: refuses one address too many attempts, whatever the names, before a password is hashed.

    It has no ``get_user``, so Django takes it for nothing else.
    """

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        if request is None:
            return
        wait = spend_login(request)
        if wait is not None:
            # To django-axes this means: answer with ``locked_out``.
            request.axes_locked_out = True  # type: ignore[attr-defined]
            request.META[_WAIT] = wait
            raise PermissionDenied


class StaffBackend(ModelBackend):
    """The first step takes a name and a password, the second a name and a ``token``: a code of the second factor.

    Both go through ``django.contrib.auth.authenticate``, so that django-axes counts a wrong code as it counts a wrong
    password. Users are loaded together with their second factor, which each request asks for.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if token is None:
            user = super().authenticate(request, username, password, **kwargs)
        else:
            user = self._with_code(request, username, token)
        if user is None:
            # The next backend only keeps old sessions alive, and would hash the password once more.
            raise PermissionDenied
        return user

    def _with_code(self, request: HttpRequest | None, username: str | None, token: str) -> Any:
        user = get_user_model()._default_manager.filter(**{self._name: username}).first()  # noqa: SLF001
        if user is None or not self.user_can_authenticate(user):
            return None
        verdict = second_factor.check(user, token, timezone.now())
        if request is not None:
            request.META[_VERDICT] = verdict
        return user if verdict.lets_in else None

    @property
    def _name(self) -> str:
        return str(get_user_model().USERNAME_FIELD)

    def get_user(self, user_id: Any) -> Any:
        users = get_user_model()._default_manager.select_related("second_factor")  # noqa: SLF001
        user = users.filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None


def refusal(request: HttpRequest, user: AbstractBaseUser) -> str:
    """Why the code of the second step was refused, for people."""
    verdict = request.META.get(_VERDICT)
    if verdict is Verdict.UNREADABLE:
        return _(
            "SECRET_KEY has changed, so the panel cannot check codes. Run manage.py reset_second_factor on the server."
        )
    if verdict is Verdict.TOO_SOON:
        wait = _seconds_to_wait(user)
        text = ngettext(
            "Too many wrong codes. Try again in %d second.",
            "Too many wrong codes. Try again in %d seconds.",
            wait,
        )
        return text % wait
    return _("This code is wrong or was used before. Check that the clock of your phone is right.")


def _seconds_to_wait(user: AbstractBaseUser) -> int:
    factor = second_factor.factor_of(user)
    wait = second_factor.wait_of(factor, timezone.now()) if factor else timedelta()
    return max(1, math.ceil(wait.total_seconds()))


# The verdict about the code of this request, under a key that no client can set.
_VERDICT = "operations.second_factor"
# The seconds to wait after too many attempts from one address, under a key that no client can set.
_WAIT = "operations.login_wait"


def client_ip(request: HttpRequest) -> str:
    """The client's address behind trusted proxies, so that clients of one proxy are not locked out together."""
    return str(client_address(request.META, conf.trusted_proxies) or "")


def locked_out(
    request: HttpRequest, response: HttpResponse | None, credentials: Any
) -> HttpResponse:
    wait = request.META.get(_WAIT)
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds()) if wait is None else wait
    context = {
        **admin.site.each_context(request),
        "title": _("Too many attempts"),
        "minutes": math.ceil(seconds / 60),
        "limit": settings.AXES_FAILURE_LIMIT if wait is None else None,
    }
    headers = {"Retry-After": str(seconds)}
    return TemplateResponse(
        request, "admin/operations/locked.html", context, status=429, headers=headers
    ).render()
