"""What Marzban's webhook tells: a list of events, of which each means that something about one user changed.

Their times are those of Marzban's own start, and a batch may come again minutes later: only their order counts, and the
node protocol has the last word (``people.heal``).
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

import msgspec

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction

from . import people, subscription_tokens
from .models import PanelIdentity, PanelLink

_Status = PanelIdentity.Status
_BY_ACTION = {
    "user_deleted": _Status.DELETED,
    "user_limited": _Status.LIMITED,
    "user_expired": _Status.EXPIRED,
    "user_disabled": _Status.DISABLED,
}
# Every status of a user in the panel; those who may use it have "" here.
BY_STATUS = {
    "active": "",
    "on_hold": "",
    "limited": _Status.LIMITED,
    "expired": _Status.EXPIRED,
    "disabled": _Status.DISABLED,
}
_END_TOKENS = frozenset({"subscription_revoked", "user_deleted"})
_MAX_NAME = 128


class _User(msgspec.Struct):
    status: str | None = None


class Event(msgspec.Struct):
    """``user`` is missing where the user is gone. Its credentials are not decoded."""

    action: str
    username: str
    user: _User | None = None


def decoded(body: bytes) -> list[Event]:
    """Raises msgspec.DecodeError and UnicodeError."""
    return _decoder.decode(body)


def take(link: PanelLink, events: Iterable[Event], now: datetime) -> int:
    """Follow what the events say; return how many people they are about. The last word on each counts."""
    latest: dict[str, tuple[str, str]] = {}
    for event in events:
        status = _status(event)
        if status is not None and 0 < len(event.username) <= _MAX_NAME:
            latest[event.username.lower()] = event.username, status
        if event.action in _END_TOKENS:
            subscription_tokens.forget_all()
    people.told(link, dict(latest.values()), now)
    return len(latest)


def _status(event: Event) -> str | None:
    """None for an event that says nothing of it, like a reminder before the end of a limit."""
    if event.action in _BY_ACTION:
        return _BY_ACTION[event.action]
    return BY_STATUS.get(event.user.status or "") if event.user else None


# --- The secret ------------------------------------------------------------------


def has_secret() -> bool:
    return PanelLink.objects.exclude(events_secret="").exists()


def link_of(secret: str) -> PanelLink | None:
    """The link whose panel sends this secret. Every known secret is compared, in constant time."""
    given = _digest(secret)
    found = None
    for link in PanelLink.objects.exclude(events_secret="").order_by("pk"):
        if hmac.compare_digest(link.events_secret, given):
            found = link
    return found


@write_transaction
def renew_secret(link: PanelLink, by: By) -> str:
    """A new secret, to be shown once; the old one ends."""
    secret = secrets.token_urlsafe(32)
    link.events_secret = _digest(secret)
    link.save(update_fields=["events_secret"])
    audit.note(Action.CHANGED, link, by, {"webhook": (None, "new secret")})
    return secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


_decoder = msgspec.json.Decoder(list[Event])
