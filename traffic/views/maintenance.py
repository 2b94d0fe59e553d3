"""Cleanup, metrics, and whether the panel is alive."""

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from traffic import exposition, health, retention, schema, throttling
from traffic.conf import conf
from traffic.exceptions import ServiceUnavailable
from traffic.viewsets import OperatorViewSet, checked_days


class CleanupViewSet(OperatorViewSet):
    """Deletes old records; counters of subscribers stay."""

    scopes = {"create": "manage"}
    staff_permissions = {"create": "traffic.delete_usage"}

    @extend_schema(
        operation_id="cleanup",
        description="Delete records older than `days`, from the query or the body; without it, than the retention.",
        parameters=[schema.CLEANUP_DAYS],
        request=schema.CLEANUP_BODY,
        responses={200: schema.CLEANUP_ANSWER, **schema.OPERATOR_ERRORS, **schema.BODY_ERRORS},
    )
    def create(self, request: Request) -> Response:
        days = self._days(request)
        if days is None:
            return Response({"status": "skipped", "reason": "retention disabled", "deleted_rows": 0, "cleanup_days": 0})
        deleted = retention.delete_records(days, timezone.now())
        return Response({"status": "success", "deleted_rows": deleted, "cleanup_days": days})

    def _days(self, request: Request) -> int | None:
        """From the query, else from the body, else the retention; None when that is off."""
        if not isinstance(request.data, dict):
            raise ValidationError({"detail": "Expected a JSON object."})
        if "days" in request.query_params:
            return checked_days(request.query_params["days"], least=0)
        if "days" in request.data:
            return checked_days(request.data["days"], least=0)
        return conf.retention_days or None


class MetricsViewSet(OperatorViewSet):
    scopes = {"retrieve": "read"}
    staff_permissions = {"retrieve": "traffic.view_usage"}

    @extend_schema(
        operation_id="metrics",
        description="Counters in Prometheus' text format.",
        responses={(200, "text/plain"): OpenApiResponse(str), **schema.OPERATOR_ERRORS},
    )
    def retrieve(self, request: Request) -> HttpResponse:
        return HttpResponse(exposition.text(), content_type=exposition.CONTENT_TYPE)


@csrf_exempt
def healthz(request: HttpRequest) -> JsonResponse:
    """Process and database answer: 200, else 503."""
    if request.method not in {"GET", "HEAD"}:
        return _only_read(request)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return _unavailable("The database does not answer.")
    return JsonResponse({"status": "ok"})


@csrf_exempt
def readyz(request: HttpRequest) -> JsonResponse:
    """Reports can be taken: database writable, migrations applied, room on the disk: 200, else 503.

    It costs a write lock, so it is limited by address.
    """
    if request.method not in {"GET", "HEAD"}:
        return _only_read(request)
    if wait := throttling.spend_address(request):
        return JsonResponse({"detail": "Too many requests."}, status=429, headers={"Retry-After": str(wait)})
    if reason := health.why_not_ready():
        return _unavailable(reason)
    return JsonResponse({"status": "ready"})


def _only_read(request: HttpRequest) -> JsonResponse:
    detail = f'Method "{request.method}" not allowed.'
    return JsonResponse({"detail": detail}, status=405, headers={"Allow": "GET, HEAD"})


def _unavailable(detail: str) -> JsonResponse:
    headers = {"Retry-After": str(ServiceUnavailable.wait)}
    return JsonResponse({"status": "unavailable", "detail": detail}, status=503, headers=headers)
