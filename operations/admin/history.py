"""Audit entries in readable form, for the page of an object and the list of all entries."""

from datetime import datetime
from typing import Any

import msgspec
from django.apps import apps
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations import audit
from operations.audit import LABELS
from operations.formatting import last_day, moment, signed_size
from operations.models import AuditEntry

# The number of entries that a history shows.
_MOST = 200
_SIZES = frozenset({"data_limit", "upload", "download"})
# Fields of a correction, which has no old value.
_NAMES: dict[str, object] = {
    "upload": gettext_lazy("upload"),
    "download": gettext_lazy("download"),
    "reason": gettext_lazy("reason"),
}
_MOMENTS = frozenset({"expires_at", "reset_at"})


class Change(msgspec.Struct, frozen=True):
    """``old`` is None if there was no value before."""

    name: object
    old: object
    new: object


class Entry(msgspec.Struct, frozen=True):
    """An audit entry in readable form."""

    at: str
    author: str
    action: object
    changes: list[Change]


def latest(target: models.Model) -> list[Entry]:
    """The entries of one object, newest first."""
    return [read(entry) for entry in audit.entries(target)[:_MOST]]


def title_of(target: models.Model) -> str:
    return _("History of %(name)s") % {"name": target}


def read(entry: AuditEntry) -> Entry:
    return Entry(
        moment(entry.at), entry.author, LABELS.get(entry.action, entry.action), changes(entry)
    )


def changes(entry: AuditEntry) -> list[Change]:
    model = _model(entry.target_kind)
    return [_change(model, name, old, new) for name, (old, new) in sorted(entry.changes.items())]


def _change(model: type[models.Model] | None, name: str, old: Any, new: Any) -> Change:
    if name in getattr(model, "LAST_DAYS", ()):
        return Change(_("last day"), _day(old), _day(new))
    field = _fields(model).get(name)
    label = _NAMES.get(name) or getattr(field, "verbose_name", name)
    before = None if name in _NAMES else _value(field, name, old)
    return Change(label, before, _value(field, name, new))


def _model(kind: str) -> type[models.Model] | None:
    """None if its app is not installed any more."""
    try:
        return apps.get_model(kind)
    except (LookupError, ValueError):
        return None


def _fields(model: type[models.Model] | None) -> dict[str, Any]:
    """By name."""
    if model is None:
        return {}
    options = model._meta  # noqa: SLF001
    return {field.name: field for field in (*options.concrete_fields, *options.many_to_many)}


def _day(end: str | None) -> str:
    return last_day(datetime.fromisoformat(end)) if end else last_day(None)


def _value(field: Any, name: str, value: Any) -> object:
    if value is None or value in ("", []):
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if name in _SIZES:
        return signed_size(value)
    if isinstance(field, models.DateTimeField) or name in _MOMENTS:
        return moment(datetime.fromisoformat(value))
    return dict(getattr(field, "flatchoices", None) or ()).get(value, value)
