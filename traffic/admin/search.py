"""Global search for subscribers and servers, called by the theme's search on every page."""

from typing import Any

from django.contrib import admin
from django.db.models import Case, When
from django.http import HttpRequest
from django.utils.text import capfirst
from unfold.dataclasses import SearchResult

from operations.admin.base import PanelAdmin
from traffic.models import Server, Subscriber

_MOST = 10


def found(request: HttpRequest, _term: str) -> list[SearchResult]:
    """The first few subscribers and servers that this user may see, found by the search of their lists.

    The theme passes the term in lower case. Tokens are case-sensitive, so the term is read from the request.
    """
    term = request.GET.get("s", "").strip()
    admins = (admin.site._registry[model] for model in (Subscriber, Server))  # noqa: SLF001  no public list
    searched = [
        found
        for found in admins
        if isinstance(found, PanelAdmin) and found.has_view_permission(request)
    ]
    return [result for model_admin in searched for result in _results(model_admin, request, term)]


def _results(model_admin: PanelAdmin[Any], request: HttpRequest, term: str) -> list[SearchResult]:
    rows, _ = model_admin.get_search_results(request, model_admin.get_queryset(request), term)
    # An exact name comes before a name that only begins with the term.
    exact = Case(When(name__iexact=term, then=0), When(name__istartswith=term, then=1), default=2)
    rows = rows.order_by(exact, *model_admin.get_ordering(request), "-pk")
    kind = str(capfirst(model_admin.opts.verbose_name))  # the theme stores the result in the cache
    return [
        SearchResult(
            title=str(row),
            description=kind,
            link=model_admin.url("change", row),
            icon=model_admin.icon,
        )
        for row in rows[:_MOST]
    ]
