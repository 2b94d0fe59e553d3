"""Routes under ``/api/xpert/``, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from subscriptions.api.devices import DeviceViewSet
from subscriptions.api.server_limits import ServerLimitViewSet
from subscriptions.api.subscribers import SubscriberViewSet
from subscriptions.api.subscribers_bulk import BulkSubscriberViewSet
from subscriptions.api.templates import TemplateViewSet
from subscriptions.api.viewsets import DirectConfigViewSet, SourceViewSet
from subscriptions.serving.preferences import tell_me
from subscriptions.serving.views import servers, subscription

app_name = "subscriptions"

_many = DirectConfigViewSet.as_view({"get": "list", "post": "create"})
_one = DirectConfigViewSet.as_view(
    {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}
)
_sources = SourceViewSet.as_view({"get": "list", "post": "create"})
_source = SourceViewSet.as_view(
    {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}
)
_templates = TemplateViewSet.as_view({"get": "list", "post": "create"})
_template = TemplateViewSet.as_view(
    {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}
)
_limits = ServerLimitViewSet.as_view({"get": "list", "post": "create"})
_limit = ServerLimitViewSet.as_view(
    {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
)
_subscribers = SubscriberViewSet.as_view({"get": "list", "post": "create"})
_subscriber = SubscriberViewSet.as_view(
    {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
)

_devices = DeviceViewSet.as_view({"get": "list", "delete": "destroy_all"})
_device = DeviceViewSet.as_view({"get": "retrieve", "delete": "destroy"})


def _action(path: str, name: str, **others: str) -> URLPattern:
    """``others``: actions by further methods."""
    view = SubscriberViewSet.as_view({"post": name, **others})
    return re_path(rf"^subscribers/(?P<pk>[^/]+)/{path}/?$", view, name=f"subscriber-{path}")


urlpatterns = [
    re_path(r"^sub/?$", subscription, {"title": "Xpert Panel"}, name="subscription"),
    re_path(
        r"^direct-configs/sub/?$",
        subscription,
        {"title": "Xpert Direct", "direct_only": True},
        name="direct-subscription",
    ),
    re_path(r"^servers/?$", servers, name="servers"),
    re_path(r"^tell-me/?$", tell_me, name="tell-me"),
    re_path(r"^direct-configs/?$", _many, name="direct-configs"),
    re_path(r"^direct-configs/(?P<pk>[^/]+)/?$", _one, name="direct-config"),
    re_path(r"^sources/?$", _sources, name="sources"),
    re_path(r"^sources/(?P<pk>[^/]+)/?$", _source, name="source"),
    re_path(r"^templates/?$", _templates, name="templates"),
    re_path(r"^templates/(?P<pk>[^/]+)/?$", _template, name="template"),
    re_path(r"^server-limits/?$", _limits, name="server-limits"),
    re_path(r"^server-limits/(?P<pk>[^/]+)/?$", _limit, name="server-limit"),
    re_path(
        r"^server-limits/(?P<pk>[^/]+)/restart/?$",
        ServerLimitViewSet.as_view({"post": "restart"}),
        name="server-limit-restart",
    ),
    re_path(r"^subscribers/?$", _subscribers, name="subscribers"),
    re_path(
        r"^subscribers/bulk/?$",
        BulkSubscriberViewSet.as_view({"post": "create"}),
        name="subscribers-bulk",
    ),
    re_path(r"^subscribers/(?P<pk>[^/]+)/?$", _subscriber, name="subscriber"),
    _action("extend", "extend"),
    _action("restart-period", "restart_period"),
    _action("new-token", "new_token"),
    _action("apply-plan", "apply_plan"),
    _action("next-plan", "next_plan", delete="cancel_next_plans"),
    _action("renew", "renew"),
    _action("correct", "correct"),
    re_path(r"^subscribers/(?P<pk>[^/]+)/devices/?$", _devices, name="devices"),
    re_path(r"^subscribers/(?P<pk>[^/]+)/devices/(?P<device>[^/]+)/?$", _device, name="device"),
]
