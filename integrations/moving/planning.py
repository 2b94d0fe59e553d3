"""What becomes of each account of an old panel. It looks up what is there, and writes nothing.

An account that moved in before is never touched again, whatever an operator has changed here since. Nobody is merged with
somebody who is here already: a name or a token that is in use leaves the account out.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.db.models.functions import Lower

from operations.conf import MAX_DAYS
from traffic.ledger import retired_tokens
from traffic.models import Subscriber

from .accounts import Account
from .models import OldAccount, OldPanel

# Accounts per look-up, and per transaction when they move in.
STEP = 500


class Fate(StrEnum):
    NEW = "new"
    MOVED = "moved"
    DELETED = "deleted"
    OTHER_ACCOUNT = "other_account"
    NAME_TAKEN = "name_taken"
    TOKEN_TAKEN = "token_taken"  # noqa: S105
    INVALID = "invalid"


class Step(msgspec.Struct, frozen=True):
    """One account and its fate. ``subscriber``: of a new one, not saved."""

    account: Account
    fate: Fate
    subscriber: Subscriber | None = None


class Wanted(msgspec.Struct, frozen=True):
    """Where people come from, as the operator calls it. ``same_names``: a name may be used twice."""

    kind: str
    name: str
    same_names: bool = False


def panel_of(wanted: Wanted) -> OldPanel | None:
    return OldPanel.objects.filter(kind=wanted.kind, name=wanted.name).first()


def plan(wanted: Wanted, accounts: Sequence[Account]) -> Iterator[Step]:
    """The fate of every account, in their order."""
    panel = panel_of(wanted)
    names: set[str] = set()
    tokens: set[str] = set()
    for start in range(0, len(accounts), STEP):
        some = accounts[start : start + STEP]
        names |= set() if wanted.same_names else _names_in_use(some)
        tokens |= _tokens_in_use(some)
        yield from _planned(_moved(panel, some), some, names, tokens, wanted)


def _planned(
    moved: dict[str, OldAccount],
    accounts: Sequence[Account],
    names: set[str],
    tokens: set[str],
    wanted: Wanted,
) -> Iterator[Step]:
    """``names`` and ``tokens``: in use; those of new subscribers are added."""
    for account in accounts:
        before = moved.get(account.key)
        if before:
            yield Step(account, _fate_of_moved(before, account))
            continue
        step = _step(account, names, tokens)
        if step.fate is Fate.NEW:
            tokens.add(account.token)
            names.update(() if wanted.same_names else {_folded(account.name)})
        yield step


def _fate_of_moved(before: OldAccount, account: Account) -> Fate:
    is_same = not (before.born and account.born) or abs(before.born - account.born) <= 1
    if not is_same:
        return Fate.OTHER_ACCOUNT
    return Fate.DELETED if before.subscriber.hidden_at else Fate.MOVED


def _step(account: Account, names: set[str], tokens: set[str]) -> Step:
    if _folded(account.name) in names:
        return Step(account, Fate.NAME_TAKEN)
    if account.token and account.token in tokens:
        return Step(account, Fate.TOKEN_TAKEN)
    subscriber = _subscriber(account)
    try:
        subscriber.clean_fields()
    except ValidationError:
        return Step(account, Fate.INVALID)
    return Step(account, Fate.NEW, subscriber)


def _subscriber(account: Account) -> Subscriber:
    reset = account.reset
    found = Subscriber(
        name=account.name,
        note=account.note,
        is_active=account.is_active,
        data_limit=account.limit,
        expires_at=None
        if account.expires is None
        else datetime.fromtimestamp(account.expires, UTC),
        hold_days=account.hold_days and min(account.hold_days, MAX_DAYS),
        limit_reset=reset.rule,
        reset_day=reset.day,
        reset_days=reset.days,
    )
    if account.token:
        found.token = account.token
    if reset.start:
        found.started_at = datetime.fromtimestamp(reset.start, UTC)
    return found


def _folded(name: str) -> str:
    return name.lower()


def _moved(panel: OldPanel | None, accounts: Sequence[Account]) -> dict[str, OldAccount]:
    if panel is None:
        return {}
    keys = [account.key for account in accounts]
    found = panel.accounts.filter(key__in=keys).select_related("subscriber")
    return {row.key: row for row in found}


def _names_in_use(accounts: Sequence[Account]) -> set[str]:
    """Letter case apart, as meters look for names. A database folds ASCII at least, so the name as it is counts too."""
    names = [account.name for account in accounts]
    is_used = Q(folded__in=[_folded(name) for name in names]) | Q(name__in=names)
    rows = Subscriber.objects.visible().alias(folded=Lower("name")).filter(is_used)
    return {_folded(name) for name in rows.values_list("name", flat=True)}


def _tokens_in_use(accounts: Sequence[Account]) -> set[str]:
    """Also those of deleted subscribers, and those that subscribers had before."""
    tokens = {account.token for account in accounts if account.token}
    if not tokens:
        return set()
    used = set(Subscriber.objects.filter(token__in=tokens).values_list("token", flat=True))
    return used | (tokens - set(retired_tokens.never_retired(tokens)))
