"""Finding a subscriber or a server from every page: what the theme's search asks beside the names of its lists."""

from typing import Any

from django.contrib import admin
from django.db.models import Case, When
from django.http import HttpRequest
from django.utils.text import capfirst
from unfold.dataclasses import SearchResult

from traffic.models import Server, Subscriber

from .base import PanelAdmin

_MOST = 10


def found(request: HttpRequest, _term: str) -> list[SearchResult]:
    """The first few of each, found as their lists find them, of what this person may see.

    The theme hands over its term in small letters; tokens know large ones, so it is read anew.
    """
    term = request.GET.get("s", "").strip()
    admins = (admin.site._registry[model] for model in (Subscriber, Server))  # noqa: SLF001  no public list
    searched = [found for found in admins if isinstance(found, PanelAdmin) and found.has_view_permission(request)]
    return [result for model_admin in searched for result in _results(model_admin, request, term)]


def _results(model_admin: PanelAdmin[Any], request: HttpRequest, term: str) -> list[SearchResult]:
    rows, _ = model_admin.get_search_results(request, model_admin.get_queryset(request), term)
    # Who is called just so comes before those whose name goes on.
    exact = Case(When(name__iexact=term, then=0), When(name__istartswith=term, then=1), default=2)
    rows = rows.order_by(exact, *model_admin.get_ordering(request), "-pk")
    kind = str(capfirst(model_admin.opts.verbose_name))  # the theme keeps it in the cache
    return [
        SearchResult(title=str(row), description=kind, link=model_admin.url("change", row), icon=model_admin.icon)
        for row in rows[:_MOST]
    ]
