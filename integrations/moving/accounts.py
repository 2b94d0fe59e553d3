"""What another panel tells of one of its people, in our words. Pure."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from integrations.pulls.adapters.asking import MAX_TOTAL, total

DAY = 86_400
# The latest end that is kept: 9998 is for ever.
_LAST = 253_339_228_800
_MAX_NOTE = 10_000
Row = Mapping[str, Any]


class Remark(StrEnum):
    """A part of an account that cannot be said here as it was said there."""

    # The id in the old link has characters that a token cannot have.
    UNFIT_TOKEN = "unfit_token"  # noqa: S105
    # The panel renews the person at the end of each term.
    RENEWS = "renews"
    # Usage is reset by a rule that does not exist here.
    UNKNOWN_RESET = "unknown_reset"
    # The term begins there at a fixed moment, even without any use.
    BEGINS_BY_ITSELF = "begins_by_itself"
    # Several clients have one subscription, and are one person here.
    SHARED = "shared"
    # These clients end at different times; the latest counts.
    ENDS_DIFFER = "ends_differ"


class Reset(NamedTuple):
    """When usage starts again from zero, in the words of ``Subscriber``. ``start``: Unix seconds, of an interval."""

    rule: str = "never"
    day: int = 1
    days: int = 30
    start: int = 0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One person of another panel.

    ``key``: the panel's permanent id of the person; ``username`` and ``number``: by which its tokens name them. ``born``
    and ``revoked``: Unix seconds when the account was made, and before which its tokens were revoked; 0 = unknown, never.
    ``upload``, ``download``, ``limit``: bytes, of the current period. ``expires``: Unix seconds.
    """

    key: str
    name: str
    username: str = ""
    number: int | None = None
    born: int = 0
    revoked: int = 0
    token: str = ""
    is_active: bool = True
    upload: int = 0
    download: int = 0
    limit: int | None = None
    expires: int | None = None
    hold_days: int | None = None
    reset: Reset = Reset()
    note: str = ""
    remarks: tuple[Remark, ...] = ()


class Unreadable(NamedTuple):
    """An entry that cannot be read. ``name``: if it has one. ``field``: the part that is wrong."""

    name: str
    field: str


class People(msgspec.Struct, frozen=True):
    """All people of a panel, each once. ``secret``: signs the panel's subscription tokens; "" = unknown."""

    accounts: list[Account]
    unreadable: list[Unreadable] = []
    secret: str = ""


class BadFieldError(ValueError):
    """A part of an entry is not as the panel writes it. ``field``: its name."""

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(field)


def read(rows: Iterable[Row], account: Callable[[Row], Account], name: str) -> People:
    """Read each entry by itself, so that a bad one does not hide the others. ``name``: the field with the name.

    Names are unique in a panel. A name that comes again is the same person, of whom the later entry counts.
    """
    found: dict[Any, Account] = {}
    unreadable = []
    for row in rows:
        try:
            one = account(row)
        except BadFieldError as error:
            unreadable.append(Unreadable(_shown(row.get(name)), error.field))
        else:
            found[row.get(name)] = one
    return People(list(found.values()), unreadable)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:100]


def text(row: Row, field: str) -> str:
    """Text without spaces around it; "" if there is none."""
    value = row.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or "\x00" in value:
        raise BadFieldError(field)
    return value.strip()


def name(row: Row, field: str) -> str:
    """A name that is not empty and can be printed."""
    found = text(row, field)
    if not 1 <= len(found) <= 200 or not found.isprintable():
        raise BadFieldError(field)
    return found


def note(row: Row, field: str) -> str:
    return text(row, field)[:_MAX_NOTE]


def size(row: Row, field: str) -> int:
    """Bytes. Nothing is 0, a part of a byte is left out."""
    value = row.get(field) or 0
    if isinstance(value, float) and math.isfinite(value):
        value = int(value)
    try:
        return total(value)
    except ValueError:
        raise BadFieldError(field) from None


def limit(row: Row, field: str) -> int | None:
    """Bytes; None = unlimited, for which panels write 0."""
    return size(row, field) or None


def whole(row: Row, field: str) -> int:
    """A whole number, negative ones included; nothing is 0."""
    value = row.get(field) or 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_TOTAL:
        raise BadFieldError(field)
    return value


def moment(row: Row, field: str) -> float:
    """Unix seconds of an ISO 8601 time, which is UTC without a zone, or of a number; 0 if there is none."""
    value = row.get(field)
    if value is None or value == "":
        return 0
    if not isinstance(value, str):
        return whole(row, field)
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadFieldError(field) from None


def end(row: Row, field: str) -> int | None:
    """The end of a term in Unix seconds; None = never, for which panels write 0."""
    found = int(moment(row, field))
    if found < 0:
        raise BadFieldError(field)
    return None if not found or found > _LAST else found


def days_of(seconds: float) -> int:
    """Whole days, in favour of the person."""
    return max(math.ceil(seconds / DAY), 1)


def grouped(accounts: Sequence[Account]) -> Iterator[list[Account]]:
    """Those with the same key together, in their order."""
    groups: dict[str, list[Account]] = {}
    for account in accounts:
        groups.setdefault(account.key, []).append(account)
    yield from groups.values()
