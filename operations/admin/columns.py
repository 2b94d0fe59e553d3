"""Which columns of a list an operator sees. The choice is kept in a cookie of their browser."""

from collections.abc import Sequence
from typing import Any

import msgspec
from django.contrib.admin.utils import label_for_field
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.views.decorators.http import require_POST

_YEAR = 365 * 24 * 60 * 60


class Choice(msgspec.Struct, frozen=True):
    name: str
    label: str
    is_shown: bool


def shown(owner: Any, request: HttpRequest, columns: Sequence[Any]) -> list[Any]:
    """These columns without the hidden ones. The first, which names the row, always stays."""
    hidden = _hidden(owner, request)
    return [column for column in columns if column == columns[0] or column not in hidden]


def choices(owner: Any, request: HttpRequest) -> list[Choice]:
    hidden = _hidden(owner, request)
    return [
        Choice(name, capfirst(str(label_for_field(name, owner.model, owner))), name not in hidden)
        for name in owner.list_display[1:]
    ]


@method_decorator(require_POST)
def choose_view(owner: Any, request: HttpRequest) -> HttpResponse:
    """Keep the columns that are ticked, and return to the list with its filters."""
    if not owner.has_view_permission(request):
        raise PermissionDenied
    ticked = request.POST.getlist("column")
    hidden = [name for name in owner.list_display[1:] if name not in ticked]
    query = request.POST.get("query", "")
    response = HttpResponseRedirect(f"{owner.list_url()}{query and '?'}{query}")
    response.set_cookie(
        _cookie(owner),
        ".".join(hidden),
        max_age=_YEAR,
        path=owner.list_url(),
        httponly=True,
        samesite="Lax",
        secure=request.is_secure(),
    )
    return response


def _hidden(owner: Any, request: HttpRequest) -> frozenset[str]:
    return frozenset(request.COOKIES.get(_cookie(owner), "").split("."))


def _cookie(owner: Any) -> str:
    return f"xp-columns-{owner.opts.model_name}"
