"""The JSON of the answers, from the structs of ``statistics``. Bytes are converted to GB only here."""

from datetime import UTC
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from operations.units import gigabytes
from traffic.figures.statistics import Series


@extend_schema_field(OpenApiTypes.DOUBLE)
class GigabytesField(serializers.Field[int, Any, float, Any]):
    """Bytes as a JSON number of GB with 3 decimals."""

    def to_representation(self, value: int) -> float:
        return gigabytes(value)


class ShareSerializer(serializers.Serializer[Any]):
    server = serializers.CharField()
    port = serializers.IntegerField()
    protocol = serializers.CharField()
    upload_gb = GigabytesField(source="upload")
    download_gb = GigabytesField(source="download")
    total_gb = GigabytesField(source="total")
    connections = serializers.IntegerField(source="reports")
    last_used = serializers.DateTimeField(
        source="last_used_at", format="%Y-%m-%d %H:%M:%S", default_timezone=UTC
    )


class UserStatisticsSerializer(serializers.Serializer[Any]):
    user_token = serializers.CharField()
    total_gb_used = GigabytesField(source="total")
    period_days = serializers.IntegerField()
    servers = ShareSerializer(many=True)


class TopServerSerializer(serializers.Serializer[Any]):
    server = serializers.CharField()
    port = serializers.IntegerField()
    protocol = serializers.CharField()
    total_gb = GigabytesField(source="total")


class TotalsSerializer(serializers.Serializer[Any]):
    total_users = serializers.IntegerField(source="users")
    total_servers = serializers.IntegerField(source="servers")
    total_gb_used = GigabytesField(source="total")
    total_connections = serializers.IntegerField(source="reports")
    total_protocols = serializers.IntegerField(source="protocols")


class GlobalStatisticsSerializer(TotalsSerializer):
    period_days = serializers.IntegerField()
    top_servers = TopServerSerializer(many=True)
    # Always empty, for pages that treat "global" as a user's token and expect this key.
    servers = serializers.ListField(child=ShareSerializer(), max_length=0, source="no_servers")


class MarzbanTotalsSerializer(TotalsSerializer):
    period_days = serializers.IntegerField()
    external_servers = serializers.BooleanField()
    integration_type = serializers.CharField()
    data_source = serializers.CharField()


class MarzbanStatisticsSerializer(serializers.Serializer[Any]):
    users_traffic = MarzbanTotalsSerializer()


class DaySerializer(serializers.Serializer[Any]):
    date = serializers.DateField()
    total_gb = GigabytesField(source="total")
    unique_users = serializers.IntegerField(source="users")


class ServerStatisticsSerializer(serializers.Serializer[Any]):
    server = serializers.CharField()
    port = serializers.IntegerField()
    period_days = serializers.IntegerField()
    unique_users = serializers.IntegerField(source="users")
    total_gb_used = GigabytesField(source="total")
    total_connections = serializers.IntegerField(source="reports")
    avg_gb_per_connection = GigabytesField(source="average")
    daily_stats = DaySerializer(many=True, source="days")


class PointSerializer(serializers.Serializer[Any]):
    time = serializers.DateTimeField()
    upload_bytes = serializers.IntegerField(source="upload")
    download_bytes = serializers.IntegerField(source="download")
    connections = serializers.IntegerField(source="reports")


class DatabaseInfoSerializer(serializers.Serializer[Any]):
    database_path = serializers.CharField(source="path")
    total_records = serializers.IntegerField(source="records")
    unique_users = serializers.IntegerField(source="users")
    unique_servers = serializers.IntegerField(source="servers")
    database_size_mb = serializers.FloatField()
    retention_days = serializers.IntegerField()


class SeriesSerializer(serializers.Serializer[Any]):
    """Documents a series. ``series_json`` writes it, because a serializer needs more time per point than the query."""

    bucket = serializers.ChoiceField(choices=["hour", "day"])
    to = serializers.DateTimeField()
    points = PointSerializer(many=True)

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.DateTimeField()}


def series_json(series: Series) -> dict[str, Any]:
    return {
        "bucket": series.bucket,
        "from": series.start.isoformat(),
        "to": series.end.isoformat(),
        "points": [
            {
                "time": point.time.isoformat(),
                "upload_bytes": point.upload,
                "download_bytes": point.download,
                "connections": point.reports,
            }
            for point in series.points
        ],
    }
