"""The subscription URLs in the OpenAPI schema: they are plain views, which drf-spectacular does not see."""

from typing import Any

_TOKEN = {"name": "user_token", "in": "query", "required": True, "schema": {"type": "string"}}
_FORMAT = {
    "name": "format",
    "in": "query",
    "description": "Default: by User-Agent; a browser gets `html`, the subscriber's page.",
    "schema": {
        "type": "string",
        "enum": ["plain", "universal", "base64", "mihomo", "clash", "sing-box", "xray", "html"],
    },
}
_LANG = {
    "name": "lang",
    "in": "query",
    "description": "Language of the page: en, ru or fa. Default: by Accept-Language.",
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
_SERVER = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "server": {"type": "string"},
        "port": {"type": "integer"},
        "protocol": {"type": "string"},
        "measured": {"type": "boolean"},
    },
    "required": ["name", "server", "port", "protocol"],
}
_SERVERS = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"servers": {"type": "array", "items": _SERVER}},
            "required": ["servers"],
        }
    }
}
_HEADERS = {
    "Profile-Update-Interval": "Hours.",
    "Subscription-Userinfo": "upload, download and total in bytes, expire in Unix seconds.",
    "Profile-Title": "Name of the profile.",
    "Traffic-Webhook": "URL to which traffic is reported.",
    "User-Token": "The token that was sent.",
    "ETag": "ETag of the body.",
}


def add_subscriptions(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook for drf-spectacular."""
    result["paths"] |= {
        "/api/xpert/sub": {
            "get": _operation(
                "subscription",
                "All servers of a subscriber: one link per line, or a configuration.",
            )
        },
        "/api/xpert/direct-configs/sub": {
            "get": _operation("direct_subscription", "Only the operator's own servers.")
        },
        "/api/xpert/servers": {
            "get": {
                "operationId": "servers",
                "description": (
                    "The servers of a subscriber's list, under the names that they have in every format. "
                    "`measured`: a gateway measures them, so nobody else reports them."
                ),
                "parameters": [_TOKEN],
                "responses": {
                    "200": {"description": "OK", "content": _SERVERS},
                    "404": {"description": "The token is unknown."},
                    "429": {"description": "Too many requests; see Retry-After."},
                    "503": {"description": "The database is busy; see Retry-After."},
                },
                "tags": ["servers"],
            }
        },
    }
    return result


def _operation(name: str, description: str) -> dict[str, Any]:
    headers = {
        header: {"description": text, "schema": {"type": "string"}}
        for header, text in _HEADERS.items()
    }
    return {
        "operationId": name,
        "description": description,
        "tags": ["api"],
        "parameters": [_TOKEN, _FORMAT, _LANG, _DAYS, _IF_NONE_MATCH],
        "responses": {
            "200": _response("The servers, or the page.", _BODIES, headers),
            "304": _response("Unchanged since If-None-Match.", headers=headers),
            "400": _json(
                "An unknown format: `format` with a list of sentences.", {"type": "object"}
            ),
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
    return (
        found
        | ({"content": content} if content else {})
        | ({"headers": headers} if headers else {})
    )
