"""Routes under ``/api/xpert/``, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from .views import InformViewSet

app_name = "three_x_ui"

urlpatterns: list[URLPattern] = [
    re_path(
        r"^inform/3x-ui/(?P<key>[^/]+)/?$",
        InformViewSet.as_view({"post": "create"}),
        name="inform",
    ),
]
