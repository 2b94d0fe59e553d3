"""Routes under ``/api/xpert/``, with and without a trailing slash. Literal ones stand before ``<user_token>``."""

from django.urls import URLPattern, re_path

from traffic.api.cleanup import CleanupViewSet
from traffic.api.statistics import StatisticsViewSet, UserStatisticsViewSet
from traffic.intake.readings import ReadingViewSet
from traffic.intake.webhook import ReportViewSet

app_name = "traffic"

_series = UserStatisticsViewSet.as_view({"get": "series"})
_user = UserStatisticsViewSet.as_view({"get": "retrieve"})


urlpatterns: list[URLPattern] = [
    re_path(r"^traffic-webhook/?$", ReportViewSet.as_view({"post": "create"}), name="webhook"),
    re_path(
        r"^meter-readings/?$", ReadingViewSet.as_view({"post": "create"}), name="meter-readings"
    ),
    re_path(
        r"^marzban-traffic-stats/?$", StatisticsViewSet.as_view({"get": "marzban"}), name="marzban"
    ),
    re_path(
        r"^traffic-stats/global/?$", StatisticsViewSet.as_view({"get": "overall"}), name="global"
    ),
    re_path(
        r"^traffic-stats/global/series/?$",
        StatisticsViewSet.as_view({"get": "series"}),
        name="global-series",
    ),
    re_path(
        r"^traffic-stats/cleanup/?$", CleanupViewSet.as_view({"post": "create"}), name="cleanup"
    ),
    re_path(
        r"^traffic-stats/database/info/?$",
        StatisticsViewSet.as_view({"get": "database"}),
        name="database-info",
    ),
    re_path(
        r"^traffic-stats/server/(?P<server>[^/]+)/(?P<port>[^/]+)/?$",
        StatisticsViewSet.as_view({"get": "server"}),
        name="server",
    ),
    re_path(r"^traffic-stats/(?P<user_token>[^/]+)/series/?$", _series, name="user-series"),
    # Whatever a page asks for while a token is being typed is a token that nobody has.
    re_path(r"^traffic-stats/(?P<user_token>(?s:.*?))/?$", _user, name="user"),
]
