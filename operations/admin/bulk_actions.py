"""Actions on one object (a button) or on many rows (a list action): shown as now → then, confirmed, done once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from operations.audit import By

from . import once, questions
from .base import Page, PanelAdmin, by
from .questions import ObjectAction, Question

_Owner = PanelAdmin[Any]
_ListAction = Callable[[_Owner, HttpRequest, models.QuerySet[Any]], HttpResponse | None]


def _nothing(owner: _Owner, request: HttpRequest, ids: Sequence[int]) -> None:
    pass


class BulkAction(ObjectAction, frozen=True, kw_only=True):
    """``do`` takes ids, the cleaned data of the form and the author; it returns how many were changed.

    ``question`` and ``done`` are lazy plural texts with a ``%d``. ``after``: what else to say when something was changed.
    """

    question: Any
    done: Any
    do: Callable[[Iterable[int], Mapping[str, Any], By], int]
    after: Callable[[_Owner, HttpRequest, Sequence[int]], None] = _nothing


def in_list(name: str, action: BulkAction) -> _ListAction:
    """An entry for the ``actions`` of an admin class."""

    @admin.action(permissions=["change"], description=cast("str", action.button))
    def act(
        owner: _Owner, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> HttpResponse | None:
        return _act_on_many(owner, request, queryset, name, action)

    act.__name__ = name
    return act


def page(action: BulkAction) -> Page:
    """The page that confirms the action for one object, then does it."""
    return partial(_act_on_one, action=action)


def _act_on_many(
    owner: _Owner, request: HttpRequest, rows: models.QuerySet[Any], name: str, action: BulkAction
) -> HttpResponse | None:
    is_sent = bool(request.POST.get("post"))
    form = action.form(request.POST if is_sent else None) if action.form else None
    if is_sent and not questions.is_preview(request) and (form is None or form.is_valid()):
        _do(owner, request, action, owner.ids(rows), form.cleaned_data if form else {})
        return None
    asked = Question(
        action=name,
        title=action.question % rows.count(),
        text=str(action.text),
        form=form,
        changes=partial(questions.changes_of, action, questions.entered(form), now=timezone.now()),
    )
    return questions.ask(owner, request, rows, asked)


@questions.asking
def _act_on_one(
    owner: _Owner, request: HttpRequest, object_id: str, action: BulkAction
) -> HttpResponse:
    obj = owner.permitted(request, object_id, "change")

    def do(data: Mapping[str, Any]) -> HttpResponse:
        _do(owner, request, action, [obj.pk], data)
        return owner.back_to(obj)

    return questions.act(owner, request, action, obj, do)


def _do(
    owner: _Owner, request: HttpRequest, action: BulkAction, ids: list[int], data: Mapping[str, Any]
) -> None:
    count = once.do(request, lambda: action.do(ids, data, by(request)))
    if count is None:
        owner.say_it_was_done(request)
        return
    owner.message_user(
        request, action.done % count, messages.SUCCESS if count else messages.WARNING
    )
    if count:
        action.after(owner, request, ids)
