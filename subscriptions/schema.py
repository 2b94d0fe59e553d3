"""The subscription URLs in the OpenAPI schema: they are plain views, which drf-spectacular does not see."""

from typing import Any

_TOKEN = {"name": "user_token", "in": "query", "required": True, "schema": {"type": "string"}}
_FORMAT = {
    "name": "format",
    "in": "query",
    "description": "Without it the User-Agent decides; a browser gets `html`, the subscriber's page.",
    "schema": {
        "type": "string",
        "enum": ["plain", "universal", "base64", "mihomo", "clash", "sing-box", "xray", "html"],
    },
}
_LANG = {
    "name": "lang",
    "in": "query",
    "description": "Language of the page: en, ru or fa. Without it Accept-Language decides.",
    "schema": {"type": "string"},
}
_DAYS = {
    "name": "days",
    "in": "query",
    "description": "Days in the chart of the page: 7, 30 or 90.",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
_DETAIL = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
_BODIES = {
    "text/plain": {"schema": {"type": "string"}},
    "text/yaml": {"schema": {"type": "object"}},
    "application/json": {"schema": {"oneOf": [{"type": "object"}, {"type": "array"}]}},
    "text/html": {"schema": {"type": "string"}},
}
_HEADERS = {
    "Profile-Update-Interval": "Hours.",
    "Subscription-Userinfo": "upload, download and total in bytes, expire in Unix seconds.",
    "Profile-Title": "Name of the profile.",
    "Traffic-Webhook": "Where to report used traffic.",
    "User-Token": "The token that was sent.",
    "ETag": "Of the body.",
}


def add_subscriptions(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular."""
    result["paths"] |= {
        "/api/xpert/sub": {
            "get": _operation("subscription", "All servers of a subscriber: links, one a line, or a configuration.")
        },
        "/api/xpert/direct-configs/sub": {
            "get": _operation("direct_subscription", "The operator's own servers alone.")
        },
    }
    return result


def _operation(name: str, description: str) -> dict[str, Any]:
    headers = {header: {"description": text, "schema": {"type": "string"}} for header, text in _HEADERS.items()}
    return {
        "operationId": name,
        "description": description,
        "tags": ["api"],
        "parameters": [_TOKEN, _FORMAT, _LANG, _DAYS, _IF_NONE_MATCH],
        "responses": {
            "200": _response("The servers, or the page.", _BODIES, headers),
            "304": _response("Unchanged since If-None-Match.", headers=headers),
            "400": _json("An unknown format: `format` with a list of sentences.", {"type": "object"}),
            "404": _response("An unknown token; the body is empty."),
            "429": _json("Too many requests; see Retry-After.", _DETAIL),
            "503": _json("The database is busy; see Retry-After.", _DETAIL),
        },
    }


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return _response(description, {"application/json": {"schema": schema}})


def _response(
    description: str, content: dict[str, Any] | None = None, headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {"description": description}
    return found | ({"content": content} if content else {}) | ({"headers": headers} if headers else {})
