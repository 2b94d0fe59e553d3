"""The base of all endpoints that accept traffic: HTTP around ``acceptance``."""

from collections.abc import Collection
from time import monotonic
from typing import Any

from rest_framework.exceptions import Throttled
from rest_framework.request import Request

from operations.api import throttling
from operations.api.authentication import ApiKeyAuthentication
from operations.api.exceptions import ServiceUnavailable
from operations.api.permissions import is_open_to
from operations.api.viewsets import ApiViewSet
from operations.extension import meter_of
from operations.models import ApiKey
from traffic.key_options import grade_of
from traffic.models import Reporter
from traffic.people import subscribers

from . import acceptance, key_limits
from .acceptance import Caller, LimitExceededError, TrackingOffError
from .permissions import MayReport

# Seconds that linked panels have to identify all tokens of a message.
_NAMING_TIME = 5.0


class TrackingDisabled(ServiceUnavailable):
    default_detail = "Traffic tracking is disabled"
    default_code = "tracking_disabled"
    wait = 300


class IntakeViewSet(ApiViewSet):
    """Refuse all messages while tracking is off, before their bodies are read."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [MayReport]
    for_programs = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        acceptance.require_tracking()

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, TrackingOffError):
            exc = TrackingDisabled()
        elif isinstance(exc, LimitExceededError):
            exc = Throttled(exc.wait)
        return super().handle_exception(exc)

    def own_tokens(self, tokens: Collection[str]) -> dict[str, str]:
        """By token, the token under which the person is known here. A linked panel is asked about each of its tokens."""
        deadline = monotonic() + _NAMING_TIME
        own: dict[str, str] = {}
        for token in sorted(tokens):
            if monotonic() > deadline:
                # If these tokens were guessed, it would be useless to ask about the rest.
                acceptance.penalise_unknown(own, self.caller())
                raise ServiceUnavailable
            own[token] = subscribers.own_token(token)
        return own

    @property
    def key(self) -> ApiKey | None:
        auth = self.request.auth
        return auth if isinstance(auth, ApiKey) else None

    def caller(self) -> Caller:
        key = self.key
        is_bound = key is not None and key.scope == ApiKey.Scope.BOUND
        return Caller(
            key=key.pk if key else None,
            address=throttling.address_of(self.request),
            may_create=is_open_to(self.request) and not key_limits.is_limited(key),
            grade=grade_of(key) if key else Reporter.Grade.REPORTED,
            meter=meter_of(key.pk) if key and is_bound else None,
        )
