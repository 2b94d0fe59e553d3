"""What the OpenAPI schema says of 3x-ui's messages."""

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

from traffic.reports import MAX_BYTES

from .wire import MAX_EMAIL

KEY = OpenApiParameter(
    "key", str, OpenApiParameter.PATH, description="An API key of scope report or manage."
)

_BYTES = {"type": "integer", "minimum": 0, "maximum": MAX_BYTES, "nullable": True}

_CLIENT = {
    "type": "object",
    "description": "Bytes since the message before. All other fields are ignored.",
    "properties": {
        "email": {"type": "string", "maxLength": MAX_EMAIL},
        "up": _BYTES,
        "down": _BYTES,
    },
}

BODY = {
    "application/json": {
        "type": "object",
        "properties": {
            "clientTraffics": {"type": "array", "nullable": True, "items": _CLIENT},
            "inboundTraffics": {
                "description": "Not read: the same bytes once more.",
                "nullable": True,
            },
        },
        "example": {
            "clientTraffics": [{"email": "alice", "up": 1048576, "down": 2097152}],
            "inboundTraffics": None,
        },
    }
}

ANSWER = inline_serializer(
    "InformAnswer",
    {
        "status": serializers.CharField(),
        "recorded": serializers.IntegerField(
            required=False, help_text="People whose bytes are counted."
        ),
        "waiting": serializers.IntegerField(
            required=False,
            help_text="People whose bytes are on disk until the database takes them.",
        ),
        "rejected": serializers.ListField(child=serializers.DictField()),
    },
)
