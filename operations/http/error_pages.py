"""Error responses: JSON for the API, and a page for people that works without the database and without static files."""

import functools
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from operations.api import exceptions
from operations.api.exceptions import ServiceUnavailable
from operations.api.parsers import read_rest
from operations.formatting import round_size

_UNKNOWN_HOST = gettext_noop(
    "The panel does not accept this host name. Its operator can add the name to XPERT_ALLOWED_HOSTS."
)
_NO_ADDRESS = "Not Found. docs/api.md lists the addresses of the API; most begin with /api/xpert/."
_WORDS: dict[HTTPStatus, tuple[str | Promise, str | Promise]] = {
    HTTPStatus.BAD_REQUEST: (
        _("Bad request"),
        _("The address, or the data that was sent to it, is not valid."),
    ),
    HTTPStatus.FORBIDDEN: (
        _("Not allowed"),
        _("Your account may not do this. An administrator can change that."),
    ),
    HTTPStatus.NOT_FOUND: (_("Not found"), _("There is nothing at this address.")),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (_("Too large"), ""),
    HTTPStatus.INTERNAL_SERVER_ERROR: (
        _("The panel has failed"),
        _("Its log says why. Try again."),
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (_("The panel is busy"), _("Try again in a moment.")),
}


@functools.cache
def _for_people() -> tuple[str, ...]:
    """The path prefixes of pages for people: the admin and static files."""
    found = [f"/{settings.STATIC_URL.strip('/')}"]
    if overview := _overview():
        found.append(overview.rstrip("/"))
    return tuple(found)


def _overview() -> str:
    """Empty in a project without the admin."""
    try:
        return reverse("admin:index")
    except NoReverseMatch:
        return ""


def _stylesheet() -> str:
    """Empty before ``collectstatic``, because an error page must not fail."""
    try:
        return static("operations/trouble.css")
    except ValueError:
        return ""


def _is_api(request: HttpRequest) -> bool:
    return not request.path.startswith(_for_people())


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return _too_large(request)
    detail = _UNKNOWN_HOST if isinstance(exception, DisallowedHost) else ""
    return _answer(request, HTTPStatus.BAD_REQUEST, detail)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, HTTPStatus.FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The usual cause is a page that was opened before a login or logout in another tab."""
    text = _(
        "This page was open for too long, or somebody has signed in since. Go back, reload it, and try again."
    )
    return _answer(request, HTTPStatus.FORBIDDEN, text=text)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, HTTPStatus.NOT_FOUND, _NO_ADDRESS if _is_api(request) else "")


def server_error(request: HttpRequest, *args: Any) -> HttpResponse:
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR)


def unavailable(request: HttpRequest) -> HttpResponse:
    """The database or cache is busy, full or gone, and no view handled it. This covers the admin too."""
    if _is_api(request):
        return exceptions.unavailable()
    headers = {"Retry-After": str(ServiceUnavailable.wait)}
    return _page(HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)


def _answer(
    request: HttpRequest, status: HTTPStatus, detail: str = "", text: str | Promise = ""
) -> HttpResponse:
    """``detail`` is for programs and people, ``text`` only for people."""
    if _is_api(request):
        return exceptions.refusal(status, {"detail": detail or f"{status.phrase}."})
    return _page(status, gettext(detail) if detail else text)


def _too_large(request: HttpRequest) -> HttpResponse:
    """Read the rest of the body first: a browser does not read the response before it has sent everything."""
    read_rest(request)
    text = _(
        "A form accepts at most %(size)s. Send the data in parts, or use a command of manage.py, which takes whole files."
    )
    size = round_size(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    return _answer(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text=text % {"size": size})


def _page(
    status: HTTPStatus, text: str | Promise = "", headers: Mapping[str, str] | None = None
) -> HttpResponse:
    title, usual = _WORDS[status]
    context = {
        "title": title,
        "text": text or usual,
        "stylesheet": _stylesheet(),
        "overview": _overview(),
    }
    return HttpResponse(
        render_to_string("admin/operations/trouble.html", context), status=status, headers=headers
    )
