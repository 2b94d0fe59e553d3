"""``POST /api/xpert/inform/3x-ui/{key}``: HTTP around ``receiving.receive``."""

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from operations.addresses import client_address
from operations.api.authentication import WRONG_KEY, find_api_key
from operations.api.parsers import JSONParser
from operations.api.permissions import NeedsKey
from operations.api.schema import BODY_ERRORS, OPERATOR_ERRORS
from operations.models import ApiKey
from traffic.intake import acceptance
from traffic.intake.viewsets import IntakeViewSet
from traffic.key_options import OTHER_WAY, allows
from traffic.ledger.meters import Answer
from traffic.models import Reporter
from traffic.reports import InvalidReport, index_errors

from . import receiving, schema, wire
from .booking import Told
from .conf import conf
from .wire import Inform


class PathKeyAuthentication(BaseAuthentication):
    """The API key is in the path, because 3x-ui sends no header.

    Its use is noted with the booking: here nothing may wait for the database.
    """

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey]:
        key = find_api_key(request.parser_context["kwargs"]["key"], timezone.now())
        if key is None:
            raise AuthenticationFailed(WRONG_KEY)
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class MayInform(NeedsKey):
    """A key of scope ``report`` or ``manage``."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, ApiKey) or not self.is_enough(request.auth, "report"):
            return False
        self.message = OTHER_WAY
        return allows(request.auth, Reporter.Kind.INFORM)


class InformParser(JSONParser):
    """A message of up to 4 MiB, into ``wire.Inform``."""

    limit = 4 * 1024 * 1024

    def decode(self, body: bytes) -> Inform:
        try:
            return wire.decode(body)
        except InvalidReport as error:
            raise ValidationError(error.errors) from None


class InformViewSet(IntakeViewSet):
    """3x-ui's External Traffic Inform."""

    authentication_classes = [PathKeyAuthentication]
    permission_classes = [MayInform]
    parser_classes: ClassVar[Sequence[type[BaseParser]]] = [InformParser]  # type: ignore[misc]

    @extend_schema(
        operation_id="inform_3x_ui",
        description=(
            "What 3x-ui's External Traffic Inform sends, as it is. A 200 means: on disk. "
            "Unknown people are kept for the operator and are not an error."
        ),
        parameters=[schema.KEY],
        auth=[],
        request=schema.BODY,
        responses={200: schema.ANSWER, **OPERATOR_ERRORS, **BODY_ERRORS},
    )
    def create(self, request: Request, key: str) -> Response:
        if not isinstance(request.data, Inform):
            raise ValidationError({"detail": "Expected a JSON body."})
        acceptance.admit((), self.caller())
        return _response(request.data, receiving.receive(_told(request, request.data)))


def _told(request: Request, inform: Inform) -> Told:
    address = client_address(request.META, conf.trusted_proxies)
    return Told(
        id=str(uuid.uuid4()),
        key=request.auth.pk,
        address=str(address or "unknown"),
        moment=int(timezone.now().timestamp()),
        traffic=inform.traffic,
        unread={place: _sentence(errors) for place, errors in inform.rejected.items()},
    )


def _sentence(errors: dict[str, list[str]]) -> str:
    return " ".join(f"{field}: {messages[0]}" for field, messages in errors.items())


def _response(inform: Inform, answer: Answer | None) -> Response:
    told: dict[str, Any] = {"status": "success", "rejected": index_errors(inform.rejected)}
    counted = {"waiting": len(inform.traffic)} if answer is None else {"recorded": answer.recorded}
    return Response(told | counted)
