"""The endpoint for meter readings: HTTP around ``acceptance.accept_readings``."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

import msgspec
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.schema import BODY_ERRORS, OPERATOR_ERRORS
from operations.logs.context import TOKEN
from traffic.intake import acceptance, key_limits, schema
from traffic.intake.parsers import ReadingParser
from traffic.intake.viewsets import IntakeViewSet
from traffic.ledger.meters import Answer
from traffic.models import Reporter
from traffic.readings import Message
from traffic.reports import index_errors


class ReadingViewSet(IntakeViewSet):
    """Meter readings."""

    way = Reporter.Kind.READINGS
    takes_meters = True
    parser_classes: ClassVar[Sequence[type[BaseParser]]] = [ReadingParser]  # type: ignore[misc]

    @extend_schema(
        operation_id="report_meter_readings",
        description=(
            "Report totals, as read from counters: the panel counts what they have grown by. A message may be sent "
            "any number of times, in any order. A 200 means: on disk."
        ),
        request=schema.READINGS_BODY,
        responses={200: schema.READINGS_ANSWER, **OPERATOR_ERRORS, **BODY_ERRORS},
    )
    def create(self, request: Request) -> Response:
        if not isinstance(request.data, Message):
            raise ValidationError({"detail": "Expected a JSON body."})
        message, caller = request.data, self.caller()
        if caller.meter is not None and message.meter != caller.meter.name:
            raise PermissionDenied(f"This key belongs to the meter {caller.meter.name}.")
        _name_in_log(request, message)
        own = key_limits.within_readings(self._with_own_tokens(message), self.key)
        return _response(own, acceptance.accept_readings(own, caller, timezone.now()))

    def _with_own_tokens(self, message: Message) -> Message:
        """A row of a linked panel's token becomes one of the person whom it names, so that its meter goes on under any token."""
        rows = message.readings
        own = self.own_tokens({row.user_token for row in rows.values() if row.user_token})
        if own.keys() == set(own.values()):
            return message
        named = {
            place: msgspec.structs.replace(row, user_token=own.get(row.user_token, ""))
            for place, row in rows.items()
        }
        return msgspec.structs.replace(message, readings=named)


def _name_in_log(request: Request, message: Message) -> None:
    """If a message is about one person, its log line shows the person's masked token."""
    tokens = {row.user_token for row in message.readings.values()}
    if len(tokens) == 1 and (token := next(iter(tokens))):
        request.META[TOKEN] = token


def _response(message: Message, answer: Answer) -> Response:
    refused = message.rejected | answer.rejected
    rejected = index_errors(refused)
    if refused and len(refused) == len(message.rejected) + len(message.readings):
        return Response(
            {"detail": "No reading was good.", "rejected": rejected}, HTTPStatus.BAD_REQUEST
        )
    return Response(
        {
            "status": "success",
            "recorded": answer.recorded,
            "unchanged": answer.unchanged,
            "stale": [
                {"index": index, "run": run, "total_uploaded": up, "total_downloaded": down}
                for index, (run, up, down) in sorted(answer.stale.items())
            ],
            "rejected": rejected,
        }
    )
