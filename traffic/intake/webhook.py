"""The webhook: HTTP around ``acceptance.accept``."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.schema import BODY_ERRORS, OPERATOR_ERRORS
from operations.logs.context import TOKEN
from traffic import reports
from traffic.intake import acceptance, key_limits, schema
from traffic.intake.parsers import ReportParser
from traffic.intake.viewsets import IntakeViewSet
from traffic.ledger.recording import Outcome
from traffic.models import Reporter

_RECORDED = {"status": "success", "message": "Traffic recorded successfully"}
_RECORDED_JSON = msgspec.json.encode(_RECORDED)
_UNKNOWN_SUBSCRIBER = (
    "This token is unknown. Its subscriber is made in the admin, "
    "or with manage.py create_subscriber NAME --token TOKEN."
)
_REFUSED: dict[Outcome, reports.Errors] = {
    Outcome.UNKNOWN_TOKEN: {"user_token": [_UNKNOWN_SUBSCRIBER]},
    Outcome.COUNTER_FULL: {"detail": ["This report would carry a counter past 2^60 bytes."]},
    Outcome.IMPLAUSIBLE: {"detail": ["More bytes in one hour than is plausible for one person."]},
    Outcome.NEW_SERVER: {
        "server": ["Too many servers that the panel does not know; try tomorrow."]
    },
}


class ReportViewSet(IntakeViewSet):
    """The webhook."""

    way = Reporter.Kind.WEBHOOK
    parser_classes: ClassVar[Sequence[type[BaseParser]]] = [ReportParser]  # type: ignore[misc]

    @extend_schema(
        operation_id="report_traffic",
        description='Report used traffic: one report, `{"reports": […]}` or an array. A 200 means: on disk.',
        parameters=[schema.IDEMPOTENCY_KEY],
        request=schema.REPORT_BODY,
        responses={200: schema.REPORT_ANSWER, **OPERATOR_ERRORS, **BODY_ERRORS},
    )
    def create(self, request: Request) -> HttpResponse:
        decoded = self._decoded(request)
        tokens = {report.user_token for report in decoded.reports.values()}
        if len(tokens) == 1:  # the log line shows it, masked
            request.META[TOKEN] = next(iter(tokens))
        own = self.own_tokens(tokens)
        if own.keys() != set(own.values()):
            decoded = _renamed(decoded, own)
        within = key_limits.within_reports(decoded, self.key)
        outcomes = acceptance.accept(within, self.caller(), timezone.now())
        if within.is_batch:
            return self._batch_answer(within, outcomes)
        if len(within.rejected) > len(decoded.rejected):
            ((message,),) = within.rejected[0].values()
            raise PermissionDenied(message)
        return self._answer(within, outcomes)

    def _decoded(self, request: Request) -> reports.Decoded:
        """The body; the ``Idempotency-Key`` becomes the event id of a report without one."""
        decoded = request.data
        if not isinstance(decoded, reports.Decoded):
            raise ValidationError({"detail": "Expected a JSON body."})
        meta = request.META
        key = meta.get("HTTP_IDEMPOTENCY_KEY")
        if key is None or (not decoded.reports and not decoded.is_batch):
            return decoded
        if decoded.is_batch:
            raise ValidationError(
                {"detail": "Idempotency-Key goes with a single report; in a batch, use event_id."}
            )
        try:
            event_id = decoded.reports[0].event_id or reports.checked_event_id(key)
        except reports.InvalidReport as error:
            raise ValidationError(error.errors) from None
        return msgspec.structs.replace(
            decoded, reports={0: msgspec.structs.replace(decoded.reports[0], event_id=event_id)}
        )

    def _answer(self, decoded: reports.Decoded, outcomes: dict[int, Outcome]) -> HttpResponse:
        match outcomes.get(0):
            case Outcome.RECORDED:  # the usual answer is encoded once
                return HttpResponse(_RECORDED_JSON, content_type="application/json")
            case Outcome.DUPLICATE:
                return Response(_RECORDED | {"duplicate": True})
            case Outcome.UNKNOWN_TOKEN:
                raise PermissionDenied(_UNKNOWN_SUBSCRIBER)
            case Outcome() as refused:
                raise ValidationError(_single(_REFUSED[refused]))
            case _:
                raise ValidationError(_single(decoded.rejected[0]))

    def _batch_answer(self, decoded: reports.Decoded, outcomes: dict[int, Outcome]) -> Response:
        counted = list(outcomes.values())
        recorded, duplicates = counted.count(Outcome.RECORDED), counted.count(Outcome.DUPLICATE)
        refused = {
            index: _REFUSED[outcome] for index, outcome in outcomes.items() if outcome in _REFUSED
        }
        rejected = reports.index_errors(decoded.rejected | refused)
        if not recorded and not duplicates:
            return Response(
                {"detail": "No report was good.", "rejected": rejected}, HTTPStatus.BAD_REQUEST
            )
        return Response(
            _RECORDED | {"recorded": recorded, "duplicates": duplicates, "rejected": rejected}
        )


def _renamed(decoded: reports.Decoded, own: Mapping[str, str]) -> reports.Decoded:
    named = {
        place: msgspec.structs.replace(report, user_token=own[report.user_token])
        for place, report in decoded.reports.items()
    }
    return msgspec.structs.replace(decoded, reports=named)


def _single(errors: reports.Errors) -> dict[str, Any]:
    return {"detail": errors["detail"][0]} if "detail" in errors else dict(errors)
