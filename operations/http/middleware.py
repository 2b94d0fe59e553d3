"""Middleware: one log line per request, headers of trusted proxies, content policy and language."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.signals import got_request_exception
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.urls import reverse
from django.utils import translation
from django.utils.functional import cached_property

from operations import own_mark
from operations.addresses import believed
from operations.api.exceptions import is_unavailable
from operations.conf import PANEL_LANGUAGES, conf
from operations.logs import context
from operations.logs.formatters import Answered, write_request
from operations.logs.masking import masked_path
from operations.watch import metrics

from .error_pages import bad_request, unavailable

logger = logging.getLogger("xpert.request")
GetResponse = Callable[[HttpRequest], HttpResponseBase]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PAGE_METHODS = ("GET", "HEAD", "POST")
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)


class RequestLogMiddleware:
    """Gives every request an id, counts it, logs it with secrets masked, and adds the panel's own mark.

    An answer without Cache-Control must not be kept by any cache.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        id_ = request.META[context.ID] = _request_id(request)
        with context.speaking_of(request):
            response = self.get_response(request)
            if request.method == "HEAD" and isinstance(response, HttpResponse):
                response.content = (
                    b""  # the headers still describe the body, which the server must not send
                )
            response.headers["X-Request-Id"] = id_
            response.headers[own_mark.HEADER] = own_mark.own_mark()
            # Without it some proxies keep an answer for minutes and give it to callers without a key too.
            response.headers.setdefault("Cache-Control", "no-store")
            self._note(request, response.status_code, time.perf_counter() - begun)
        return response

    def _note(self, request: HttpRequest, status: int, seconds: float) -> None:
        method = request.method if request.method in _METHODS else "OTHER"
        route = (
            (request.resolver_match.view_name or "unnamed") if request.resolver_match else "none"
        )
        metrics.count_request(route, method, status, seconds)
        if logger.isEnabledFor(logging.INFO):
            write_request(logger, Answered(request, method, route, status, seconds * 1000))

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        if is_unavailable(exception):
            write_down(self, request)
            return unavailable(request)
        # PostgreSQL refuses to look up a text with a NUL, in a session cookie or a filter of the admin.
        if isinstance(exception, DataError):
            write_down(self, request)
            return bad_request(request, exception)
        return None


def write_down(sender: object, request: HttpRequest, **_: object) -> None:
    """Log the current exception, whether it was raised in a view, a middleware or an import."""
    logger.error("%s %s failed", request.method, masked_path(request), exc_info=sys.exception())


# Django sends this signal only for exceptions that it answers with 500.
got_request_exception.connect(write_down, dispatch_uid="operations.http.middleware.write_down")


# Default content policies. A view that needs more sets its own header.
_CLOSED = "default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The admin's theme and Swagger UI have no inline scripts, but both set inline styles.
_STYLED = _PAGE.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
# The theme uses Alpine, which evaluates attributes of our own templates.
_ADMIN = _STYLED.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'")


def with_own_styles(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Allow inline styles on the page of ``view``, which Swagger UI needs."""

    @wraps(view)
    def styled(*args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(*args, **kwargs)
        if _is_page(response):
            response.headers["Content-Security-Policy"] = _STYLED
        return response

    return styled


def exempt_from_policies(response: HttpResponseBase) -> None:
    """For another program's answer that is passed on: its pages are that program's to judge."""
    response.content_policy_exempt = True  # type: ignore[attr-defined]
    response.xframe_options_exempt = True  # type: ignore[attr-defined]


class ContentPolicyMiddleware:
    """Sets ``Content-Security-Policy`` if the response has none: no foreign resources, no inline scripts."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_exempt = getattr(response, "content_policy_exempt", False)
        if not is_exempt and "Content-Security-Policy" not in response.headers:
            response.headers["Content-Security-Policy"] = _policy(request, response)
        return response


def _policy(request: HttpRequest, response: HttpResponseBase) -> str:
    if not _is_page(response):
        return _CLOSED
    match = request.resolver_match
    return _ADMIN if match is not None and match.app_name == "admin" else _PAGE


def _is_page(response: HttpResponseBase) -> bool:
    return bool(response.headers.get("Content-Type", "").startswith("text/html"))


def _request_id(request: HttpRequest) -> str:
    """The id from a trusted proxy, so that both logs can be compared; otherwise a new one."""
    meta = request.META  # ``headers`` would convert all of them for each request
    given: str = meta.get("HTTP_X_REQUEST_ID", "")
    return given if given and conf.trusted_proxies and _ID.fullmatch(given) else os.urandom(8).hex()


class TrustedProxyMiddleware:
    """Stores the client's scheme as reported by XPERT_TRUSTED_PROXIES; SECURE_PROXY_SSL_HEADER reads it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        depth = conf.trusted_proxies
        if depth:
            header = request.headers.get("x-forwarded-proto", "")
            # In most setups the outermost proxy sets the header, and the others pass it on.
            scheme = believed(header, depth) or (header.strip() if "," not in header else "")
            request.META["XPERT_CLIENT_SCHEME"] = scheme.lower()
        return self.get_response(request)


class AdminMethodsMiddleware:
    """Refuses in the admin what its views would treat as a GET: TRACE, OPTIONS, PUT and whatever else is sent."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> HttpResponseBase | None:
        match = request.resolver_match
        if request.method in _PAGE_METHODS or match is None or match.app_name != "admin":
            return None
        return HttpResponseNotAllowed(_PAGE_METHODS)


class PanelLocaleMiddleware(LocaleMiddleware):
    """Django's locale middleware, only for the admin: the API ignores the browser's language."""

    @cached_property
    def _prefix(self) -> str:
        """Cached because every report passes here; computed late because the routes are not loaded at the start."""
        return reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(self._prefix):
            answer: HttpResponseBase = self.get_response(request)  # type: ignore[assignment]
            return answer
        with translation.override(
            translation.get_language()
        ):  # the thread serves other requests later
            response: HttpResponseBase = super().__call__(request)  # type: ignore[assignment]  # never async here
            return response

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        if translation.get_language() not in PANEL_LANGUAGES:
            translation.activate("en")
            request.LANGUAGE_CODE = translation.get_language()
