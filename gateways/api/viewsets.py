"""``/api/xpert/gateways/{name}/config`` and ``…/state``: what a gateway's agent asks for and what it tells."""

from datetime import datetime, timedelta
from typing import ClassVar, cast

from django.http import HttpResponse, HttpResponseNotModified
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from gateways import configuration, metering, slots
from gateways.models import Gateway
from gateways.state import State, store
from operations.api.authentication import ApiKeyAuthentication
from operations.api.schema import BODY_ERRORS, DETAIL, OPERATOR_ERRORS
from operations.api.viewsets import ApiViewSet
from operations.models import ApiKey
from subscriptions.serving import headers
from traffic.people import next_plans

from .parsers import StateParser
from .permissions import IsGateway

# How exactly ``seen_at`` is kept: a read must not cost a write each time.
_SEEN = timedelta(minutes=1)


class GatewayConfigViewSet(ApiViewSet):
    authentication_classes = [ApiKeyAuthentication]
    permission_classes: ClassVar[list[type[IsGateway]]] = [IsGateway]  # type: ignore[misc]

    @extend_schema(
        operation_id="read_gateway_config",
        description="The configuration of a gateway, for its agent alone. It holds credentials. "
        "With `If-None-Match` an unchanged one is 304.",
        responses={
            200: OpenApiTypes.OBJECT,
            304: OpenApiResponse(description="It is still the same."),
            **OPERATOR_ERRORS,
            404: OpenApiResponse(DETAIL, "There is no such gateway."),
        },
    )
    def retrieve(self, request: Request, name: str) -> HttpResponse:
        now = timezone.now()
        gateway = _asking(request)
        next_plans.begin_due(now)
        tags = request.headers.get("If-None-Match", "")
        if etag := configuration.unchanged(gateway, now, tags):
            _touch(gateway, now)
            return HttpResponseNotModified(headers=_fields(etag))
        found = configuration.document(gateway, now)
        metering.remember_servers(gateway, found.servers)
        if slots.assign(gateway, found.servers):
            found = configuration.document(gateway, now)
        _touch(gateway, now)
        if headers.matches(tags, found.etag):
            return HttpResponseNotModified(headers=_fields(found.etag))
        fields = _fields(found.etag)
        return HttpResponse(found.content, content_type="application/json", headers=fields)


class GatewayStateViewSet(ApiViewSet):
    authentication_classes = [ApiKeyAuthentication]
    permission_classes: ClassVar[list[type[IsGateway]]] = [IsGateway]  # type: ignore[misc]
    parser_classes: ClassVar[list[type[StateParser]]] = [StateParser]  # type: ignore[misc]

    @extend_schema(
        operation_id="tell_gateway_state",
        description="What runs on a gateway and what it refuses, told by its agent.",
        request=OpenApiTypes.OBJECT,
        responses={
            200: OpenApiResponse(OpenApiTypes.OBJECT, "It was stored."),
            **OPERATOR_ERRORS,
            **BODY_ERRORS,
            404: OpenApiResponse(DETAIL, "There is no such gateway."),
        },
    )
    def create(self, request: Request, name: str) -> Response:
        if not isinstance(request.data, State):
            raise ValidationError({"detail": "Expected a JSON body."})
        store(_asking(request), request.data, timezone.now())
        return Response({"status": "success"})


def _fields(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "no-store"}


def _asking(request: Request) -> Gateway:
    rows = Gateway.objects.prefetch_related("inbounds", "sources")
    return rows.get(key=cast(ApiKey, request.auth))


def _touch(gateway: Gateway, now: datetime) -> None:
    if gateway.seen_at is None or now - gateway.seen_at >= _SEEN:
        Gateway.objects.filter(pk=gateway.pk).update_quietly(seen_at=now)
