"""Parameters for the OpenAPI schema."""

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

from operations.conf import MAX_DAYS

TOKEN = OpenApiParameter(
    "user_token", str, OpenApiParameter.PATH, description="Token of the subscriber."
)
SERVER = OpenApiParameter(
    "server", str, OpenApiParameter.PATH, description="Host name, IPv4 or IPv6."
)
PORT = OpenApiParameter(
    "port", {"type": "integer", "minimum": 1, "maximum": 65535}, OpenApiParameter.PATH
)
DAYS = OpenApiParameter(
    "days",
    {"type": "integer", "minimum": 1, "maximum": MAX_DAYS},
    default=30,
    description="The last N × 24 hours.",
)
CLEANUP_DAYS = OpenApiParameter(
    "days",
    {"type": "integer", "minimum": 0, "maximum": MAX_DAYS},
    description="Delete records older than this; 0 = all. Default: the configured retention.",
)
BUCKET = OpenApiParameter("bucket", {"type": "string", "enum": ["hour", "day"]}, default="day")
ZONE = OpenApiParameter(
    "tz", str, default="UTC", description="Time zone in which a day begins, such as Europe/Moscow."
)

CLEANUP_ANSWER = inline_serializer(
    "CleanupAnswer",
    {
        "status": serializers.ChoiceField(["success", "skipped"]),
        "reason": serializers.CharField(required=False),
        "deleted_rows": serializers.IntegerField(),
        "cleanup_days": serializers.IntegerField(),
    },
)
CLEANUP_BODY = {
    "application/json": {
        "type": "object",
        "properties": {"days": {"type": "integer", "minimum": 0, "maximum": MAX_DAYS}},
    }
}
