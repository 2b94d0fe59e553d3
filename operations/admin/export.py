"""Downloads of a list, with the list's own filters and order."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.views.decorators.http import require_safe

from operations.databases import replica
from operations.tables import FORMATS, Format, Table, download

from .base import BAD_FILTER, PanelAdmin

_M = TypeVar("_M", bound=models.Model)
# URL parameters of a list that do not select rows.
_OF_THE_PAGE = ("p", "all", "e", "_facets")


class Asked(msgspec.Struct, frozen=True):
    """A requested download: its name, the rows, the time, and whether the reader may change the rows.

    ``columns``: what other apps add to each row.
    """

    name: str
    rows: models.QuerySet[Any]
    now: datetime
    may_change: bool
    columns: Mapping[str, Callable[[Any], Any]] = {}


class Exports(msgspec.Struct, frozen=True):
    """The downloads of a list: ``labels`` by the name in the URL, each as CSV and as JSON.

    ``table`` makes one of them; its rows are read while it is sent.
    """

    labels: Mapping[str, str | Promise]
    table: Callable[[Asked], Table]

    def urls(self, owner: PanelAdmin[Any]) -> list[URLPattern]:
        view = owner.admin_site.admin_view(require_safe(partial(_send, self, owner)))
        return [path("export/<slug:name>.<slug:kind>", view, name=owner.url_name("export"))]

    def offered(
        self, owner: PanelAdmin[Any], request: HttpRequest
    ) -> list[tuple[str | Promise, list[tuple[str, str]]]]:
        """The label and links of each download, for the list that this request shows."""
        query = request.GET.copy()
        for name in _OF_THE_PAGE:
            query.pop(name, None)
        return [
            (label, links(owner, name, query.urlencode())) for name, label in self.labels.items()
        ]


def links(owner: PanelAdmin[Any], name: str, query: str) -> list[tuple[str, str]]:
    """The format and URL of a download, with the query of the list."""
    view = f"{owner.admin_site.name}:{owner.url_name('export')}"
    return [(kind, f"{reverse(view, args=[name, kind])}{query and '?'}{query}") for kind in FORMATS]


def _send(
    exports: Exports, owner: PanelAdmin[Any], request: HttpRequest, name: str, kind: Format
) -> HttpResponseBase:
    """All rows that the list shows for the same query, over all its pages."""
    if not (owner.has_view_permission(request) and owner.opens(request, "export")):
        raise PermissionDenied
    if name not in exports.labels or kind not in FORMATS:
        raise Http404
    now = timezone.now()
    may_change = owner.has_change_permission(request)
    with replica.reading():
        try:
            found = owner.get_changelist_instance(request).get_queryset(request)
        except (IncorrectLookupParameters, *BAD_FILTER):
            return HttpResponseRedirect("../?e=1")
        asked = Asked(name, found, now, may_change, owner.export_columns(request))
        table = exports.table(asked)
    rows = replica.rows_while_reading(table.rows)
    return download(msgspec.structs.replace(table, rows=rows), kind, now)


def ids_in_order(rows: models.QuerySet[_M]) -> Sequence[int]:
    return list(rows.values_list("pk", flat=True))
