"""``/api/xpert/direct-configs`` and ``/api/xpert/sources``."""

from typing import Any

from django.db import IntegrityError
from django.db.models import Count, Q
from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from operations import audit
from operations.api.authors import by
from operations.api.permissions import may_see_secrets
from operations.api.schema import BODY_ERRORS, DETAIL, OPERATOR_ERRORS
from operations.api.viewsets import OperatorViewSet
from operations.audit import Action
from operations.databases.transactions import write_transaction
from operations.masks import masked
from subscriptions import direct_configs
from subscriptions.models import DirectConfig, Source

from .requests import ID, json_object, path_number
from .serializers import (
    AddedSerializer,
    DirectConfigSerializer,
    ManyConfigsSerializer,
    SourceSerializer,
)

_NOT_FOUND = {404: OpenApiResponse(DETAIL, "There is no such configuration.")}
_NO_SOURCE = {404: OpenApiResponse(DETAIL, "There is no such source.")}
_WRITE_ERRORS = {**OPERATOR_ERRORS, **BODY_ERRORS}
_CREATE_BODY = PolymorphicProxySerializer(
    "DirectConfigOrMany",
    [DirectConfigSerializer, ManyConfigsSerializer],
    resource_type_field_name=None,
)


class DirectConfigViewSet(OperatorViewSet):
    """Direct configurations, in the order in which subscribers get them."""

    scopes = {"list": "read", "retrieve": "read"}
    staff_permissions = {
        "list": "subscriptions.view_directconfig",
        "retrieve": "subscriptions.view_directconfig",
        "create": "subscriptions.add_directconfig",
        "update": "subscriptions.change_directconfig",
        "partial_update": "subscriptions.change_directconfig",
        "destroy": "subscriptions.delete_directconfig",
    }

    @extend_schema(
        operation_id="list_direct_configs",
        description="All direct configurations as a JSON array, in their order. Scope read sees the links masked.",
        responses={200: DirectConfigSerializer(many=True), **OPERATOR_ERRORS},
    )
    def list(self, request: Request) -> Response:
        return Response(self._serializer(DirectConfig.objects.all(), many=True).data)

    @extend_schema(
        operation_id="read_direct_config",
        parameters=[ID],
        responses={200: DirectConfigSerializer, **OPERATOR_ERRORS, **_NOT_FOUND},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self._serializer(_direct_config(pk)).data)

    @extend_schema(
        operation_id="add_direct_configs",
        description='Add one link: `{"raw", "remarks"}`. Or many: `{"configs": […]}`; good ones are kept even when '
        "others are bad, and each bad one is named.",
        request=_CREATE_BODY,
        responses={200: AddedSerializer, 201: DirectConfigSerializer, **_WRITE_ERRORS},
    )
    def create(self, request: Request) -> Response:
        if "configs" in json_object(request):
            if "raw" in request.data:
                raise ValidationError({"configs": ["Send either raw or configs."]})
            return self._create_many(request)
        serializer = self._serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        _save(request, serializer)
        return Response(serializer.data, status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="replace_direct_config",
        parameters=[ID],
        request=DirectConfigSerializer,
        responses={200: DirectConfigSerializer, **_WRITE_ERRORS, **_NOT_FOUND},
    )
    def update(self, request: Request, pk: str) -> Response:
        return self._changed(request, pk, partial=False)

    @extend_schema(
        operation_id="change_direct_config",
        parameters=[ID],
        request=DirectConfigSerializer(partial=True),
        responses={200: DirectConfigSerializer, **_WRITE_ERRORS, **_NOT_FOUND},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        return self._changed(request, pk, partial=True)

    @extend_schema(
        operation_id="delete_direct_config",
        parameters=[ID],
        responses={204: None, **OPERATOR_ERRORS, **_NOT_FOUND},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        _delete(request, _direct_config(pk))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _create_many(self, request: Request) -> Response:
        serializer = ManyConfigsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        lines = serializer.validated_data["configs"]
        texts = (line if isinstance(line, str) else "?" for line in lines)
        added = direct_configs.add_many(texts, by(request))
        return Response(
            {
                "total_provided": len(lines),
                "successful_added": len(added.configs),
                "failed": len(added.errors),
                "results": self._serializer(added.configs, many=True).data,
                "errors": [
                    {"config_index": index, "error": error, "raw_prefix": _prefix(lines[index])}
                    for index, error in added.errors.items()
                ],
            }
        )

    def _changed(self, request: Request, pk: str, *, partial: bool) -> Response:
        config = _direct_config(pk)
        json_object(request)
        serializer = self._serializer(config, data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        _save(request, serializer)
        return Response(serializer.data)

    def _serializer(self, *args: Any, **kwargs: Any) -> Any:
        masked = not may_see_secrets(self.request, "subscriptions.change_directconfig")
        return DirectConfigSerializer(*args, **kwargs, context={"masked": masked})


class SourceViewSet(OperatorViewSet):
    """Sources, in the order of their priority. ``refresh_sources`` fetches them, never a request."""

    scopes = {"list": "read", "retrieve": "read"}
    staff_permissions = {
        "list": "subscriptions.view_source",
        "retrieve": "subscriptions.view_source",
        "create": "subscriptions.add_source",
        "update": "subscriptions.change_source",
        "partial_update": "subscriptions.change_source",
        "destroy": "subscriptions.delete_source",
    }

    @extend_schema(
        operation_id="list_sources",
        description="All sources as a JSON array, in their order. Scope read sees the URLs masked.",
        responses={200: SourceSerializer(many=True), **OPERATOR_ERRORS},
    )
    def list(self, request: Request) -> Response:
        servers = Count("nodes", filter=Q(nodes__is_present=True))
        found = Source.objects.annotate(servers=servers).order_by("priority", "pk")
        return Response(self._serializer(found, many=True).data)

    @extend_schema(
        operation_id="read_source",
        parameters=[ID],
        responses={200: SourceSerializer, **OPERATOR_ERRORS, **_NO_SOURCE},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self._serializer(_source(pk)).data)

    @extend_schema(
        operation_id="add_source",
        request=SourceSerializer,
        responses={201: SourceSerializer, **_WRITE_ERRORS},
    )
    def create(self, request: Request) -> Response:
        return Response(self._saved(None, json_object(request)), status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="replace_source",
        parameters=[ID],
        request=SourceSerializer,
        responses={200: SourceSerializer, **_WRITE_ERRORS, **_NO_SOURCE},
    )
    def update(self, request: Request, pk: str) -> Response:
        return Response(self._saved(_source(pk), json_object(request)))

    @extend_schema(
        operation_id="change_source",
        parameters=[ID],
        request=SourceSerializer(partial=True),
        responses={200: SourceSerializer, **_WRITE_ERRORS, **_NO_SOURCE},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        return Response(self._saved(_source(pk), json_object(request), partial=True))

    @extend_schema(
        operation_id="delete_source",
        description="Its servers are deleted too.",
        parameters=[ID],
        responses={204: None, **OPERATOR_ERRORS, **_NO_SOURCE},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        _delete(request, _source(pk))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _saved(self, source: Source | None, data: dict[str, Any], *, partial: bool = False) -> Any:
        serializer = self._serializer(source, data=data, partial=partial)
        serializer.is_valid(raise_exception=True)
        try:
            _save(self.request, serializer)
        except IntegrityError:  # another request has just stored the same URL
            raise ValidationError({"url": ["This source already exists."]}) from None
        return serializer.data

    def _serializer(self, *args: Any, **kwargs: Any) -> Any:
        masked = not may_see_secrets(self.request, "subscriptions.change_source")
        return SourceSerializer(*args, **kwargs, context={"masked": masked})


def _delete(request: Request, target: DirectConfig | Source) -> None:
    with write_transaction():
        audit.note(Action.DELETED, target, by(request))
        target.delete()


def _save(request: Request, serializer: Any) -> None:
    """Save what was validated, and note it with the old and the new values."""
    target = serializer.instance
    before = audit.values(target, serializer.validated_data) if target else {}
    with write_transaction():
        saved = serializer.save()
        if not target:
            audit.note(Action.ADDED, saved, by(request))
        elif changes := audit.differences(saved, before):
            audit.note(Action.CHANGED, saved, by(request), changes)


def _prefix(line: object) -> str:
    return masked(line.strip()) if isinstance(line, str) else ""


def _direct_config(pk: str) -> DirectConfig:
    config = DirectConfig.objects.filter(pk=path_number(pk)).first()
    if config is None:
        raise NotFound("There is no such configuration.")
    return config


def _source(pk: str) -> Source:
    source = Source.objects.filter(pk=path_number(pk)).first()
    if source is None:
        raise NotFound("There is no such source.")
    return source
