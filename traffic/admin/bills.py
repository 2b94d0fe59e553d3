"""Pages of calendar months: what subscribers are charged for, what servers carried, and a statement to send."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from operations.admin.base import PanelAdmin
from operations.tables import Table, download
from operations.units import gigabytes
from traffic.conf import conf
from traffic.figures import bills
from traffic.figures.bills import Month
from traffic.models import Reseller, Server, Subscriber
from traffic.people import resellers

SUBSCRIBER_COLUMNS = (
    "month", "subscriber_id", "external_id", "name", "upload_bytes", "download_bytes", "corrected_bytes",
    "total_bytes", "total_gb",
)  # fmt: skip
RESELLER_COLUMNS = (
    "month", "reseller_id", "name", "subscribers", "upload_bytes", "download_bytes", "corrected_bytes", "total_bytes",
    "total_gb",
)  # fmt: skip
SERVER_COLUMNS = (
    "month", "server", "port", "protocol", "upload_bytes", "download_bytes", "total_bytes", "total_gb",
)  # fmt: skip
# Rows that the page shows; the file has all.
_SHOWN = 1000


class _Kind(msgspec.Struct, frozen=True):
    """``rows``: of a month that this user may see, each with a ``total``. ``columns`` and ``values``: of the file."""

    name: str
    template: str
    rows: Callable[[Month, HttpRequest], Sequence[Any]]
    columns: tuple[str, ...]
    values: Callable[[Any], tuple[Any, ...]]


_SUBSCRIBERS = _Kind(
    "bill-of-subscribers",
    "admin/traffic/bills/subscribers.html",
    lambda month, request: bills.subscribers(
        month, resellers.seen_by(request.user, Subscriber.objects.all())
    ),
    SUBSCRIBER_COLUMNS,
    lambda bill: (
        bill.subscriber_id,
        bill.external_id,
        bill.name,
        bill.upload,
        bill.download,
        bill.corrected,
    ),
)
_SERVERS = _Kind(
    "bill-of-servers",
    "admin/traffic/bills/servers.html",
    lambda month, _: bills.servers(month),
    SERVER_COLUMNS,
    lambda share: (share.server, share.port, share.protocol, share.upload, share.download),
)


_RESELLERS = _Kind(
    "bill-of-resellers",
    "admin/traffic/bills/resellers.html",
    lambda month, _: bills.resellers(month),
    RESELLER_COLUMNS,
    lambda bill: (
        bill.reseller_id,
        bill.name,
        bill.people,
        bill.upload,
        bill.download,
        bill.corrected,
    ),
)


def resellers_view(owner: PanelAdmin[Reseller], request: HttpRequest) -> HttpResponseBase:
    return _month_view(owner, request, _RESELLERS)


def subscribers_view(owner: PanelAdmin[Subscriber], request: HttpRequest) -> HttpResponseBase:
    return _month_view(owner, request, _SUBSCRIBERS)


def servers_view(owner: PanelAdmin[Server], request: HttpRequest) -> HttpResponseBase:
    return _month_view(owner, request, _SERVERS)


@method_decorator(require_safe)
def _month_view(owner: PanelAdmin[Any], request: HttpRequest, kind: _Kind) -> HttpResponseBase:
    """One month as a page to print, or with ``?file=csv`` as a file."""
    if not owner.has_view_permission(request):
        raise PermissionDenied
    now = timezone.now()
    month = _chosen(request, now)
    rows = kind.rows(month, request)
    if request.GET.get("file") == "csv":
        return download(_table(kind, month, rows), "csv", now)
    context = _context(month, now) | {
        "rows": rows[:_SHOWN],
        "unshown": max(len(rows) - _SHOWN, 0),
        "total": sum(row.total for row in rows),
        "parts": owner.month_panels(request, month.first),
    }
    return owner.render_list_page(request, kind.template, context)


@method_decorator(require_safe)
def statement_view(
    owner: PanelAdmin[Subscriber], request: HttpRequest, object_id: str
) -> HttpResponse:
    """One subscriber's month as a page; with ``?file=html`` as a self-contained file to send."""
    obj = owner.permitted(request, object_id, "view", deleted=True)
    now = timezone.now()
    month = _chosen(request, now)
    context = _context(month, now) | {
        "title": str(obj),
        "statement": bills.statement(obj, month),
        "subscriber": obj,
    }
    if request.GET.get("file") != "html":
        return owner.render(request, "admin/traffic/bills/statement.html", obj, context)
    file = render_to_string("admin/traffic/bills/statement_file.html", context)
    headers = {"Content-Disposition": f'attachment; filename="statement-{obj.pk}-{month}.html"'}
    return HttpResponse(file, headers=headers)


def _chosen(request: HttpRequest, now: datetime) -> Month:
    """The month of ``?month=2026-11``; the current one for anything else."""
    try:
        return bills.parse_month(request.GET.get("month", ""))
    except ValueError:
        return bills.month_of(now)


def _context(month: Month, now: datetime) -> dict[str, Any]:
    return {
        "month": month,
        "is_running": month.start <= now < month.end,
        "retention_days": conf.retention_days,
    }


def _table(kind: _Kind, month: Month, rows: Iterable[Any]) -> Table:
    found = ((str(month), *kind.values(row), row.total, gigabytes(row.total)) for row in rows)
    return Table(f"{kind.name}-{month}", kind.columns, found)
