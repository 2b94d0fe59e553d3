"""The cleanup endpoint."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.exceptions import ServiceUnavailable
from operations.api.schema import BODY_ERRORS, OPERATOR_ERRORS
from operations.api.viewsets import OperatorViewSet
from traffic.conf import conf
from traffic.ledger import retention
from traffic.people import tidying

from . import schema
from .days import checked_days

_CLOCK = "The panel's clock seems to be far ahead; see manage.py cleanup_traffic."


class CleanupViewSet(OperatorViewSet):
    """Deletes old records; the counters of subscribers do not change."""

    scopes = {"create": "manage"}
    staff_permissions = {"create": "traffic.delete_usage"}

    @extend_schema(
        operation_id="cleanup",
        description="Delete records older than `days`, from the query or the body; default: the configured retention.",
        parameters=[schema.CLEANUP_DAYS],
        request=schema.CLEANUP_BODY,
        responses={200: schema.CLEANUP_ANSWER, **OPERATOR_ERRORS, **BODY_ERRORS},
    )
    def create(self, request: Request) -> Response:
        days = self._days(request)
        if days is None:
            return Response(
                {
                    "status": "skipped",
                    "reason": "retention disabled",
                    "deleted_rows": 0,
                    "cleanup_days": 0,
                }
            )
        now = timezone.now()
        if tidying.has_jumped(now):
            raise ServiceUnavailable(_CLOCK)
        deleted = retention.delete_records(days, now)
        return Response({"status": "success", "deleted_rows": deleted, "cleanup_days": days})

    def _days(self, request: Request) -> int | None:
        """``days`` of the query, else of the body, else the retention; None if retention is disabled."""
        if not isinstance(request.data, dict):
            raise ValidationError({"detail": "Expected a JSON object."})
        if "days" in request.query_params:
            return checked_days(request.query_params["days"], least=0)
        if "days" in request.data:
            return checked_days(request.data["days"], least=0)
        return conf.retention_days or None
