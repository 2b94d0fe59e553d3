"""Statistics of one subscriber, of one server and of the whole panel."""

from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api import throttling
from operations.api.schema import OPERATOR_ERRORS, PUBLIC_ERRORS
from operations.api.viewsets import OperatorViewSet, PublicViewSet
from operations.conf import available_time_zones
from operations.databases import replica
from operations.models import ApiKey
from traffic import reports
from traffic.conf import conf
from traffic.figures import statistics
from traffic.figures.statistics import BucketSize, GlobalStatistics
from traffic.key_options import SERVERS, allows_server
from traffic.people import subscribers
from traffic.periods import Window

from . import schema
from .days import WindowMixin
from .serializers import (
    DatabaseInfoSerializer,
    GlobalStatisticsSerializer,
    MarzbanStatisticsSerializer,
    SeriesSerializer,
    ServerStatisticsSerializer,
    UserStatisticsSerializer,
    series_json,
)

MAX_HOURLY_DAYS = 31
_NOTHING = GlobalStatistics(users=0, servers=0, protocols=0, total=0, reports=0, top_servers=[])


class SeriesMixin(WindowMixin):
    """Reads the parameters of both series."""

    def bucket(self, window: Window) -> BucketSize:
        bucket = self.request.query_params.get("bucket", "day")
        if bucket not in {"hour", "day"}:
            raise ValidationError({"bucket": ["Expected hour or day."]})
        if bucket == "hour" and window.days > MAX_HOURLY_DAYS:
            raise ValidationError(
                {"days": [f"Expected at most {MAX_HOURLY_DAYS} with bucket=hour."]}
            )
        return cast(BucketSize, bucket)

    def zone(self) -> ZoneInfo:
        name = self.request.query_params.get("tz", "UTC")
        if name not in available_time_zones():
            raise ValidationError({"tz": ["Expected the name of a time zone, like Europe/Moscow."]})
        return ZoneInfo(name)


class UserStatisticsViewSet(SeriesMixin, PublicViewSet):
    """Statistics of one subscriber; anyone who knows the token may read them."""

    @extend_schema(
        operation_id="user_statistics",
        description="Usage of one subscriber by server, most used first. An unknown token answers with zeros.",
        parameters=[schema.TOKEN, schema.DAYS],
        responses={200: UserStatisticsSerializer, **PUBLIC_ERRORS},
    )
    def retrieve(self, request: Request, user_token: str = "") -> Response:
        window = self.window()
        own = self._own_token(user_token)
        figures = msgspec.structs.asdict(statistics.user(own, window))
        return Response(
            UserStatisticsSerializer(
                figures | {"user_token": user_token, "period_days": window.days}
            ).data
        )

    @extend_schema(
        operation_id="user_series",
        description="Usage of one subscriber over time, ready for a chart.",
        parameters=[schema.TOKEN, schema.DAYS, schema.BUCKET, schema.ZONE],
        responses={200: SeriesSerializer, **PUBLIC_ERRORS},
    )
    def series(self, request: Request, user_token: str) -> Response:
        window = self.window()
        bucket, zone = self.bucket(window), self.zone()
        own = self._own_token(user_token)
        return Response(series_json(statistics.user_series(own, window, bucket, zone)))

    def _own_token(self, user_token: str) -> str:
        """Unknown tokens cost double."""
        own = subscribers.own_token(user_token)
        if subscribers.find(own) is None:
            throttling.penalise_address(self.request)
        return own


class StatisticsViewSet(SeriesMixin, OperatorViewSet):
    """Statistics of the whole panel and of its servers."""

    scopes = {
        "overall": "read",
        "series": "read",
        "server": "read",
        "marzban": "read",
        "database": "read",
    }
    staff_permissions = {
        "overall": "traffic.view_usage",
        "series": "traffic.view_usage",
        "server": "traffic.view_server",
        "marzban": "traffic.view_usage",
        "database": "traffic.view_usage",
    }
    limits = {"server": frozenset({SERVERS.name})}

    @extend_schema(
        operation_id="global_statistics",
        description="Totals of all subscribers, and the ten servers with the most traffic.",
        parameters=[schema.DAYS],
        responses={200: GlobalStatisticsSerializer, **OPERATOR_ERRORS},
    )
    @replica.reading()
    def overall(self, request: Request) -> Response:
        window = self.window()
        return Response(
            GlobalStatisticsSerializer(_figures(statistics.overall(window), window.days)).data
        )

    @extend_schema(
        operation_id="global_series",
        description="Usage of all subscribers over time, ready for a chart.",
        parameters=[schema.DAYS, schema.BUCKET, schema.ZONE],
        responses={200: SeriesSerializer, **OPERATOR_ERRORS},
    )
    @replica.reading()
    def series(self, request: Request) -> Response:
        window = self.window()
        bucket, zone = self.bucket(window), self.zone()
        return Response(series_json(statistics.global_series(window, bucket, zone)))

    @extend_schema(
        operation_id="server_statistics",
        description="Totals of one server over all its protocols, and of each UTC day that saw traffic.",
        parameters=[schema.SERVER, schema.PORT, schema.DAYS],
        responses={200: ServerStatisticsSerializer, **OPERATOR_ERRORS},
    )
    @replica.reading()
    def server(self, request: Request, server: str, port: str) -> Response:
        window = self.window()
        host, number = _endpoint(server, port)
        if isinstance(request.auth, ApiKey) and not allows_server(request.auth, host, number):
            raise PermissionDenied("This key is limited to other servers.")
        figures = statistics.server(host, number, window)
        average = figures.total / figures.reports if figures.reports else 0
        named = {"server": host, "port": number, "period_days": window.days, "average": average}
        return Response(ServerStatisticsSerializer(msgspec.structs.asdict(figures) | named).data)

    @extend_schema(
        operation_id="marzban_statistics",
        description="The totals in the form that the Marzban UI reads; zeros while tracking is off.",
        parameters=[schema.DAYS],
        responses={200: MarzbanStatisticsSerializer, **OPERATOR_ERRORS},
    )
    @replica.reading()
    def marzban(self, request: Request) -> Response:
        window = self.window()
        figures = _figures(
            statistics.overall(window) if conf.tracking_enabled else _NOTHING, window.days
        ) | {
            "external_servers": conf.tracking_enabled,
            "integration_type": "xpert_panel",
            "data_source": "traffic_monitoring_system",
        }
        return Response(MarzbanStatisticsSerializer({"users_traffic": figures}).data)

    @extend_schema(
        operation_id="database_info",
        description="Number of stored records, and the size of the database.",
        responses={200: DatabaseInfoSerializer, **OPERATOR_ERRORS},
    )
    def database(self, request: Request) -> Response:
        info = statistics.database()
        more = {
            "database_size_mb": round(info.size / 2**20, 2),
            "retention_days": conf.retention_days,
        }
        return Response(DatabaseInfoSerializer(msgspec.structs.asdict(info) | more).data)


def _figures(figures: GlobalStatistics, days: int) -> dict[str, Any]:
    return msgspec.structs.asdict(figures) | {"period_days": days, "no_servers": []}


def _endpoint(server: str, port: str) -> tuple[str, int]:
    try:
        return reports.normalised_server(server), reports.normalised_port(port)
    except reports.InvalidReport as error:
        raise ValidationError(error.errors) from None
