"""Downloads of what a list shows, under the list's own filters and order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.views.decorators.http import require_safe

from .base import BAD_FILTER, PanelAdmin
from .exports import FORMATS, Format, Table, download

_M = TypeVar("_M", bound=models.Model)
# Parameters of a list that choose no rows.
_OF_THE_PAGE = ("p", "all", "e", "_facets")


class ExportingAdmin(PanelAdmin[_M]):
    """For lists that can be taken along: each of ``exports`` is a link under the list, as CSV and as JSON."""

    exports: ClassVar[dict[str, str | Promise]] = {}
    """What there is to download, by the name in its address."""

    def table(self, name: str, rows: models.QuerySet[_M], request: HttpRequest, now: datetime) -> Table:
        """The table called ``name`` of these rows, read while it is sent."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/<slug:name>.<slug:kind>", view, name=self._url_name("export")), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = request.GET.copy()
        for name in _OF_THE_PAGE:
            query.pop(name, None)
        links = [(label, self.links(name, query.urlencode())) for name, label in self.exports.items()]
        return super().changelist_view(request, {"exports": links, **(extra_context or {})})

    def links(self, name: str, query: str) -> list[tuple[str, str]]:
        """Format and address of a download, with the query of the list."""
        view = f"{self.admin_site.name}:{self._url_name('export')}"
        return [(kind, f"{reverse(view, args=[name, kind])}{query and '?'}{query}") for kind in FORMATS]

    @method_decorator(require_safe)
    def export_view(self, request: HttpRequest, name: str, kind: Format) -> HttpResponseBase:
        """Everything that the list would show with the same query, on all its pages."""
        if name not in self.exports or kind not in FORMATS:
            raise Http404
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = self.get_changelist_instance(request).get_queryset(request)
        except (IncorrectLookupParameters, *BAD_FILTER):
            return HttpResponseRedirect("../?e=1")
        now = timezone.now()
        return download(self.table(name, found, request, now), kind, now)


def ids_in_order(rows: models.QuerySet[_M]) -> Sequence[int]:
    return list(rows.values_list("pk", flat=True))
