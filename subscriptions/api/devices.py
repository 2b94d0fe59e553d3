"""``/api/xpert/subscribers/{id}/devices``: what fetched the list of a subscriber whose devices are limited."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.authors import by
from operations.api.schema import OPERATOR_ERRORS
from subscriptions import devices
from subscriptions.models import Device
from traffic.models import Subscriber

from .requests import ID, path_number
from .subscribers import CHANGE, HEEDED, NOT_FOUND, SubscriberEndpoint, no_subscriber

_DEVICE = OpenApiParameter("device", OpenApiTypes.INT, OpenApiParameter.PATH)


class DeviceSerializer(serializers.ModelSerializer[Device]):
    class Meta:
        model = Device
        fields = ["id", "system", "system_version", "model", "app", "first_seen", "last_seen"]


class DevicesSerializer(serializers.Serializer[Any]):
    device_limit = serializers.IntegerField(allow_null=True)
    devices = DeviceSerializer(many=True, help_text="In the order in which they came.")


class DeviceViewSet(SubscriberEndpoint):
    """The devices of one subscriber."""

    scopes = {"list": "read", "retrieve": "read"}
    staff_permissions = {
        "list": "traffic.view_subscriber",
        "retrieve": "traffic.view_subscriber",
        "destroy": CHANGE,
        "destroy_all": CHANGE,
    }
    limits = dict.fromkeys(staff_permissions, HEEDED)

    @extend_schema(
        operation_id="list_devices",
        description="The first `device_limit` of them get the list.",
        parameters=[ID],
        responses={200: DevicesSerializer(many=False), **OPERATOR_ERRORS, **NOT_FOUND},
    )
    def list(self, request: Request, pk: str) -> Response:
        subscriber = self._subscriber(pk)
        found = Device.objects.filter(subscriber=subscriber)
        told = {"device_limit": subscriber.device_limit, "devices": found}
        return Response(DevicesSerializer(told).data)

    @extend_schema(
        operation_id="read_device",
        description="One of them.",
        parameters=[ID, _DEVICE],
        responses={200: DeviceSerializer, **OPERATOR_ERRORS, **NOT_FOUND},
    )
    def retrieve(self, request: Request, pk: str, device: str) -> Response:
        known = Device.objects.filter(subscriber=self._subscriber(pk), pk=path_number(device))
        found = known.first()
        if found is None:
            raise _no_device()
        return Response(DeviceSerializer(found).data)

    @extend_schema(
        operation_id="forget_device",
        description="Its place is free again: the next new device gets it.",
        parameters=[ID, _DEVICE],
        responses={204: None, **OPERATOR_ERRORS, **NOT_FOUND},
    )
    def destroy(self, request: Request, pk: str, device: str) -> Response:
        if not devices.forget(self._subscriber(pk), path_number(device), by(request)):
            raise _no_device()
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="forget_devices",
        description="All places are free again.",
        parameters=[ID],
        responses={204: None, **OPERATOR_ERRORS, **NOT_FOUND},
    )
    def destroy_all(self, request: Request, pk: str) -> Response:
        devices.forget(self._subscriber(pk), None, by(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _subscriber(self, pk: str) -> Subscriber:
        found = self.mine().visible().filter(pk=path_number(pk)).first()
        if found is None:
            raise no_subscriber()
        return found


def _no_device() -> NotFound:
    return NotFound("There is no such device.")
