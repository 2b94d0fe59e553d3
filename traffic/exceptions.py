"""Refusals that DRF has no class for, and the one handler that answers all of them."""

import logging
from typing import Any

from django.db import InterfaceError, OperationalError
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler

from .caches import cache_errors
from .metrics import REFUSALS

logger = logging.getLogger("xpert.request")
_RETRY_AFTER = 5


def unavailable_errors() -> tuple[type[Exception], ...]:
    """Database or cache is busy, full or gone: the caller may try again, and nothing was counted."""
    return (OperationalError, InterfaceError, *cache_errors())


class LengthRequired(exceptions.APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "Send the body with a Content-Length."
    default_code = "length_required"


class PayloadTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit // 1024} KiB.")


class ServiceUnavailable(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The panel is busy; try again."
    default_code = "unavailable"
    wait = _RETRY_AFTER


class TrackingDisabled(ServiceUnavailable):
    default_detail = "Traffic tracking is disabled"
    default_code = "tracking_disabled"
    wait = 300


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's own handler, to which a database or cache that is busy, full or gone is a 503 and no accident."""
    if isinstance(exc, unavailable_errors()):
        logger.warning("Unavailable: %s", " ".join(str(exc).split())[:200])
        exc = ServiceUnavailable()
    response = exception_handler(exc, context)
    if response is not None:
        code = exc.get_codes() if isinstance(exc, exceptions.APIException) else "not_found"
        REFUSALS.labels(code if isinstance(code, str) else "invalid").inc()
    return response
