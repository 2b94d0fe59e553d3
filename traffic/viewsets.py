"""What all JSON endpoints have in common; ``subscriptions`` builds its own on it."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from . import exceptions, parsers, permissions, throttling
from .authentication import ApiKeyAuthentication, StaffAuthentication
from .periods import Window, window

MAX_DAYS = 3650
_DAYS = re.compile(r"[0-9]{1,4}", re.ASCII)


def checked_days(value: object, *, least: int = 1) -> int:
    """``days`` from a query or a JSON body; ValidationError naming it."""
    days = int(value) if isinstance(value, str) and _DAYS.fullmatch(value) else value
    if isinstance(days, bool) or not isinstance(days, int) or not least <= days <= MAX_DAYS:
        raise ValidationError({"days": [f"Expected a whole number from {least} to {MAX_DAYS}."]})
    return days


class JSONOnly(BaseContentNegotiation):
    """JSON in, and out what the view has: neither ``Accept`` nor ``?format=`` changes that."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:  # type: ignore[override]
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], str(renderers[0].media_type)


class ApiViewSet(ViewSet):
    """An endpoint of the API: address limit first, so that guessing keys is limited too."""

    renderer_classes: ClassVar[Sequence[type[BaseRenderer]]] = [JSONRenderer]  # type: ignore[misc]
    parser_classes: ClassVar[Sequence[type[BaseParser]]] = [parsers.JSONParser]  # type: ignore[misc]
    content_negotiation_class = JSONOnly
    metadata_class = None
    http_method_names: ClassVar[list[str]] = [name for name in ViewSet.http_method_names if name != "options"]  # type: ignore[misc]
    throttle_classes = [throttling.AddressThrottle]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        request.version, request.versioning_scheme = None, None
        self.check_throttles(request)
        if (request.method or "").lower() not in (self.action_map or {}):
            # Whoever asks: no key helps.
            self.http_method_not_allowed(request)
        if "content-length" not in request.headers and request.headers.get("transfer-encoding"):
            raise exceptions.LengthRequired
        self.perform_authentication(request)
        self.check_permissions(request)

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, AuthenticationFailed):
            throttling.penalise_address(self.request)
        parsers.read_rest(self.request._request)  # noqa: SLF001  the stream that DRF's own parsers read
        return super().handle_exception(exc)

    def get_exception_handler(self) -> Any:
        return exceptions.handle

    def window(self) -> Window:
        days = self.request.query_params.get("days", "30")
        return window(checked_days(days), timezone.now())


class PublicViewSet(ApiViewSet):
    """Needs only what the URL says. A key that comes along is not looked at: the Marzban UI sends its own everywhere."""

    authentication_classes = []
    permission_classes: ClassVar[Sequence[type[BasePermission]]] = []  # type: ignore[misc]


class OperatorViewSet(ApiViewSet):
    """For operators. ``scopes`` and ``staff_permissions`` say by action what is needed."""

    authentication_classes = [ApiKeyAuthentication, StaffAuthentication]
    permission_classes: ClassVar[Sequence[type[BasePermission]]] = [permissions.MayOperate]  # type: ignore[misc]
    scopes: ClassVar[dict[str, str]] = {}
    staff_permissions: ClassVar[dict[str, str]] = {}
