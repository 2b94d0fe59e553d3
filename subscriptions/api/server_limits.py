"""``/api/xpert/server-limits``: data limits on a source or on one server."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api import idempotency
from operations.api.authors import by
from operations.api.schema import BODY_ERRORS, DETAIL, OPERATOR_ERRORS
from operations.api.viewsets import OperatorViewSet
from operations.conf import MAX_DAYS
from subscriptions.sources import limited_places
from traffic.ledger.lookup import Endpoint, next_period
from traffic.models import MAX_COUNTER, LimitedServer, Reset, ServerLimit, Subscriber
from traffic.people import server_limits
from traffic.reports import (
    InvalidReport,
    normalised_port,
    normalised_protocol,
    normalised_server,
)

from .requests import ID, json_object, path_number
from .serializers import SourceField, SubscriberField, TextField, WholeNumberField
from .subscriber_fields import LIMIT_SCOPES, PlanField, StrictSerializer

_NO_LIMIT = {404: OpenApiResponse(DETAIL, "There is no such limit.")}
_WRITE_ERRORS = {**OPERATOR_ERRORS, **BODY_ERRORS}
_POST_ERRORS = {**_WRITE_ERRORS, **idempotency.CONFLICT}
_ON_ONE = [ID, idempotency.PARAMETER]
_PLACE = "Expected source, or server, port and protocol."


class LimitValuesSerializer(StrictSerializer):
    """What can be changed."""

    name = TextField(max_length=200, allow_blank=True, required=False)
    data_limit = WholeNumberField(
        min_value=1, max_value=MAX_COUNTER, help_text="Bytes up and down in a period."
    )
    limit_reset = serializers.ChoiceField(Reset.values, required=False)
    reset_day = WholeNumberField(
        min_value=1, max_value=31, required=False, help_text="For limit_reset monthly."
    )
    reset_days = WholeNumberField(
        min_value=1,
        max_value=MAX_DAYS,
        required=False,
        help_text="For limit_reset interval: N of “every N days”.",
    )


class NewLimitSerializer(LimitValuesSerializer):
    scope = serializers.ChoiceField(
        LIMIT_SCOPES,
        default=ServerLimit.Scope.EACH,
        help_text="Whether each subscriber has the limit, or all together.",
    )
    subscriber = SubscriberField(required=False, help_text="The id of the only one who has it.")
    plan = PlanField(required=False, help_text="Only subscribers with this plan have it.")
    source = SourceField(  # type: ignore[assignment]  # DRF takes declared fields out of the class
        required=False, help_text="The id of a source: all its servers, also those it will have."
    )
    server = TextField(required=False, help_text="Or one server by the name that reports use.")
    port = WholeNumberField(required=False)
    protocol = TextField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        one = [attrs.pop(name, None) for name in ("server", "port", "protocol")]
        source = attrs.pop("source", None)
        if source is not None and one == [None] * 3:
            attrs["place"] = limited_places.origin_of(source)
        elif source is None and None not in one:
            attrs["place"] = limited_places.value_of(_endpoint(*one))
        else:
            raise serializers.ValidationError({"detail": _PLACE})
        return attrs


class RestartSerializer(StrictSerializer):
    subscriber = SubscriberField(required=False, help_text="Only of this one; without it, of all.")


class LimitedServerSerializer(serializers.ModelSerializer[LimitedServer]):
    server = serializers.CharField(source="host")

    class Meta:
        model = LimitedServer
        fields = ["server", "port", "protocol"]


class ServerLimitSerializer(serializers.ModelSerializer[ServerLimit]):
    """A limit on servers."""

    scope = serializers.ChoiceField(LIMIT_SCOPES)
    plan = PlanField()
    limit_reset = serializers.ChoiceField(Reset.values)
    source = serializers.SerializerMethodField(  # type: ignore[assignment]  # as above
        help_text="null: it is on one server."
    )
    servers = LimitedServerSerializer(many=True)
    used = serializers.IntegerField(
        help_text="Bytes of all together, or of the subscriber who has used most."
    )
    used_up_by = serializers.IntegerField(help_text="How many have used it up.")
    resets_at = serializers.SerializerMethodField()

    class Meta:
        model = ServerLimit
        fields = [
            "id", "name", "scope", "subscriber", "plan", "source", "servers", "data_limit", "limit_reset",
            "reset_day", "reset_days", "used", "used_up_by", "resets_at", "created_at",
        ]  # fmt: skip

    def get_source(self, limit: ServerLimit) -> int | None:
        return limited_places.source_id(limit)

    def get_resets_at(self, limit: ServerLimit) -> datetime | None:
        ends = next_period(limit, self.context["now"])
        return ends.astimezone(UTC) if ends else None


class ServerLimitViewSet(OperatorViewSet):
    """Limits on servers, by name."""

    scopes = {"list": "read", "retrieve": "read"}
    staff_permissions = {
        "list": "traffic.view_serverlimit",
        "retrieve": "traffic.view_serverlimit",
        "create": "traffic.add_serverlimit",
        "partial_update": "traffic.change_serverlimit",
        "destroy": "traffic.delete_serverlimit",
        "restart": "traffic.change_serverlimit",
    }

    @extend_schema(
        operation_id="list_server_limits",
        description="All limits on servers as a JSON array.",
        responses={200: ServerLimitSerializer(many=True), **OPERATOR_ERRORS},
    )
    def list(self, request: Request) -> Response:
        now = timezone.now()
        found = ServerLimitSerializer(_rows(now), many=True, context={"now": now})
        return Response(found.data)

    @extend_schema(
        operation_id="read_server_limit",
        parameters=[ID],
        responses={200: ServerLimitSerializer, **OPERATOR_ERRORS, **_NO_LIMIT},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(_json(_limit(pk).pk))

    @extend_schema(
        operation_id="add_server_limit",
        description="What the servers' records of the current period hold counts already.",
        parameters=[idempotency.PARAMETER],
        request=NewLimitSerializer,
        responses={201: ServerLimitSerializer, **_POST_ERRORS},
    )
    def create(self, request: Request) -> Response:
        told = _checked(NewLimitSerializer, request)
        place = told.pop("place")
        told["name"] = told.get("name") or limited_places.name_of(place)
        limit = ServerLimit(**told, origin=limited_places.origin_in(place))
        _require_whole(limit)

        def add() -> int:
            server_limits.add(limit, limited_places.endpoints_of(place), by(request))
            return limit.pk

        return self._done_once(add, status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="change_server_limit",
        description="A limit stays on its servers and with those who have it. Another reset counts the period again.",
        parameters=[ID],
        request=LimitValuesSerializer(partial=True),
        responses={200: ServerLimitSerializer, **_WRITE_ERRORS, **_NO_LIMIT},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        limit = _limit(pk)
        values = _checked(LimitValuesSerializer, request, partial=True)
        server_limits.change(limit, values, by(request))
        return Response(_json(limit.pk))

    @extend_schema(
        operation_id="delete_server_limit",
        parameters=[ID],
        responses={204: None, **OPERATOR_ERRORS, **_NO_LIMIT},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        server_limits.remove(_limit(pk), by(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="restart_server_limit",
        description="What counts towards the limit starts again from zero. Usage and other limits stay.",
        parameters=_ON_ONE,
        request=RestartSerializer,
        responses={200: ServerLimitSerializer, **_POST_ERRORS, **_NO_LIMIT},
    )
    def restart(self, request: Request, pk: str) -> Response:
        limit = _limit(pk)
        person: Subscriber | None = _checked(RestartSerializer, request).get("subscriber")

        def restart() -> int:
            server_limits.restart(limit, by(request), person)
            return limit.pk

        return self._done_once(restart, status.HTTP_200_OK)

    def _done_once(self, work: Callable[[], int], code: int) -> Response:
        done = idempotency.once(self.request, work)
        return idempotency.told(Response(_json(_limit(str(done.outcome)).pk), code), done)


def _checked(
    kind: type[StrictSerializer], request: Request, *, partial: bool = False
) -> dict[str, Any]:
    serializer = kind(data=json_object(request), partial=partial)
    serializer.is_valid(raise_exception=True)
    told: Mapping[str, Any] = serializer.validated_data
    return dict(told)


def _endpoint(server: str, port: int, protocol: str) -> Endpoint:
    """As reports name it."""
    try:
        return normalised_server(server), normalised_port(port), normalised_protocol(protocol)
    except InvalidReport as error:
        raise serializers.ValidationError(error.errors) from None


def _require_whole(limit: ServerLimit) -> None:
    try:
        limit.validate_constraints()
    except ModelError as error:
        raise ValidationError({"detail": " ".join(error.messages)}) from None


def _rows(now: datetime) -> QuerySet[ServerLimit]:
    rows = ServerLimit.objects.select_related("plan").prefetch_related("servers")
    return server_limits.with_usage(rows, now)


def _limit(pk: str) -> ServerLimit:
    limit = ServerLimit.objects.filter(pk=path_number(pk)).first()
    if limit is None:
        raise NotFound("There is no such limit.")
    return limit


def _json(pk: int) -> Any:
    now = timezone.now()
    return ServerLimitSerializer(_rows(now).get(pk=pk), context={"now": now}).data
