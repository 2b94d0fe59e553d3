"""The base classes of all JSON endpoints."""

from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

from rest_framework.exceptions import (
    AuthenticationFailed,
    NotAuthenticated,
    PermissionDenied,
)
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from . import exceptions, parsers, permissions, throttling
from .authentication import ApiKeyAuthentication, StaffAuthentication


class JSONOnly(BaseContentNegotiation):
    """Accepts only JSON and renders with the view's renderer, whatever ``Accept`` and ``?format=`` say."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:  # type: ignore[override]
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], str(renderers[0].media_type)


_METHODS = [name for name in ViewSet.http_method_names if name != "options"]


class ApiViewSet(ViewSet):
    """An API endpoint. The address limit comes first, so that guessing keys is limited too."""

    renderer_classes: ClassVar[Sequence[type[BaseRenderer]]] = [JSONRenderer]  # type: ignore[misc]
    parser_classes: ClassVar[Sequence[type[BaseParser]]] = [parsers.JSONParser]  # type: ignore[misc]
    content_negotiation_class = JSONOnly
    metadata_class = None
    http_method_names: ClassVar[list[str]] = _METHODS  # type: ignore[misc]
    throttle_classes = [throttling.AddressThrottle]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
            request
        )
        request.version, request.versioning_scheme = None, None
        self.check_throttles(request)
        if (request.method or "").lower() not in (self.action_map or {}):
            # Before authentication, because no key can help.
            self.http_method_not_allowed(request)
        meta = request.META  # ``headers`` would convert all of them for each request
        if "CONTENT_LENGTH" not in meta and meta.get("HTTP_TRANSFER_ENCODING"):
            raise exceptions.LengthRequired
        self.perform_authentication(request)
        self.check_permissions(request)

    def permission_denied(
        self, request: Request, message: str | None = None, code: str | None = None
    ) -> NoReturn:
        """Keep the message of a 401, which says how to get a key; DRF would drop it."""
        if request.successful_authenticator is None:
            raise NotAuthenticated(message)
        raise PermissionDenied(message, code)

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, AuthenticationFailed):
            throttling.penalise_address(self.request)
        parsers.read_rest(self.request._request)  # noqa: SLF001  the stream that DRF's own parsers read
        return super().handle_exception(exc)

    def get_exception_handler(self) -> Any:
        return exceptions.handle


class PublicViewSet(ApiViewSet):
    """Needs no key. A key in the request is ignored, because the Marzban UI sends its own everywhere."""

    authentication_classes = []
    permission_classes: ClassVar[Sequence[type[BasePermission]]] = []  # type: ignore[misc]


class OperatorViewSet(ApiViewSet):
    """For operators. ``scopes`` and ``staff_permissions`` declare by action what is needed.

    ``limits``: by action, the limits of keys that it heeds; a key with any other limit is refused.
    """

    authentication_classes = [ApiKeyAuthentication, StaffAuthentication]
    permission_classes: ClassVar[Sequence[type[BasePermission]]] = [permissions.MayOperate]  # type: ignore[misc]
    scopes: ClassVar[dict[str, str]] = {}
    staff_permissions: ClassVar[dict[str, str]] = {}
    limits: ClassVar[dict[str, frozenset[str]]] = {}
