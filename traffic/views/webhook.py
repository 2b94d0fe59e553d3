"""The webhook: reports in."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied, Throttled, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from traffic import group_commit, logs, metrics, parsers, reports, schema, throttling
from traffic.authentication import ApiKeyAuthentication
from traffic.conf import conf
from traffic.exceptions import TrackingDisabled
from traffic.models import ApiKey
from traffic.permissions import MayReport
from traffic.recording import Outcome
from traffic.viewsets import ApiViewSet

_RECORDED = {"status": "success", "message": "Traffic recorded successfully"}
_REFUSED: dict[Outcome, reports.Errors] = {
    Outcome.UNKNOWN_TOKEN: {"user_token": ["This token is unknown."]},
    Outcome.COUNTER_FULL: {"detail": ["This report would carry a counter past 2^60 bytes."]},
}


class ReportViewSet(ApiViewSet):
    """The webhook."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [MayReport]
    parser_classes: ClassVar[Sequence[type[BaseParser]]] = [parsers.ReportParser]  # type: ignore[misc]

    @extend_schema(
        operation_id="report_traffic",
        description='Report used traffic: one report, `{"reports": […]}` or an array. A 200 means: on disk.',
        parameters=[schema.IDEMPOTENCY_KEY],
        request=schema.REPORT_BODY,
        responses={200: schema.REPORT_ANSWER, **schema.OPERATOR_ERRORS, **schema.BODY_ERRORS},
    )
    def create(self, request: Request) -> Response:
        if not conf.tracking_enabled:
            raise TrackingDisabled
        decoded = self._decoded(request)
        self._spend(request, decoded)
        found = list(decoded.reports.values())
        outcomes = group_commit.submit(found, create_subscribers=conf.open_access) if found else []
        by_index = dict(zip(decoded.reports, outcomes, strict=True))
        self._count(request, decoded, outcomes)
        return self._batch_answer(decoded, by_index) if decoded.is_batch else self._answer(decoded, by_index)

    def _decoded(self, request: Request) -> reports.Decoded:
        """The body, with the ``Idempotency-Key`` as event id where the report has none of its own."""
        if not isinstance(request.data, reports.Decoded):
            raise ValidationError({"detail": "Expected a JSON body."})
        decoded = request.data
        key = request.headers.get("Idempotency-Key")
        if key is None or (not decoded.reports and not decoded.is_batch):
            return decoded
        if decoded.is_batch:
            raise ValidationError({"detail": "Idempotency-Key goes with a single report; in a batch, use event_id."})
        try:
            event_id = decoded.reports[0].event_id or reports.checked_event_id(key)
        except reports.InvalidReport as error:
            raise ValidationError(error.errors) from None
        return msgspec.structs.replace(
            decoded, reports={0: msgspec.structs.replace(decoded.reports[0], event_id=event_id)}
        )

    def _spend(self, request: Request, decoded: reports.Decoded) -> None:
        """A batch is one request for each distinct token."""
        tokens = {report.user_token for report in decoded.reports.values()}
        if len(tokens) == 1:
            request.META[logs.TOKEN] = next(iter(tokens))
        if isinstance(request.auth, ApiKey):
            wait = throttling.spend("key", str(request.auth.pk), conf.rate_reports, len(tokens))
        else:
            wait = throttling.spend_all("token", dict.fromkeys(sorted(tokens), 1), conf.rate_reports)
        if wait is not None:
            raise Throttled(wait)

    def _count(self, request: Request, decoded: reports.Decoded, outcomes: list[Outcome]) -> None:
        """What never came to be recorded; the rest was counted with its group."""
        for errors in decoded.rejected.values():
            metrics.count_refused(next(iter(errors)))
        if Outcome.UNKNOWN_TOKEN in outcomes:
            throttling.penalise_address(request)

    def _answer(self, decoded: reports.Decoded, outcomes: dict[int, Outcome]) -> Response:
        match outcomes.get(0):
            case Outcome.RECORDED:
                return Response(_RECORDED)
            case Outcome.DUPLICATE:
                return Response(_RECORDED | {"duplicate": True})
            case Outcome.UNKNOWN_TOKEN:
                raise PermissionDenied("This token is unknown.")
            case Outcome.COUNTER_FULL:
                raise ValidationError({"detail": _REFUSED[Outcome.COUNTER_FULL]["detail"][0]})
            case _:
                raise ValidationError(_single(decoded.rejected[0]))

    def _batch_answer(self, decoded: reports.Decoded, outcomes: dict[int, Outcome]) -> Response:
        counted = list(outcomes.values())
        recorded, duplicates = counted.count(Outcome.RECORDED), counted.count(Outcome.DUPLICATE)
        refused = {index: _REFUSED[outcome] for index, outcome in outcomes.items() if outcome in _REFUSED}
        rejected = reports.index_errors(decoded.rejected | refused)
        if not recorded and not duplicates:
            return Response({"detail": "No report was good.", "rejected": rejected}, HTTPStatus.BAD_REQUEST)
        return Response(_RECORDED | {"recorded": recorded, "duplicates": duplicates, "rejected": rejected})


def _single(errors: reports.Errors) -> dict[str, Any]:
    return {"detail": errors["detail"][0]} if "detail" in errors else dict(errors)
