"""The author of a change over the API, for the audit trail."""

from django.utils import timezone
from rest_framework.request import Request

from operations.audit import By
from operations.extension import Bearer
from operations.models import ApiKey


def by(request: Request) -> By:
    """The author is the key (id and name) or the user; in open access it is unknown."""
    return By(_author(request), timezone.now())


def _author(request: Request) -> str:
    if isinstance(request.auth, ApiKey):
        return f"API key {request.auth.pk} ({request.auth.name})"
    if isinstance(request.auth, Bearer):
        return request.auth.name
    return (
        request.user.get_username() if request.user.is_authenticated else "somebody in open access"
    )
