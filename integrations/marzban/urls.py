"""Routes under ``/api/xpert/``, with and without a trailing slash."""

from django.urls import path, re_path

from .viewsets import MarzbanEventsViewSet
from .widget_viewsets import WidgetViewSet, script

app_name = "marzban"

urlpatterns = [
    re_path(r"^marzban-events/?$", MarzbanEventsViewSet.as_view({"post": "create"}), name="events"),
    re_path(r"^marzban/widget/?$", WidgetViewSet.as_view({"get": "retrieve"}), name="widget"),
    path("marzban/widget.js", script, name="widget-script"),
]
