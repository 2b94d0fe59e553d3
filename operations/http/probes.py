"""Health, readiness and metrics endpoints."""

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request

from operations.api import exceptions, throttling
from operations.api.schema import OPERATOR_ERRORS
from operations.api.viewsets import OperatorViewSet
from operations.watch import exposition, readiness


class MetricsViewSet(OperatorViewSet):
    scopes = {"retrieve": "read"}
    staff_permissions = {"retrieve": "operations.view_commandrun"}

    @extend_schema(
        operation_id="metrics",
        description="Counters in Prometheus' text format.",
        responses={(200, "text/plain"): OpenApiResponse(str), **OPERATOR_ERRORS},
    )
    def retrieve(self, request: Request) -> HttpResponse:
        return HttpResponse(exposition.text(), content_type=exposition.CONTENT_TYPE)


@csrf_exempt
def healthz(request: HttpRequest) -> JsonResponse:
    """200 if the process and the database respond, otherwise 503."""
    if request.method not in {"GET", "HEAD"}:
        return exceptions.only_to_read(request.method)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return _unavailable("The database does not answer.")
    return JsonResponse({"status": "ok"})


@csrf_exempt
def readyz(request: HttpRequest) -> JsonResponse:
    """200 if reports can be accepted (database writable, migrations applied, space on the disk), otherwise 503.

    It takes the write lock, so it is limited by address.
    """
    if request.method not in {"GET", "HEAD"}:
        return exceptions.only_to_read(request.method)
    if wait := throttling.spend_address(request):
        return exceptions.throttled(wait)
    if reason := readiness.why_not_ready():
        return _unavailable(reason)
    return JsonResponse({"status": "ready"})


def _unavailable(detail: str) -> JsonResponse:
    return exceptions.unavailable({"status": "unavailable", "detail": detail})
