"""The figures: of one subscriber, of one server, of the whole panel."""

from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from traffic import reports, schema, statistics, subscribers, throttling
from traffic.conf import available_time_zones, conf
from traffic.serializers import (
    DatabaseInfoSerializer,
    GlobalStatisticsSerializer,
    MarzbanStatisticsSerializer,
    SeriesSerializer,
    ServerStatisticsSerializer,
    UserStatisticsSerializer,
    series_json,
)
from traffic.statistics import BucketSize, GlobalStatistics
from traffic.viewsets import ApiViewSet, OperatorViewSet, PublicViewSet, checked_days

MAX_HOURLY_DAYS = 31
_NOTHING = GlobalStatistics(users=0, servers=0, protocols=0, total=0, connections=0, top_servers=[])


class SeriesMixin(ApiViewSet):
    """Reads what both series ask for."""

    def bucket(self) -> BucketSize:
        bucket = self.request.query_params.get("bucket", "day")
        if bucket not in {"hour", "day"}:
            raise ValidationError({"bucket": ["Expected hour or day."]})
        days = self.request.query_params.get("days", "30")
        if bucket == "hour" and checked_days(days) > MAX_HOURLY_DAYS:
            raise ValidationError({"days": [f"Expected at most {MAX_HOURLY_DAYS} with bucket=hour."]})
        return cast(BucketSize, bucket)

    def zone(self) -> ZoneInfo:
        name = self.request.query_params.get("tz", "UTC")
        if name not in available_time_zones():
            raise ValidationError({"tz": ["Expected the name of a time zone, like Europe/Moscow."]})
        return ZoneInfo(name)


class UserStatisticsViewSet(SeriesMixin, PublicViewSet):
    """A subscriber's own figures: whoever knows the token may see them."""

    @extend_schema(
        operation_id="user_statistics",
        description="Usage of one subscriber by server, most used first. An unknown token answers with zeros.",
        parameters=[schema.TOKEN, schema.DAYS],
        responses={200: UserStatisticsSerializer, **schema.PUBLIC_ERRORS},
    )
    def retrieve(self, request: Request, user_token: str = "") -> Response:
        window = self.window()
        self._penalise_unknown(user_token)
        figures = msgspec.structs.asdict(statistics.user(user_token, window))
        return Response(UserStatisticsSerializer(figures | {"user_token": user_token, "period_days": window.days}).data)

    @extend_schema(
        operation_id="user_series",
        description="Usage of one subscriber over time, ready for a chart.",
        parameters=[schema.TOKEN, schema.DAYS, schema.BUCKET, schema.ZONE],
        responses={200: SeriesSerializer, **schema.PUBLIC_ERRORS},
    )
    def series(self, request: Request, user_token: str) -> Response:
        bucket, zone, window = self.bucket(), self.zone(), self.window()
        self._penalise_unknown(user_token)
        return Response(series_json(statistics.user_series(user_token, window, bucket, zone)))

    def _penalise_unknown(self, user_token: str) -> None:
        if subscribers.find(user_token) is None:
            throttling.penalise_address(self.request)


class StatisticsViewSet(SeriesMixin, OperatorViewSet):
    """Figures of the whole panel and of its servers."""

    scopes = {"overall": "read", "series": "read", "server": "read", "marzban": "read", "database": "read"}
    staff_permissions = {
        "overall": "traffic.view_usage",
        "series": "traffic.view_usage",
        "server": "traffic.view_server",
        "marzban": "traffic.view_usage",
        "database": "traffic.view_usage",
    }

    @extend_schema(
        operation_id="global_statistics",
        description="Totals of all subscribers and the ten servers with most traffic.",
        parameters=[schema.DAYS],
        responses={200: GlobalStatisticsSerializer, **schema.OPERATOR_ERRORS},
    )
    def overall(self, request: Request) -> Response:
        window = self.window()
        return Response(GlobalStatisticsSerializer(_figures(statistics.overall(window), window.days)).data)

    @extend_schema(
        operation_id="global_series",
        description="Usage of all subscribers over time, ready for a chart.",
        parameters=[schema.DAYS, schema.BUCKET, schema.ZONE],
        responses={200: SeriesSerializer, **schema.OPERATOR_ERRORS},
    )
    def series(self, request: Request) -> Response:
        bucket, zone = self.bucket(), self.zone()
        return Response(series_json(statistics.global_series(self.window(), bucket, zone)))

    @extend_schema(
        operation_id="server_statistics",
        description="Totals of one server over all its protocols, and of each UTC day that saw traffic.",
        parameters=[schema.SERVER, schema.PORT, schema.DAYS],
        responses={200: ServerStatisticsSerializer, **schema.OPERATOR_ERRORS},
    )
    def server(self, request: Request, server: str, port: str) -> Response:
        window = self.window()
        host, number = _endpoint(server, port)
        figures = statistics.server(host, number, window)
        average = figures.total / figures.connections if figures.connections else 0
        named = {"server": host, "port": number, "period_days": window.days, "average": average}
        return Response(ServerStatisticsSerializer(msgspec.structs.asdict(figures) | named).data)

    @extend_schema(
        operation_id="marzban_statistics",
        description="The totals in the form that the Marzban UI reads; zeros while tracking is off.",
        parameters=[schema.DAYS],
        responses={200: MarzbanStatisticsSerializer, **schema.OPERATOR_ERRORS},
    )
    def marzban(self, request: Request) -> Response:
        window = self.window()
        figures = _figures(statistics.overall(window) if conf.tracking_enabled else _NOTHING, window.days) | {
            "external_servers": conf.tracking_enabled,
            "integration_type": "xpert_panel",
            "data_source": "traffic_monitoring_system",
        }
        return Response(MarzbanStatisticsSerializer({"users_traffic": figures}).data)

    @extend_schema(
        operation_id="database_info",
        description="What is stored, and how much room it takes.",
        responses={200: DatabaseInfoSerializer, **schema.OPERATOR_ERRORS},
    )
    def database(self, request: Request) -> Response:
        info = statistics.database()
        more = {"database_size_mb": round(info.size / 2**20, 2), "retention_days": conf.retention_days}
        return Response(DatabaseInfoSerializer(msgspec.structs.asdict(info) | more).data)


def _figures(figures: GlobalStatistics, days: int) -> dict[str, Any]:
    return msgspec.structs.asdict(figures) | {"period_days": days, "no_servers": []}


def _endpoint(server: str, port: str) -> tuple[str, int]:
    try:
        return reports.normalised_server(server), reports.normalised_port(port)
    except reports.InvalidReport as error:
        raise ValidationError(error.errors) from None
