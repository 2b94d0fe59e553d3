"""Routes under ``/api/xpert/``, with and without a trailing slash."""

from django.urls import re_path

from gateways.api.viewsets import GatewayConfigViewSet, GatewayStateViewSet

app_name = "gateways"

_config = GatewayConfigViewSet.as_view({"get": "retrieve"})
_state = GatewayStateViewSet.as_view({"post": "create"})

urlpatterns = [
    re_path(r"^gateways/(?P<name>[A-Za-z0-9._-]{1,64})/config/?$", _config, name="config"),
    re_path(r"^gateways/(?P<name>[A-Za-z0-9._-]{1,64})/state/?$", _state, name="state"),
]
