"""Routes under ``/api/xpert/``, with and without a trailing slash."""

from django.urls import re_path

from .views import subscription
from .viewsets import DirectConfigViewSet, SourceViewSet

app_name = "subscriptions"

_many = DirectConfigViewSet.as_view({"get": "list", "post": "create"})
_one = DirectConfigViewSet.as_view({"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"})
_sources = SourceViewSet.as_view({"get": "list", "post": "create"})
_source = SourceViewSet.as_view({"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"})

urlpatterns = [
    re_path(r"^sub/?$", subscription, {"title": "Xpert Panel"}, name="subscription"),
    re_path(
        r"^direct-configs/sub/?$",
        subscription,
        {"title": "Xpert Direct", "direct_only": True},
        name="direct-subscription",
    ),
    re_path(r"^direct-configs/?$", _many, name="direct-configs"),
    re_path(r"^direct-configs/(?P<pk>[^/]+)/?$", _one, name="direct-config"),
    re_path(r"^sources/?$", _sources, name="sources"),
    re_path(r"^sources/(?P<pk>[^/]+)/?$", _source, name="source"),
]
