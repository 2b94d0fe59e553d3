"""The audit trail: the one place that writes audit entries, and the labels of actions."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec
from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .masks import masked
from .models import AuditEntry

Changes = Mapping[str, tuple[Any, Any]]
"""Old and new value by field name."""


class Action(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    EXTENDED = "extended"
    RENEWED = "renewed"
    SWITCHED_ON = "switched on"
    SWITCHED_OFF = "switched off"
    RESTARTED = "period restarted"
    NEW_TOKEN = "new token"  # noqa: S105
    CORRECTED = "corrected"
    CORRECTION_UNDONE = "correction undone"
    DELETED = "deleted"
    BROUGHT_BACK = "brought back"
    REVOKED = "revoked"
    REPLACED = "replaced"
    ERASED = "erased"
    LINK_SHOWN = "link shown"
    DEVICE_FORGOTTEN = "device forgotten"
    FACTOR_SET_UP = "second factor set up"
    FACTOR_TAKEN_AWAY = "second factor taken away"
    RECOVERY_CODE_USED = "recovery code used"
    NEW_RECOVERY_CODES = "new recovery codes"


LABELS: dict[str, str | Promise] = {
    Action.ADDED: _("Added"),
    Action.CHANGED: _("Changed"),
    Action.EXTENDED: _("Extended"),
    Action.RENEWED: _("Renewed"),
    Action.SWITCHED_ON: _("Switched on"),
    Action.SWITCHED_OFF: _("Switched off"),
    Action.RESTARTED: _("Restarted the period"),
    Action.NEW_TOKEN: _("New token"),
    Action.CORRECTED: _("Corrected the usage"),
    Action.CORRECTION_UNDONE: _("Undid a correction"),
    Action.DELETED: _("Deleted"),
    Action.BROUGHT_BACK: _("Brought back"),
    Action.REVOKED: _("Revoked"),
    Action.REPLACED: _("Replaced the secret"),
    Action.ERASED: _("Erased; the totals are kept here"),
    Action.LINK_SHOWN: _("Took the subscription link"),
    Action.DEVICE_FORGOTTEN: _("Forgot a device"),
    Action.FACTOR_SET_UP: _("Set up the second factor"),
    Action.FACTOR_TAKEN_AWAY: _("Took the second factor away"),
    Action.RECOVERY_CODE_USED: _("Used a recovery code"),
    Action.NEW_RECOVERY_CODES: _("Made new recovery codes"),
}
# Only the beginning of these fields is kept. A model adds its own as ``secret_fields``.
_SECRETS = frozenset({"token", "password"})
_UNTOLD = frozenset({"password"})


class By(msgspec.Struct, frozen=True):
    """The author of a change, and its time."""

    author: str
    now: datetime


def note(action: Action, target: models.Model, by: By, changes: Changes | None = None) -> None:
    """Write one entry. Call this inside the transaction that makes the change."""
    note_many(action, [(target, changes or {})], by)


def note_many(action: Action, targets: Iterable[tuple[models.Model, Changes]], by: By) -> None:
    """Write one entry for each target, with its own changes."""
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(
                at=by.now,
                author=by.author[:150],
                action=action.value,
                changes=_kept(target, changes),
                target_kind=kind_of(target),
                target_id=target.pk,
                target_name=_name(target),
            )
            for target, changes in targets
        ],
        batch_size=500,
    )


def entries(target: models.Model) -> models.QuerySet[AuditEntry]:
    """The entries of one object, newest first. A row whose key is not a number is never a target."""
    if not isinstance(target.pk, int):
        return AuditEntry.objects.none()
    found = AuditEntry.objects.filter(target_kind=kind_of(target), target_id=target.pk)
    return found.order_by("-id")


def kind_of(target: models.Model | type[models.Model]) -> str:
    """``app.model``: the kind of target that an entry stores."""
    return str(target._meta.label_lower)  # noqa: SLF001


def _name(target: models.Model) -> str:
    """The name of the target, masked if it holds a link or a token."""
    name = " ".join(str(target).split())[:200]
    return masked(name) if "://" in name else name


def values(target: models.Model, names: Iterable[str]) -> dict[str, Any]:
    """The current values of these fields, for ``differences``."""
    return {name: getattr(target, name) for name in names}


def differences(target: models.Model, before: Mapping[str, Any]) -> Changes:
    """The changes since ``before``, which ``values`` returned."""
    now = values(target, before)
    return {name: (old, now[name]) for name, old in before.items() if old != now[name]}


def real(target: models.Model, changes: Changes) -> Changes:
    """The changes whose values differ. A secret that forms hide, like a password, counts as changed."""
    return {
        name: (old, new)
        for name, (old, new) in changes.items()
        if (name in _UNTOLD if old is new is None else _comparable(old) != _comparable(new))
    }


def _comparable(value: Any) -> Any:
    """Make selected rows comparable, whether they are a list or a query."""
    is_many = isinstance(value, models.QuerySet | list | tuple)
    return _plain(value) if is_many else value


def _kept(target: models.Model, changes: Changes) -> dict[str, list[Any]]:
    secrets = _secrets(target)
    return {
        name: [_hidden(value) if name in secrets else _plain(value) for value in pair]
        for name, pair in changes.items()
    }


def _secrets(target: models.Model) -> frozenset[str]:
    own: frozenset[str] = getattr(target, "secret_fields", frozenset())
    return _SECRETS | own


def _hidden(value: Any) -> str:
    return masked(str(value or ""))


def _plain(value: Any) -> Any:
    """A value that JSON can store: rows by name, times in UTC, links masked."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, models.Model):
        return _name(value)
    if isinstance(value, models.QuerySet | list | tuple):
        return sorted(str(_plain(one)) for one in value)
    if isinstance(value, str) and "://" in value:
        return masked(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
