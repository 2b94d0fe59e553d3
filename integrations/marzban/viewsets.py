"""``/api/xpert/marzban-events``: the webhook of a linked Marzban (contract: B7)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import AuthenticationFailed, NotFound, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.parsers import JSONParser
from operations.api.schema import BODY_ERRORS, DETAIL, PUBLIC_ERRORS
from operations.api.viewsets import PublicViewSet

from . import events

_SECRET = OpenApiParameter(
    "X-Webhook-Secret", OpenApiTypes.STR, OpenApiParameter.HEADER, required=True
)


class EventsParser(JSONParser):
    """Up to 4 MiB: a mass delete of thousands is some megabytes."""

    limit = 4 * 2**20

    def decode(self, body: bytes) -> Any:
        try:
            return events.decoded(body)
        except msgspec.ValidationError:
            raise ValidationError({"detail": "Expected a JSON array of events."}) from None


class MarzbanEventsViewSet(PublicViewSet):
    """Open to the panel that knows the secret of its link; not there while no link has one."""

    parser_classes: ClassVar[Sequence[type[BaseParser]]] = [EventsParser]  # type: ignore[misc]

    @extend_schema(
        operation_id="receive_marzban_events",
        description="What Marzban sends to `WEBHOOK_ADDRESS` with `WEBHOOK_SECRET`: a list of events about its users.",
        parameters=[_SECRET],
        request=OpenApiTypes.OBJECT,
        responses={
            200: OpenApiTypes.OBJECT,
            **PUBLIC_ERRORS,
            401: OpenApiResponse(DETAIL, "The secret is missing or wrong."),
            404: OpenApiResponse(DETAIL, "No link has a secret."),
            **BODY_ERRORS,
        },
    )
    def create(self, request: Request) -> Response:
        if not events.has_secret():
            raise NotFound
        link = events.link_of(request.headers.get("X-Webhook-Secret", ""))
        if link is None:
            raise AuthenticationFailed("The header x-webhook-secret is missing or wrong.")
        if not isinstance(request.data, list):
            raise ValidationError({"detail": "Expected a JSON array."})
        count = events.take(link, request.data, timezone.now())
        return Response({"status": "success", "events": count})

    def get_authenticate_header(self, request: Request) -> str:
        """With it, a wrong secret is 401 and not 403."""
        return "X-Webhook-Secret"
