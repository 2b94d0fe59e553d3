"""Looking up and searching subscribers."""

import re
from datetime import datetime

from django.db.models import Q

from operations.databases.transactions import write_transaction
from operations.extension import extensions
from traffic.ledger import retired_tokens, terms
from traffic.models import Subscriber
from traffic.querysets import SubscriberQuerySet
from traffic.reports import is_token

# Subscribers that a search may find and still be asked for by their ids.
_FEW = 1000


def own_token(token: str) -> str:
    """The token under which a person is known here: of a linked panel's token the person's own, else the same.

    Raises OutboundError when a linked panel does not say whose its token is.
    """
    known = (extension.own_token for extension in extensions() if extension.own_token)
    return next(filter(None, (ask(token) for ask in known)), token)


def find(token: str) -> Subscriber | None:
    return Subscriber.objects.visible().filter(token=token).first() if is_token(token) else None


def find_or_create(token: str) -> Subscriber | None:
    """The subscriber of a valid token, created if needed.

    None for an invalid token, a deleted subscriber, or a token that somebody had before.
    """
    if not is_token(token):
        return None
    known = Subscriber.objects.filter(token=token).first()
    subscriber = known or _created(token)
    return None if subscriber is None or subscriber.hidden_at else subscriber


@write_transaction
def _created(token: str) -> Subscriber | None:
    """Create the subscriber, unless another writer was faster."""
    if not retired_tokens.never_retired([token]):
        return None
    return Subscriber.objects.get_or_create(token=token)[0]


def begin_term(subscriber: Subscriber, now: datetime) -> None:
    """The first fetch of the list begins a term that is on hold."""
    if subscriber.hold_days is None:
        return
    with write_transaction():
        terms.begin({subscriber.pk: int(now.timestamp())}, now)
    subscriber.refresh_from_db(fields=["expires_at", "hold_days", "started_at"])


def search(rows: SubscriberQuerySet, words: str, *, may_see_tokens: bool) -> SubscriberQuerySet:
    """Those in whom every word is found: in name or note, as the external id, or as the beginning of the token.

    Whoever may not see tokens finds only by a whole one. A search that finds few is done among subscribers alone first:
    joined to their balances, every shard of a cluster would read all of them.
    """
    if not words.split():
        return rows
    found = _with_words(Subscriber.objects.order_by(), words, may_see_tokens=may_see_tokens)
    ids = list(found.values_list("pk", flat=True)[: _FEW + 1])
    if len(ids) <= _FEW:
        return rows.filter(pk__in=ids)
    return _with_words(rows, words, may_see_tokens=may_see_tokens)


def _with_words(
    rows: SubscriberQuerySet, words: str, *, may_see_tokens: bool
) -> SubscriberQuerySet:
    """SQLite's LIKE knows the case of ASCII only; expressions know it of Иван too."""
    token = "token__startswith" if may_see_tokens else "token"
    for word in words.split():
        part = re.escape(word)
        rows = rows.filter(
            Q((token, word)) | Q(external_id=word) | Q(name__iregex=part) | Q(note__iregex=part)
        )
    return rows
