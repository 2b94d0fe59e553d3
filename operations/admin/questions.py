"""Confirmation pages for actions on selected rows and on one object."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.views.decorators.http import require_http_methods

from . import once
from .base import PanelAdmin

# The number of names that the page lists.
_NAMED = 20

# For views of pages that ask first.
asking = method_decorator(require_http_methods(["GET", "HEAD", "POST"]))


class Change(msgspec.Struct, frozen=True):
    """One value of an object before and after an action, as the page shows them."""

    label: str | Promise
    now: str
    then: str


Preview = Callable[[Any, Mapping[str, Any], datetime], Sequence[Change]]
"""What an action with this input would change about an object."""


class Question(msgspec.Struct, frozen=True):
    """The confirmation of ``action``. ``form``: further input that the action needs.

    ``template``: further content of the page. ``changes``: of one row.
    """

    action: str
    title: str
    text: str = ""
    form: forms.Form | None = None
    template: str = ""
    changes: Callable[[Any], Sequence[Change] | None] = lambda _: None


def ask(
    owner: PanelAdmin[Any], request: HttpRequest, rows: models.QuerySet[Any], asked: Question
) -> TemplateResponse:
    context: dict[str, Any] = {
        "title": asked.title,
        "asked": asked,
        "once": once.ticket(),
        "named": [(row, asked.changes(row)) for row in rows[:_NAMED]],
        "unnamed": max(rows.count() - _NAMED, 0),
        # If all rows are selected, the list's own query selects them again, not thousands of form fields.
        "select_across": request.POST.get("select_across") == "1",
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
    }
    return owner.render_list_page(request, "admin/operations/question.html", context)


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What the page asks before something is done. ``is_loss``: it takes something away."""

    title: str
    text: str | Promise
    button: str | Promise
    form: forms.BaseForm | None = None
    is_loss: bool = False
    changes: Sequence[Change] | None = None


class ObjectAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action on one object: a button on its page, confirmed first. ``is_loss``: it takes something away.

    ``preview``: what it would change, which the page shows before.
    """

    button: str | Promise
    icon: str
    text: str | Promise
    form: type[forms.Form] | None = None
    is_loss: bool = False
    preview: Preview | None = None


def is_preview(request: HttpRequest) -> bool:
    """Whether the form was sent to see what it would change."""
    return "preview" in request.POST


def changes_of(
    action: ObjectAction, told: Mapping[str, Any], obj: Any, *, now: datetime
) -> Sequence[Change] | None:
    """What the action would change with this input; None when it cannot tell."""
    return None if action.preview is None else action.preview(obj, told, now)


def entered(form: forms.BaseForm | None) -> Mapping[str, Any]:
    """The valid values of the form; before it is sent, its initial ones."""
    if form is None:
        return {}
    if form.is_bound:
        form.full_clean()
        return form.cleaned_data
    return {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}


def confirm(
    owner: PanelAdmin[Any], request: HttpRequest, asked: Confirmation, obj: models.Model | None
) -> TemplateResponse:
    """The page that asks about one object, or without one about something new."""
    context = {
        "title": asked.title,
        "text": asked.text,
        "button": asked.button,
        "form": asked.form,
        "changes": asked.changes,
        "variant": "danger" if asked.is_loss else "primary",
    }
    template = "admin/operations/confirm.html"
    if obj is None:
        return owner.render_list_page(request, template, context | {"home": owner.list_url()})
    return owner.render(request, template, obj, context)


def agree(
    owner: PanelAdmin[Any],
    request: HttpRequest,
    asked: Confirmation,
    obj: models.Model,
    do: Callable[[], object],
) -> HttpResponse:
    """Ask; when it is confirmed, call ``do`` and return to the page of the object."""
    if request.method != "POST":
        return confirm(owner, request, asked, obj)
    do()
    return owner.back_to(obj)


def act(
    owner: PanelAdmin[Any],
    request: HttpRequest,
    action: ObjectAction,
    obj: models.Model,
    do: Callable[[Mapping[str, Any]], HttpResponse],
) -> HttpResponse:
    """Ask whether to do ``action``; when it is confirmed, call ``do`` with the cleaned data of its form."""
    form = action.form(request.POST or None) if action.form else None
    is_sent = request.method == "POST" and not is_preview(request)
    if is_sent and (form is None or form.is_valid()):
        return do(form.cleaned_data if form else {})
    asked = Confirmation(
        title=f"{action.button}: {obj}",
        text=action.text,
        button=action.button,
        form=form,
        is_loss=action.is_loss,
        changes=changes_of(action, entered(form), obj, now=timezone.now()),
    )
    return confirm(owner, request, asked, obj)


def fill_in(
    owner: PanelAdmin[Any],
    request: HttpRequest,
    asked: Confirmation,
    obj: models.Model,
    do: Callable[[], bool],
) -> HttpResponse:
    """Ask for a form; when it is valid, call ``do`` once. ``do`` returns False after adding an error to the form."""
    is_sent = request.method == "POST" and not is_preview(request)
    if is_sent and asked.form and asked.form.is_valid():
        is_done = once.do(request, do)
        if is_done is None:
            owner.say_it_was_done(request)
        if is_done is not False:
            return owner.back_to(obj)
    return confirm(owner, request, asked, obj)
