"""What the guard of the login form (django-axes) asks: who is trying, and what to answer who has tried too often."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from traffic.addresses import client_address
from traffic.conf import conf


def client_ip(request: HttpRequest) -> str:
    """The client as far as the trusted proxies are believed: those behind one proxy are not locked out together."""
    return str(client_address(request.META, conf.trusted_proxies) or "")


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: Any) -> HttpResponse:
    wait = settings.AXES_COOLOFF_TIME
    context = {
        **admin.site.each_context(request),
        "title": _("Too many attempts"),
        "minutes": int(wait.total_seconds() // 60),
        "limit": settings.AXES_FAILURE_LIMIT,
    }
    headers = {"Retry-After": str(int(wait.total_seconds()))}
    return TemplateResponse(request, "admin/traffic/locked.html", context, status=429, headers=headers).render()
