from typing import Any

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from django.views.i18n import set_language
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from traffic.throttling import AddressThrottle
from traffic.views.maintenance import MetricsViewSet, healthz, readyz
from traffic.viewsets import JSONOnly

handler400 = "traffic.views.errors.bad_request"
handler403 = "traffic.views.errors.permission_denied"
handler404 = "traffic.views.errors.not_found"
handler500 = "traffic.views.errors.server_error"

# Public like a subscriber's figures: limited by address, and one answer whatever is accepted.
_PUBLIC: dict[str, Any] = {
    "authentication_classes": [],
    "throttle_classes": [AddressThrottle],
    "content_negotiation_class": JSONOnly,
    "http_method_names": ["get", "head"],
}
_schema = SpectacularAPIView.as_view(renderer_classes=[OpenApiJsonRenderer2], **_PUBLIC)
_docs = SpectacularSwaggerSplitView.as_view(url_name="schema", **_PUBLIC)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/language/", set_language, name="set_language"),
    path("admin/", admin.site.urls),
    re_path(r"^healthz/?$", healthz, name="healthz"),
    re_path(r"^readyz/?$", readyz, name="readyz"),
    re_path(r"^metrics/?$", MetricsViewSet.as_view({"get": "retrieve"}), name="metrics"),
    re_path(r"^api/xpert/schema/?$", _schema, name="schema"),
    re_path(r"^api/xpert/docs/?$", _docs, name="docs"),
    path("api/xpert/", include("subscriptions.urls")),
    path("api/xpert/", include("traffic.urls")),
]
