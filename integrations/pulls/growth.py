"""Compares a reading of a panel with the last one. Pure; trials and bookings use the same rules."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from .adapters.asking import Account

# Seconds by which a panel's clock may differ from ours.
_CLOCK = 86_400


class What(StrEnum):
    """How an account compares with its last reading."""

    # Its total is not counted, because it may be years of history.
    FIRST = "first"
    GREW = "grew"
    UNCHANGED = "unchanged"
    # The counter restarted, or the account was recreated under its old name: the whole total counts.
    RESTARTED = "restarted"
    # A lifetime total fell, because the panel was restored from a backup: counting goes on from the new total.
    RESTORED = "restored"


class Last(NamedTuple):
    """The last reading of an account, in bytes; ``born``: see ``Account``."""

    upload: int
    download: int
    born: int = 0


class Change(msgspec.Struct, frozen=True):
    """An account, and the bytes to book for it."""

    account: Account
    what: What
    upload: int = 0
    download: int = 0

    @property
    def is_to_be_kept(self) -> bool:
        """Whether the next growth is counted from here."""
        return self.what is not What.UNCHANGED


def compare(
    accounts: Iterable[Account], last: Mapping[str, Last], read_at: float
) -> Iterator[Change]:
    """``last``: by key. ``read_at``: Unix seconds of the last reading of the whole panel."""
    for account in accounts:
        known = last.get(account.key)
        if known is None:
            yield Change(account, What.FIRST)
        else:
            yield _change(account, known, read_at)


def _change(account: Account, last: Last, read_at: float) -> Change:
    upload, download = account.upload - last.upload, account.download - last.download
    if _is_made_again(account, last, read_at):
        return _whole(account)
    if min(upload, download) >= 0:
        grew = What.GREW if upload or download else What.UNCHANGED
        return Change(account, grew, upload, download)
    if min(upload, download) >= -account.noise:
        return Change(account, What.UNCHANGED)
    return Change(account, What.RESTORED) if account.is_lifetime else _whole(account)


def _is_made_again(account: Account, last: Last, read_at: float) -> bool:
    """Whether the account was recreated since the last reading. An older time of birth may be a change of time zone."""
    return bool(last.born) and account.born > max(last.born, read_at - _CLOCK)


def _whole(account: Account) -> Change:
    return Change(account, What.RESTARTED, account.upload, account.download)
