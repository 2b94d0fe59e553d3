"""``/api/xpert/direct-configs`` and ``/api/xpert/sources``: the operator's links and where others come from."""

import logging
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from traffic import schema
from traffic.logs import masked
from traffic.models import ApiKey
from traffic.permissions import has_scope
from traffic.viewsets import OperatorViewSet

from . import direct_configs
from .models import DirectConfig, Source
from .serializers import AddedSerializer, DirectConfigSerializer, ManyConfigsSerializer, SourceSerializer

logger = logging.getLogger("xpert.changes")
_MAX_ID = 2**63 - 1
_ID = OpenApiParameter("id", {"type": "integer", "minimum": 1, "maximum": _MAX_ID}, OpenApiParameter.PATH)
_NOT_FOUND = {404: OpenApiResponse(schema.DETAIL, "There is no such configuration.")}
_NO_SOURCE = {404: OpenApiResponse(schema.DETAIL, "There is no such source.")}
_WRITE_ERRORS = {**schema.OPERATOR_ERRORS, **schema.BODY_ERRORS}
_CREATE_BODY = PolymorphicProxySerializer(
    "DirectConfigOrMany", [DirectConfigSerializer, ManyConfigsSerializer], resource_type_field_name=None
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
        responses={200: DirectConfigSerializer(many=True), **schema.OPERATOR_ERRORS},
    )
    def list(self, request: Request) -> Response:
        return Response(self._serializer(DirectConfig.objects.all(), many=True).data)

    @extend_schema(
        operation_id="read_direct_config",
        parameters=[_ID],
        responses={200: DirectConfigSerializer, **schema.OPERATOR_ERRORS, **_NOT_FOUND},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self._serializer(_found(pk)).data)

    @extend_schema(
        operation_id="add_direct_configs",
        description='Add one link: `{"raw", "remarks"}`. Or many: `{"configs": […]}`; good ones are kept even when '
        "others are bad, and each bad one is named.",
        request=_CREATE_BODY,
        responses={200: AddedSerializer, 201: DirectConfigSerializer, **_WRITE_ERRORS},
    )
    def create(self, request: Request) -> Response:
        if "configs" in _object(request):
            if "raw" in request.data:
                raise ValidationError({"configs": ["Send either raw or configs."]})
            return self._create_many(request)
        serializer = self._serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        _note(request, "added", DirectConfig, serializer.save().pk)
        return Response(serializer.data, status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="replace_direct_config",
        parameters=[_ID],
        request=DirectConfigSerializer,
        responses={200: DirectConfigSerializer, **_WRITE_ERRORS, **_NOT_FOUND},
    )
    def update(self, request: Request, pk: str) -> Response:
        return self._changed(request, pk, partial=False)

    @extend_schema(
        operation_id="change_direct_config",
        parameters=[_ID],
        request=DirectConfigSerializer(partial=True),
        responses={200: DirectConfigSerializer, **_WRITE_ERRORS, **_NOT_FOUND},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        return self._changed(request, pk, partial=True)

    @extend_schema(
        operation_id="delete_direct_config",
        parameters=[_ID],
        responses={204: None, **schema.OPERATOR_ERRORS, **_NOT_FOUND},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        _found(pk).delete()
        _note(request, "deleted", DirectConfig, _number(pk))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _create_many(self, request: Request) -> Response:
        serializer = ManyConfigsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        lines = serializer.validated_data["configs"]
        added = direct_configs.add_many(line if isinstance(line, str) else "?" for line in lines)
        _note(request, "added", DirectConfig, *(config.pk for config in added.configs))
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
        config = _found(pk)
        _object(request)
        serializer = self._serializer(config, data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        _note(request, "changed", DirectConfig, serializer.save().pk)
        return Response(serializer.data)

    def _serializer(self, *args: Any, **kwargs: Any) -> Any:
        masked = not _may_see_secrets(self.request, "subscriptions.change_directconfig")
        return DirectConfigSerializer(*args, **kwargs, context={"masked": masked})


class SourceViewSet(OperatorViewSet):
    """Sources, in the order of their priority. They are fetched by ``refresh_sources``, never inside a request."""

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
        responses={200: SourceSerializer(many=True), **schema.OPERATOR_ERRORS},
    )
    def list(self, request: Request) -> Response:
        servers = Count("nodes", filter=Q(nodes__is_present=True))
        found = Source.objects.annotate(servers=servers).order_by("priority", "pk")
        return Response(self._serializer(found, many=True).data)

    @extend_schema(
        operation_id="read_source",
        parameters=[_ID],
        responses={200: SourceSerializer, **schema.OPERATOR_ERRORS, **_NO_SOURCE},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self._serializer(_found_source(pk)).data)

    @extend_schema(
        operation_id="add_source",
        request=SourceSerializer,
        responses={201: SourceSerializer, **_WRITE_ERRORS},
    )
    def create(self, request: Request) -> Response:
        return Response(self._saved(None, _object(request)), status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="replace_source",
        parameters=[_ID],
        request=SourceSerializer,
        responses={200: SourceSerializer, **_WRITE_ERRORS, **_NO_SOURCE},
    )
    def update(self, request: Request, pk: str) -> Response:
        return Response(self._saved(_found_source(pk), _object(request)))

    @extend_schema(
        operation_id="change_source",
        parameters=[_ID],
        request=SourceSerializer(partial=True),
        responses={200: SourceSerializer, **_WRITE_ERRORS, **_NO_SOURCE},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        return Response(self._saved(_found_source(pk), _object(request), partial=True))

    @extend_schema(
        operation_id="delete_source",
        description="Its servers go with it.",
        parameters=[_ID],
        responses={204: None, **schema.OPERATOR_ERRORS, **_NO_SOURCE},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        _found_source(pk).delete()
        _note(request, "deleted", Source, _number(pk))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _saved(self, source: Source | None, data: dict[str, Any], *, partial: bool = False) -> Any:
        serializer = self._serializer(source, data=data, partial=partial)
        serializer.is_valid(raise_exception=True)
        try:
            with transaction.atomic():
                saved = serializer.save()
        except IntegrityError:  # somebody else has just stored the same
            raise ValidationError({"url": ["This source is there already."]}) from None
        _note(self.request, "changed" if source else "added", Source, saved.pk)
        return serializer.data

    def _serializer(self, *args: Any, **kwargs: Any) -> Any:
        masked = not _may_see_secrets(self.request, "subscriptions.change_source")
        return SourceSerializer(*args, **kwargs, context={"masked": masked})


def _note(request: Request, did: str, model: type[DirectConfig | Source], *ids: int) -> None:
    """Who did what, in the log: the admin's history has a place only for people with an account."""
    for pk in ids:
        logger.info("%s %s %s %d", _author(request), did, model.__name__, pk)


def _author(request: Request) -> str:
    if isinstance(request.auth, ApiKey):
        return f"API key {request.auth.pk} ({request.auth.name})"
    return request.user.get_username() if request.user.is_authenticated else "somebody in open access"


def _may_see_secrets(request: Request, permission: str) -> bool:
    """A link holds a password, and so does a source's URL: only those who may change it see it whole."""
    if isinstance(request.auth, ApiKey):
        return has_scope(request.auth, "manage")
    return request.user.has_perm(permission) if request.user.is_authenticated else True


def _prefix(line: object) -> str:
    return masked(line.strip()) if isinstance(line, str) else ""


def _object(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise ValidationError({"detail": "Expected a JSON object."})
    return request.data


def _found(pk: str) -> DirectConfig:
    config = DirectConfig.objects.filter(pk=_number(pk)).first()
    if config is None:
        raise NotFound("There is no such configuration.")
    return config


def _found_source(pk: str) -> Source:
    source = Source.objects.filter(pk=_number(pk)).first()
    if source is None:
        raise NotFound("There is no such source.")
    return source


def _number(pk: str) -> int:
    """The id in a path; 0, which nobody has, for what is none."""
    number = int(pk) if pk.isascii() and pk.isdigit() and len(pk) <= 19 else 0
    return number if number <= _MAX_ID else 0
