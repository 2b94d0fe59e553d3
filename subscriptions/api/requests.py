"""What requests for rows of ours have in common: the id in the path, the object in the body."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

MAX_ID = 2**63 - 1
ID = OpenApiParameter(
    "id", {"type": "integer", "minimum": 1, "maximum": MAX_ID}, OpenApiParameter.PATH
)


def json_object(request: Request) -> dict[str, Any]:
    """The body. Raises ValidationError when it is anything but an object."""
    if not isinstance(request.data, dict):
        raise ValidationError({"detail": "Expected a JSON object."})
    return request.data


def path_number(pk: str) -> int:
    """The id in a path; 0, which nobody has, for what is none."""
    number = int(pk) if pk.isascii() and pk.isdigit() and len(pk) <= 19 else 0
    return number if number <= MAX_ID else 0


def query_number(request: Request, name: str) -> int | None:
    """The id in the query; None without it. Raises ValidationError for anything else in the query."""
    given = request.query_params
    if unknown := sorted(set(given) - {name}):
        raise ValidationError({unknown[0][:100]: ["This cannot be sent."]})
    if name not in given:
        return None
    number = path_number(given[name])
    if not number or len(given.getlist(name)) > 1:
        raise ValidationError({name: ["Expected one id."]})
    return number
