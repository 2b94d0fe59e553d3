"""The OpenAPI schema of reports and meter readings, and of the responses to them."""

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

from operations.hosts import MAX_NAME
from traffic.readings import MAX_SOURCES, MAX_TOTAL
from traffic.reports import EVENT_ID_PATTERN, MAX_BATCH, MAX_BYTES, PROTOCOL_PATTERN, TOKEN_PATTERN

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^{EVENT_ID_PATTERN}$"},
    OpenApiParameter.HEADER,
    description="event_id of a single report.",
)


_BYTES = {"type": "integer", "minimum": 0, "maximum": MAX_BYTES, "default": 0}


_REPORT = {
    "type": "object",
    "required": ["user_token", "server", "port", "protocol"],
    "properties": {
        "user_token": {"type": "string", "pattern": f"^{TOKEN_PATTERN}$"},
        "server": {
            "type": "string",
            "description": "Host name, IPv4 or IPv6.",
            "maxLength": MAX_NAME,
        },
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "protocol": {"type": "string", "pattern": f"^{PROTOCOL_PATTERN}$"},
        "bytes_uploaded": _BYTES,
        "bytes_downloaded": _BYTES,
        "event_id": {"type": "string", "nullable": True, "pattern": f"^{EVENT_ID_PATTERN}$"},
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
        "oneOf": [
            _REPORT,
            {"type": "object", "required": ["reports"], "properties": {"reports": _REPORTS}},
            _REPORTS,
        ],
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


_TOTAL = {"type": "integer", "minimum": 0, "maximum": MAX_TOTAL}


_READING = {
    "type": "object",
    "description": "Either user_token or (with an API key) person says whose the totals are.",
    "required": ["server", "port", "protocol", "total_uploaded", "total_downloaded"],
    "properties": {
        "user_token": {"type": "string", "pattern": f"^{TOKEN_PATTERN}$"},
        "person": {"type": "string", "minLength": 1, "maxLength": 255},
        "server": {"type": "string", "description": "Host name, IPv4 or IPv6.", "maxLength": 253},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "protocol": {"type": "string", "pattern": "^[A-Za-z0-9._+-]{1,32}$"},
        "total_uploaded": _TOTAL,
        "total_downloaded": _TOTAL,
        "timestamp": {
            "nullable": True,
            "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
            "description": "When the totals were read: ISO 8601 with a zone, or Unix seconds.",
        },
    },
}


_SOURCE = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "kind": {"type": "string"},
        "ok": {"type": "boolean"},
        "read_at": {"type": "number", "nullable": True},
        "error": {"type": "string", "nullable": True},
    },
}


READINGS_BODY = {
    "application/json": {
        "type": "object",
        "required": ["meter", "run", "readings"],
        "properties": {
            "meter": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
            "run": {
                "type": "integer",
                "minimum": 0,
                "description": "Unix seconds when its totals began at 0.",
            },
            "baseline": {
                "type": "boolean",
                "description": "Remember the totals, count nothing.",
            },
            "readings": {"type": "array", "maxItems": MAX_BATCH, "items": _READING},
            "sources": {
                "type": "array",
                "nullable": True,
                "maxItems": MAX_SOURCES,
                "items": _SOURCE,
                "description": "What the program reads, and whether it reaches it.",
            },
        },
        "example": {
            "meter": "gateway-1",
            "run": 1795886637,
            "readings": [
                {
                    "user_token": "user123",
                    "server": "vpn.example.com",
                    "port": 443,
                    "protocol": "vless",
                    "total_uploaded": 1048576,
                    "total_downloaded": 2097152,
                }
            ],
        },
    }
}


READINGS_ANSWER = inline_serializer(
    "ReadingsAnswer",
    {
        "status": serializers.CharField(),
        "recorded": serializers.IntegerField(),
        "unchanged": serializers.IntegerField(),
        "stale": inline_serializer(
            "StaleReading",
            {
                "index": serializers.IntegerField(),
                "run": serializers.IntegerField(),
                "total_uploaded": serializers.IntegerField(),
                "total_downloaded": serializers.IntegerField(),
            },
            many=True,
        ),
        "rejected": serializers.ListField(child=serializers.DictField()),
    },
)
