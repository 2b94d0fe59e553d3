"""``Idempotency-Key`` over HTTP: which request is the repeat of which."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from operations import idempotency, patterns
from operations.idempotency import Asked, Done
from operations.models import ApiKey

from .exceptions import KeyReused
from .schema import DETAIL

HEADER = "Idempotency-Key"
# The answer to a repeat says that it is one.
REPLAYED = "Idempotent-Replayed"
_KEY = re.compile(patterns.IDEMPOTENCY_KEY, re.ASCII)

PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "pattern": f"^{patterns.IDEMPOTENCY_KEY}$"},
    OpenApiParameter.HEADER,
    description="1 to 64 visible ASCII characters, best a UUID. For 7 days a repeat with the same key and body "
    "changes nothing and is answered like the first.",
)
CONFLICT = {409: OpenApiResponse(DETAIL, "The Idempotency-Key was used with another body.")}


def once(request: Request, work: Callable[[], Any]) -> Done:
    """``operations.idempotency.once`` under the key of this request. Raises KeyReused."""
    try:
        return idempotency.once(_asked(request), work, timezone.now())
    except idempotency.Reused:
        raise KeyReused from None


def in_steps(
    request: Request, choose: Callable[[], list[int]], step: Callable[[list[int]], list[Any]]
) -> Done:
    """``operations.idempotency.in_steps`` under the key of this request. Raises KeyReused."""
    try:
        return idempotency.in_steps(_asked(request), choose, step, timezone.now())
    except idempotency.Reused:
        raise KeyReused from None


def told(response: Response, done: Done) -> Response:
    """The response, which says so if it answers a repeat."""
    if done.is_repeat:
        response.headers[REPLAYED] = "true"
    return response


def _asked(request: Request) -> Asked | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise ValidationError({HEADER: ["Expected 1 to 64 visible ASCII characters."]})
    return Asked(_caller(request), key, _digest(request))


def _caller(request: Request) -> str:
    if isinstance(request.auth, ApiKey):
        return f"key {request.auth.pk}"
    return f"user {request.user.pk}" if request.user.is_authenticated else "open access"


def _digest(request: Request) -> str:
    """Of path and body; how the JSON is spelled does not matter."""
    asked = [request.path.rstrip("/"), request.data]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
