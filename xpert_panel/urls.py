from typing import Any

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from django.views.i18n import set_language
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from operations.api.throttling import AddressThrottle
from operations.api.viewsets import JSONOnly
from operations.http.middleware import with_own_styles
from operations.http.probes import MetricsViewSet, healthz, readyz

handler400 = "operations.http.error_pages.bad_request"
handler403 = "operations.http.error_pages.permission_denied"
handler404 = "operations.http.error_pages.not_found"
handler500 = "operations.http.error_pages.server_error"

# Public like a subscriber's statistics: rate-limited by address, and one format whatever Accept says.
_PUBLIC: dict[str, Any] = {
    "authentication_classes": [],
    "throttle_classes": [AddressThrottle],
    "content_negotiation_class": JSONOnly,
    "http_method_names": ["get", "head"],
}
_schema = SpectacularAPIView.as_view(renderer_classes=[OpenApiJsonRenderer2], **_PUBLIC)
_docs = with_own_styles(SpectacularSwaggerSplitView.as_view(url_name="schema", **_PUBLIC))

# The webhook comes first: every pattern before it is tried for every report.
urlpatterns = [
    path("api/xpert/", include("traffic.urls")),
    path("api/xpert/", include("subscriptions.urls")),
    path("api/xpert/", include("integrations.three_x_ui.urls")),
    path("api/xpert/", include("integrations.marzban.urls")),
    path("api/xpert/", include("integrations.telegram.urls")),
    path("api/xpert/", include("gateways.urls")),
    re_path(r"^api/xpert/schema/?$", _schema, name="schema"),
    re_path(r"^api/xpert/docs/?$", _docs, name="docs"),
    re_path(r"^healthz/?$", healthz, name="healthz"),
    re_path(r"^readyz/?$", readyz, name="readyz"),
    re_path(r"^metrics/?$", MetricsViewSet.as_view({"get": "retrieve"}), name="metrics"),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/language/", set_language, name="set_language"),
    path("admin/", admin.site.urls),
    path("", include("integrations.marzban.panel_urls")),
]
