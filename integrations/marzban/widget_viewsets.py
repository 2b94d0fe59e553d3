"""``/api/xpert/marzban/widget`` and its script: external traffic in Marzban's own dashboard (contract: B7)."""

import functools
from importlib import resources
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from operations.api import exceptions
from operations.api.permissions import MayOperate
from operations.api.schema import OPERATOR_ERRORS
from operations.api.viewsets import OperatorViewSet
from subscriptions.conf import conf
from subscriptions.serving import headers
from traffic.api import schema
from traffic.api.days import WindowMixin

from . import widget
from .authentication import PanelAdmin

# Seconds for which a browser does not ask again; then it asks whether the script has changed.
_AGE = 300


class TrafficSerializer(serializers.Serializer[Any]):
    upload_bytes = serializers.IntegerField(source="upload")
    download_bytes = serializers.IntegerField(source="download")


class WidgetServerSerializer(TrafficSerializer):
    server = serializers.CharField()
    port = serializers.IntegerField()
    protocol = serializers.CharField()


class WidgetUserSerializer(serializers.Serializer[Any]):
    username = serializers.CharField()
    upload_bytes = serializers.IntegerField(source="traffic.upload")
    download_bytes = serializers.IntegerField(source="traffic.download")


class HandOverSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(["none", "never-connected", "paused", "silent", "connected"])
    seen_at = serializers.DateTimeField(allow_null=True)
    handed_over_at = serializers.DateTimeField(allow_null=True)
    unknown_bytes = serializers.IntegerField(source="unknown")


class WidgetSerializer(serializers.Serializer[Any]):
    scope = serializers.ChoiceField(["all", "own"])
    period_days = serializers.IntegerField()
    users = serializers.IntegerField()
    upload_bytes = serializers.IntegerField(source="total.upload")
    download_bytes = serializers.IntegerField(source="total.download")
    server_count = serializers.IntegerField()
    servers = WidgetServerSerializer(many=True)
    top_users = WidgetUserSerializer(many=True)
    hand_over = HandOverSerializer()
    panel_url = serializers.CharField(help_text="Empty without XPERT_DOMAIN.")


class MaySeeWidget(MayOperate):
    """Every admin of the linked panel may; one who is not sudo sees nothing but their own users."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, PanelAdmin) or super().has_permission(request, view)


class WidgetViewSet(WindowMixin, OperatorViewSet):
    permission_classes: ClassVar[list[type[BasePermission]]] = [MaySeeWidget]  # type: ignore[misc]
    scopes = {"retrieve": "read"}
    staff_permissions = {"retrieve": "traffic.view_usage"}

    @extend_schema(
        operation_id="marzban_widget",
        description="External traffic by server, and the state of the hand-over to Marzban. A Marzban admin who is not "
        "sudo gets the figures of their own users.",
        parameters=[schema.DAYS],
        responses={200: OpenApiResponse(WidgetSerializer), **OPERATOR_ERRORS},
    )
    def retrieve(self, request: Request) -> Response:
        window = self.window()
        admin = request.auth
        own = admin if isinstance(admin, PanelAdmin) and not admin.is_sudo else None
        found = widget.of_own(own.names, window) if own else widget.of_everybody(window)
        more = {
            "scope": "own" if own else "all",
            "period_days": window.days,
            "panel_url": "" if own or not conf.domain else f"{conf.domain}{conf.base_path}/admin/",
        }
        fields = {name: getattr(found, name) for name in found.__struct_fields__}
        return Response(WidgetSerializer(fields | more).data, headers={"Cache-Control": "no-store"})


@functools.cache
def _script() -> tuple[bytes, str]:
    content = (resources.files(__package__) / "static/marzban/widget.js").read_bytes()
    return content, headers.etag(content)


def script(request: HttpRequest) -> HttpResponse:
    """The widget is open to everybody, because it holds no figures."""
    if request.method not in {"GET", "HEAD"}:
        return exceptions.only_to_read(request.method)
    content, tag = _script()
    fields = {"ETag": tag, "Cache-Control": f"public, max-age={_AGE}"}
    if headers.matches(request.headers.get("If-None-Match", ""), tag):
        return HttpResponseNotModified(headers=fields)
    return HttpResponse(content, "text/javascript; charset=utf-8", headers=fields)
