"""Protection of the login form: a limit by address of our own, and callbacks of django-axes, which limits by name."""

import math
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from operations.addresses import client_address
from operations.api.throttling import spend_login
from operations.conf import conf


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
