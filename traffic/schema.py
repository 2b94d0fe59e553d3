"""What the OpenAPI schema says beyond what the views show: parameters, the webhook's body, the plain endpoints."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from .reports import MAX_BATCH, MAX_BYTES

DETAIL = inline_serializer("Detail", {"detail": serializers.CharField()})
ERRORS = OpenApiResponse(OpenApiTypes.OBJECT, "A field is wrong: its name with a list of sentences, or `detail`.")

_PUBLIC = {
    411: OpenApiResponse(DETAIL, "A body without Content-Length."),
    429: OpenApiResponse(DETAIL, "Too many requests; see Retry-After."),
    503: OpenApiResponse(DETAIL, "The database is busy or full; see Retry-After."),
}
PUBLIC_ERRORS = {400: ERRORS, **_PUBLIC}
OPERATOR_ERRORS = {
    **PUBLIC_ERRORS,
    401: OpenApiResponse(DETAIL, "No key, or a wrong one."),
    403: OpenApiResponse(DETAIL, "The key or the user may not do this."),
}
BODY_ERRORS = {
    413: OpenApiResponse(DETAIL, "The body is too large."),
    415: OpenApiResponse(DETAIL, "The body is not application/json."),
}

TOKEN = OpenApiParameter("user_token", str, OpenApiParameter.PATH, description="Token of the subscriber.")
SERVER = OpenApiParameter("server", str, OpenApiParameter.PATH, description="Host name, IPv4 or IPv6.")
PORT = OpenApiParameter("port", {"type": "integer", "minimum": 1, "maximum": 65535}, OpenApiParameter.PATH)
DAYS = OpenApiParameter(
    "days", {"type": "integer", "minimum": 1, "maximum": 3650}, default=30, description="The last N × 24 hours."
)
CLEANUP_DAYS = OpenApiParameter(
    "days",
    {"type": "integer", "minimum": 0, "maximum": 3650},
    description="Delete records older than this; 0 = all. Without it: the configured retention.",
)
BUCKET = OpenApiParameter("bucket", {"type": "string", "enum": ["hour", "day"]}, default="day")
ZONE = OpenApiParameter("tz", str, default="UTC", description="Time zone that moves the day's edge: Europe/Moscow.")
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{1,64}$"},
    OpenApiParameter.HEADER,
    description="event_id of a single report.",
)

_BYTES = {"type": "integer", "minimum": 0, "maximum": MAX_BYTES, "default": 0}
_REPORT = {
    "type": "object",
    "required": ["user_token", "server", "port", "protocol"],
    "properties": {
        "user_token": {"type": "string", "pattern": "^[A-Za-z0-9._~@:=+-]{1,255}$"},
        "server": {"type": "string", "description": "Host name, IPv4 or IPv6.", "maxLength": 253},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "protocol": {"type": "string", "pattern": "^[A-Za-z0-9._+-]{1,32}$"},
        "bytes_uploaded": _BYTES,
        "bytes_downloaded": _BYTES,
        "event_id": {"type": "string", "nullable": True, "pattern": "^[!-~]{1,64}$"},
        "timestamp": {
            "nullable": True,
            "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
            "description": "When the traffic flowed: ISO 8601 with a zone, or Unix seconds.",
        },
    },
}
_REPORTS = {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": _REPORT}
REPORT_BODY = {
    "application/json": {
        "oneOf": [_REPORT, {"type": "object", "required": ["reports"], "properties": {"reports": _REPORTS}}, _REPORTS],
        "example": {
            "user_token": "user123",
            "server": "vpn.example.com",
            "port": 443,
            "protocol": "vless",
            "bytes_uploaded": 1048576,
            "bytes_downloaded": 2097152,
        },
    }
}
REPORT_ANSWER = inline_serializer(
    "ReportAnswer",
    {
        "status": serializers.CharField(),
        "message": serializers.CharField(),
        "duplicate": serializers.BooleanField(required=False),
        "recorded": serializers.IntegerField(required=False),
        "duplicates": serializers.IntegerField(required=False),
        "rejected": serializers.ListField(child=serializers.DictField(), required=False),
    },
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
        "properties": {"days": {"type": "integer", "minimum": 0, "maximum": 3650}},
    }
}


def without_trailing_slash(endpoints: list[tuple[str, ...]], **_: Any) -> list[tuple[str, ...]]:
    """Every route takes both forms; the schema names the one of the guide."""
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints]


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "traffic.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key; X-Api-Key is understood as well."}


class StaffScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "traffic.authentication.StaffAuthentication"
    name = "Staff"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
