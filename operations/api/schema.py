"""Common parts of the OpenAPI schema: errors and authentication."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, inline_serializer
from rest_framework import serializers

DETAIL = inline_serializer("Detail", {"detail": serializers.CharField()})


ERRORS = OpenApiResponse(
    OpenApiTypes.OBJECT, "A field is wrong: its name with a list of messages, or `detail`."
)


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


def without_trailing_slash(endpoints: list[tuple[str, ...]], **_: Any) -> list[tuple[str, ...]]:
    """Every route accepts both forms; the schema shows the one in the guide."""
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints]


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "operations.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key. The header X-Api-Key is accepted too.",
        }


class StaffScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "operations.api.authentication.StaffAuthentication"
    name = "Staff"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
