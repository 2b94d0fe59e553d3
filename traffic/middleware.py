"""One log line a request, and what the trusted proxies say of it."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable

from django.core.signals import got_request_exception
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.urls import reverse
from django.utils import translation
from django.utils.functional import cached_property

from . import logs, metrics
from .addresses import believed
from .conf import PANEL_LANGUAGES, conf
from .exceptions import unavailable_errors
from .views.errors import bad_request, unavailable

logger = logging.getLogger("xpert.request")
GetResponse = Callable[[HttpRequest], HttpResponseBase]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)


class RequestLogMiddleware:
    """Logs and counts every request, and gives it an id; secrets are masked."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        id_ = request.META[logs.ID] = _request_id(request)
        with logs.speaking_of(request):
            response = self.get_response(request)
            if request.method == "HEAD" and isinstance(response, HttpResponse):
                response.content = b""  # the headers speak of it; sending it is the server's to complain about
            response.headers["X-Request-Id"] = id_
            self._note(request, response.status_code, time.perf_counter() - begun)
        return response

    def _note(self, request: HttpRequest, status: int, seconds: float) -> None:
        method = request.method if request.method in _METHODS else "OTHER"
        route = (request.resolver_match.view_name or "unnamed") if request.resolver_match else "none"
        metrics.count_request(route, method, status, seconds)
        if logger.isEnabledFor(logging.INFO):
            logs.write_request(logger, logs.Answered(request, method, route, status, seconds * 1000))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if isinstance(exception, unavailable_errors()):
            write_down(self, request)
            return unavailable(request)
        # PostgreSQL does not even look for a text with a NUL, in a session cookie or a filter of the admin.
        if isinstance(exception, DataError):
            write_down(self, request)
            return bad_request(request, exception)
        return None


def write_down(sender: object, request: HttpRequest, **_: object) -> None:
    """Log the exception that is being handled, wherever it was raised: in a view, a middleware, an import."""
    logger.error("%s %s failed", request.method, logs.masked_path(request), exc_info=sys.exception())


# Sent by Django for what it answers with 500, and for nothing else.
got_request_exception.connect(write_down, dispatch_uid="traffic.middleware.write_down")


# What a browser may do with an answer of ours; whoever needs more sets a policy of his own.
_CLOSED = "default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The theme of the admin computes with Alpine, which evaluates the attributes of our own templates, and sets styles in
# them; Swagger UI sets styles. Neither runs a script that stands in the page itself.
_ADMIN = _PAGE.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'").replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)
_DOCS = _PAGE.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


class ContentPolicyMiddleware:
    """``Content-Security-Policy`` on every answer that has none: nothing from elsewhere, no script within a page."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if "Content-Security-Policy" not in response.headers:
            response.headers["Content-Security-Policy"] = _policy(request, response)
        return response


def _policy(request: HttpRequest, response: HttpResponseBase) -> str:
    if not response.headers.get("Content-Type", "").startswith("text/html"):
        return _CLOSED
    match = request.resolver_match
    if match is not None and match.app_name == "admin":
        return _ADMIN
    return _DOCS if match is not None and match.view_name == "docs" else _PAGE


def _request_id(request: HttpRequest) -> str:
    """The one that a trusted proxy has given it, so that both logs can be laid side by side; else a new one."""
    given: str = request.headers.get("x-request-id", "")
    return given if given and conf.trusted_proxies and _ID.fullmatch(given) else os.urandom(8).hex()


class TrustedProxyMiddleware:
    """Says by which scheme the client came, as far as XPERT_TRUSTED_PROXIES goes; SECURE_PROXY_SSL_HEADER reads it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        depth = conf.trusted_proxies
        if depth:
            header = request.headers.get("x-forwarded-proto", "")
            # Most setups have the outermost proxy set it and the others pass it on.
            scheme = believed(header, depth) or (header.strip() if "," not in header else "")
            request.META["XPERT_CLIENT_SCHEME"] = scheme.lower()
        return self.get_response(request)


class PanelLocaleMiddleware(LocaleMiddleware):
    """Django's, for the admin alone: the API answers everybody alike, whatever languages a browser asks for."""

    @cached_property
    def _prefix(self) -> str:
        """Looked up once, and not before the routes are there: every report passes here."""
        return reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(self._prefix):
            answer: HttpResponseBase = self.get_response(request)  # type: ignore[assignment]
            return answer
        with translation.override(translation.get_language()):  # a thread goes on to another request
            response: HttpResponseBase = super().__call__(request)  # type: ignore[assignment]  # never async here
            return response

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        if translation.get_language() not in PANEL_LANGUAGES:
            translation.activate("en")
            request.LANGUAGE_CODE = translation.get_language()
