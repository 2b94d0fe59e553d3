"""Codes that link a chat: random, for a quarter of an hour, for one use, and stored as a hash."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from subscriptions import telling
from traffic.models import Subscriber

from .conf import conf
from .models import Link, LinkCode

LASTS = timedelta(minutes=15)
# 16 characters, which nobody guesses in that time.
_BYTES = 12
LENGTH = 16


def digest(secret: str) -> str:
    """A slow hash is not needed, because codes and tokens are random."""
    return hashlib.sha256(secret.encode()).hexdigest()


def for_subscriber(subscriber: Subscriber, language: str, now: datetime) -> str:
    """A new code; an earlier one has no effect any more."""
    own = {"subscriber": subscriber, "token_digest": digest(subscriber.token)}
    return _make(own, language, now)


def for_user(user: AbstractBaseUser, language: str, now: datetime) -> str:
    return _make({"user": user}, language, now)


@write_transaction
def _make(owner: dict[str, Any], language: str, now: datetime) -> str:
    code = secrets.token_urlsafe(_BYTES)
    whose = {name: value for name, value in owner.items() if name != "token_digest"}
    LinkCode.objects.filter(**whose).delete()
    LinkCode.objects.create(hash=digest(code), language=language, expires_at=now + LASTS, **owner)
    return code


def redeem(code: str, chat: int, now: datetime) -> Link | None:
    """Link this chat to the code's owner, in a transaction of the caller; None for a code that is not valid."""
    found = LinkCode.objects.select_for_update().filter(hash=digest(code)).first()
    if found is None:
        return None
    LinkCode.objects.filter(pk=found.pk).delete()
    if found.expires_at <= now:
        return None
    return _linked(found, chat, now)


def _linked(found: LinkCode, chat: int, now: datetime) -> Link:
    """An owner has one chat: the last one that was linked."""
    owner = {"subscriber_id": found.subscriber_id, "user_id": found.user_id}
    Link.objects.filter(**owner).delete()
    link = Link.objects.create(
        chat=chat,
        token_digest=found.token_digest,
        language=found.language,
        linked_at=now,
        **owner,
    )
    if link.user is not None:
        audit.note(Action.ADDED, link, By(link.user.get_username(), now))
    elif conf.tell_people and link.subscriber_id is not None:
        telling.tell(link.subscriber_id, found.language)
    return link


def drop_old(now: datetime) -> int:
    """Delete codes that have expired; return their number."""
    with write_transaction():
        return LinkCode.objects.filter(expires_at__lte=now).delete()[0]
