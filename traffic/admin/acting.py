"""Actions on what is chosen in a list: asked about first, then done by ``changes``."""

from datetime import datetime
from typing import Any, TypeVar

import msgspec
from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from traffic import audit
from traffic.audit import LABELS, Action, By
from traffic.cells import moment, signed_size
from traffic.models import AuditEntry, Subscriber

from . import once
from .base import PanelAdmin

_M = TypeVar("_M", bound=models.Model)
# How many names a page asks about.
_NAMED = 20
# How many entries of a history are shown.
_ENTRIES = 200
_SIZES = frozenset({"data_limit", "upload", "download"})
# Of a correction, which has no value from before.
_NAMES: dict[str, object] = {
    "upload": gettext_lazy("upload"),
    "download": gettext_lazy("download"),
    "reason": gettext_lazy("reason"),
}
_MOMENTS = frozenset({"expires_at", "reset_at"})


class Question(msgspec.Struct, frozen=True):
    """Asked before ``action`` is done to what is chosen. ``form``: what else must be told."""

    action: str
    title: str
    text: str = ""
    form: forms.Form | None = None
    hiding: bool = False


class Entry(msgspec.Struct, frozen=True):
    """An audit entry as it is read: ``changes`` are name, old and new value of each field."""

    at: str
    author: str
    action: object
    changes: list[tuple[object, object, object]]


def read(entry: AuditEntry) -> Entry:
    names = {field.name: field.verbose_name for field in Subscriber._meta.concrete_fields}  # noqa: SLF001
    changes = [
        (_NAMES.get(name) or names.get(name, name), None if name in _NAMES else _value(name, old), _value(name, new))
        for name, (old, new) in sorted(entry.changes.items())
    ]
    return Entry(moment(entry.at), entry.author, LABELS.get(entry.action, entry.action), changes)


def _value(name: str, value: Any) -> object:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if name in _SIZES:
        return signed_size(value)
    if name == "limit_reset":
        return dict(Subscriber.Reset.choices).get(value, value)
    return moment(datetime.fromisoformat(value)) if name in _MOMENTS else value


def by(request: HttpRequest) -> By:
    """Whose doing it is, and when."""
    return By(request.user.get_username(), timezone.now())


class ActingAdmin(PanelAdmin[_M]):
    """What is done here is noted, and the history of an object is what was noted of it."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self.note_saved(request, obj, form, change=change)

    def note_saved(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> None:
        """One entry; of a changed object with the old and the new value of every edited field."""
        if not change:
            audit.note(Action.ADDED, obj, by(request))
            return
        values = {name: (form.initial.get(name), getattr(obj, name)) for name in form.changed_data}
        if changes := {name: (old, new) for name, (old, new) in values.items() if old != new}:
            audit.note(Action.CHANGED, obj, by(request), changes)

    def history(self, obj: Any) -> list[Entry]:
        """The latest entries, newest first."""
        return [read(entry) for entry in audit.entries(obj)[:_ENTRIES]]

    @method_decorator(require_safe)
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.permitted(request, object_id, "view")
        context = {"title": _("History of %(name)s") % {"name": obj}, "history": self.history(obj)}
        return self.render(request, "admin/traffic/history.html", obj, context)

    def question(self, request: HttpRequest, queryset: models.QuerySet[_M], asked: Question) -> TemplateResponse:
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": asked.title,
            "opts": self.opts,
            "media": self.media,
            "asked": asked,
            "once": once.ticket(),
            "named": queryset[:_NAMED],
            "unnamed": max(queryset.count() - _NAMED, 0),
            # All of them are asked for again by the list's own query, not by a thousand form fields.
            "select_across": request.POST.get("select_across") == "1",
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/traffic/question.html", context)

    def ids(self, queryset: models.QuerySet[_M]) -> list[int]:
        return list(queryset.order_by().values_list("pk", flat=True))
