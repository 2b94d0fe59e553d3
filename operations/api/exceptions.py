"""API errors that DRF has no class for, and the one exception handler."""

import logging
from collections.abc import Mapping
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler

from operations.caches import cache_errors
from operations.databases import engine
from operations.outbound.errors import OutboundError
from operations.refusals import Refused
from operations.watch.metrics import REFUSALS

logger = logging.getLogger("xpert.request")
_RETRY_AFTER = 5


def unavailable_errors() -> tuple[type[Exception], ...]:
    """Errors of a database, cache or linked panel that is busy or gone. Nothing was counted; the caller may try again."""
    return (OperationalError, InterfaceError, OutboundError, *cache_errors())


def is_unavailable(error: Exception) -> bool:
    """Whether the caller may try again, here or at the coordinator of a cluster, which has the tables that a worker lacks."""
    return isinstance(error, unavailable_errors()) or engine.current().is_elsewhere(error)


class LengthRequired(exceptions.APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "Send the body with a Content-Length."
    default_code = "length_required"


class PayloadTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit // 1024} KiB.")


class KeyReused(exceptions.APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "This Idempotency-Key was used before with another body. Nothing was changed."
    default_code = "key_reused"


class ServiceUnavailable(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The panel is busy; try again."
    default_code = "unavailable"
    wait = _RETRY_AFTER


def refusal(
    code: int, errors: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """An error in DRF's form for a view that is not DRF's. Caches must not store it."""
    return JsonResponse(
        errors, status=code, headers={"Cache-Control": "no-store"} | dict(headers or {})
    )


def unavailable(errors: Mapping[str, object] | None = None) -> JsonResponse:
    usual = {"detail": ServiceUnavailable.default_detail}
    return refusal(503, errors or usual, {"Retry-After": str(ServiceUnavailable.wait)})


def throttled(wait: int) -> JsonResponse:
    detail = f"Request was throttled. Expected available in {wait} seconds."
    return refusal(429, {"detail": detail}, {"Retry-After": str(wait)})


def only_to_read(method: str | None) -> JsonResponse:
    """The error for a method other than GET and HEAD."""
    return refusal(405, {"detail": f'Method "{method}" not allowed.'}, {"Allow": "GET, HEAD"})


def only_to_send(method: str | None) -> JsonResponse:
    """The error for a method other than POST."""
    return refusal(405, {"detail": f'Method "{method}" not allowed.'}, {"Allow": "POST"})


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler, plus a 503 for a database or cache that is busy, full or gone, and a 400 for what is refused."""
    if isinstance(exc, Refused):
        exc = exceptions.ValidationError({"detail": str(exc)})
    if is_unavailable(exc):
        logger.warning("Unavailable: %s", " ".join(str(exc).split())[:200])
        exc = ServiceUnavailable()
    response = exception_handler(exc, context)
    if response is not None:
        code = exc.get_codes() if isinstance(exc, exceptions.APIException) else "not_found"
        REFUSALS.labels(code if isinstance(code, str) else "invalid").inc()
    return response
