"""Who did what: the one place where audit entries are written, and what they are called."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec
from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .logs import masked
from .models import ApiKey, AuditEntry, Server, Subscriber

Changes = Mapping[str, tuple[Any, Any]]
"""Old and new value by the name of a field."""


class Action(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    EXTENDED = "extended"
    SWITCHED_ON = "switched on"
    SWITCHED_OFF = "switched off"
    RESTARTED = "period restarted"
    NEW_TOKEN = "new token"  # noqa: S105
    CORRECTED = "corrected"
    CORRECTION_UNDONE = "correction undone"
    DELETED = "deleted"
    BROUGHT_BACK = "brought back"
    REVOKED = "revoked"
    ERASED = "erased"


LABELS: dict[str, str | Promise] = {
    Action.ADDED: _("Added"),
    Action.CHANGED: _("Changed"),
    Action.EXTENDED: _("Extended"),
    Action.SWITCHED_ON: _("Switched on"),
    Action.SWITCHED_OFF: _("Switched off"),
    Action.RESTARTED: _("Restarted the period"),
    Action.NEW_TOKEN: _("New token"),
    Action.CORRECTED: _("Corrected the usage"),
    Action.CORRECTION_UNDONE: _("Undid a correction"),
    Action.DELETED: _("Deleted"),
    Action.BROUGHT_BACK: _("Brought back"),
    Action.REVOKED: _("Revoked"),
    Action.ERASED: _("Erased a subscriber; the sums are here"),
}
# Of these the beginning is kept at most.
_SECRETS = frozenset({"token"})
_TARGETS: dict[type[models.Model], str] = {Subscriber: "subscriber", Server: "server", ApiKey: "api_key"}
Target = Subscriber | Server | ApiKey


class By(msgspec.Struct, frozen=True):
    """Whose doing it is, and when."""

    author: str
    now: datetime


def note(action: Action, target: Target, by: By, changes: Changes | None = None) -> None:
    """One entry. Call it in the transaction that makes the change."""
    note_many(action, [(target, changes or {})], by)


def note_many(action: Action, targets: Iterable[tuple[Target, Changes]], by: By) -> None:
    """One entry for each target, with what changed there."""
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(
                at=by.now,
                author=by.author[:150],
                action=action.value,
                changes={name: [_plain(name, old), _plain(name, new)] for name, (old, new) in changes.items()},
                **{_TARGETS[type(target)]: target},
            )
            for target, changes in targets
        ],
        batch_size=500,
    )


def entries(target: Target) -> models.QuerySet[AuditEntry]:
    """All that was done to one, newest first."""
    return AuditEntry.objects.filter(**{_TARGETS[type(target)]: target}).order_by("-id")


def _plain(name: str, value: Any) -> Any:
    if name in _SECRETS:
        return masked(str(value))
    return value.astimezone(UTC).isoformat(timespec="seconds") if isinstance(value, datetime) else value
