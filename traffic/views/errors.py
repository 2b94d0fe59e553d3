"""What is answered when no view does: JSON for the API, a page for people that needs neither database nor files."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from traffic.cells import round_size
from traffic.exceptions import ServiceUnavailable
from traffic.parsers import read_rest

_UNKNOWN_HOST = gettext_noop(
    "The panel does not answer to this host name; its operator lists names in XPERT_ALLOWED_HOSTS."
)
_WORDS: dict[HTTPStatus, tuple[str | Promise, str | Promise]] = {
    HTTPStatus.BAD_REQUEST: (_("This cannot be read"), _("The address, or what was sent to it, is wrong.")),
    HTTPStatus.FORBIDDEN: (_("Not allowed"), _("Your account may not do this. An administrator can change that.")),
    HTTPStatus.NOT_FOUND: (_("Not found"), _("There is nothing at this address.")),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (_("Too large"), ""),
    HTTPStatus.INTERNAL_SERVER_ERROR: (_("The panel has failed"), _("Its log says why. Try again.")),
    HTTPStatus.SERVICE_UNAVAILABLE: (_("The panel is busy"), _("Try again in a moment.")),
}


def _is_api(request: HttpRequest) -> bool:
    return not request.path.startswith(("/admin", "/static"))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return _too_large(request)
    detail = _UNKNOWN_HOST if isinstance(exception, DisallowedHost) else ""
    return _answer(request, HTTPStatus.BAD_REQUEST, detail)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, HTTPStatus.FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Mostly a page from before somebody signed in or out in another tab."""
    text = _("This page was open for too long, or somebody signed in since. Go back, load it anew, and try again.")
    return _answer(request, HTTPStatus.FORBIDDEN, text=text)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, HTTPStatus.NOT_FOUND)


def server_error(request: HttpRequest, *args: Any) -> HttpResponse:
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR)


def unavailable(request: HttpRequest) -> HttpResponse:
    """Database or cache is busy, full or gone, and no view has caught it: also in the admin."""
    headers = {"Retry-After": str(ServiceUnavailable.wait)}
    if _is_api(request):
        return JsonResponse({"detail": ServiceUnavailable.default_detail}, status=503, headers=headers)
    return _page(HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)


def _answer(request: HttpRequest, status: HTTPStatus, detail: str = "", text: str | Promise = "") -> HttpResponse:
    """``detail`` is for programs and people, ``text`` for people alone."""
    if _is_api(request):
        return JsonResponse({"detail": detail or f"{status.phrase}."}, status=status)
    return _page(status, gettext(detail) if detail else text)


def _too_large(request: HttpRequest) -> HttpResponse:
    """A browser reads no answer before all it sends is taken."""
    read_rest(request)
    text = _("No form takes more than %(size)s at once. Send it in parts; commands of manage.py take whole files.")
    size = round_size(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    return _answer(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text=text % {"size": size})


def _page(status: HTTPStatus, text: str | Promise = "", headers: Mapping[str, str] | None = None) -> HttpResponse:
    title, usual = _WORDS[status]
    context = {"title": title, "text": text or usual}
    return HttpResponse(render_to_string("admin/traffic/trouble.html", context), status=status, headers=headers)
