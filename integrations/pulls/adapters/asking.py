"""The parts of an adapter. Pure: an adapter yields requests, is sent the body of each answer, and returns accounts.

Adapters are read-only by construction: every request is compared with the adapter's own list of paths before it is sent,
and the only POST is the sign-in with user name and password.
"""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from traffic.reports import with_whole_characters

MAX_TOTAL = 2**60
# The most accounts of one panel. A list that does not end by then is an error.
MAX_ACCOUNTS = 100_000
_MAX_TEXT = 255
_WHOLE = re.compile(r"\d{1,19}", re.ASCII)

T = TypeVar("T")


class Way(StrEnum):
    """The ways of access that panels offer."""

    KEY = "key"
    LOGIN = "login"
    # The subscription link of one person, without any rights at the panel.
    LINK = "link"


class Access(NamedTuple):
    """What the operator has. ``secret``: an API key or a password; empty for a link."""

    way: Way
    username: str = ""
    secret: str = ""


class Get(NamedTuple):
    """A GET request. ``path``: relative to the panel's address."""

    path: str
    query: Mapping[str, int | str] = {}
    headers: Mapping[str, str] = {}


class SignIn(NamedTuple):
    """A POST request that exchanges a user name and a password for a token or a cookie."""

    path: str
    form: Mapping[str, str]


class Inbound(NamedTuple):
    """The inbound of an account, if the panel names it."""

    port: int
    protocol: str


class Account(msgspec.Struct, frozen=True, gc=False):
    """The totals of one account, in bytes.

    ``key``: the panel's permanent id of the account; ``name``: the person's name there. ``is_lifetime``: the totals never
    restart; otherwise they restart with each period. ``born``: Unix seconds when the account was created, 0 if unknown.
    ``noise``: bytes by which totals may fall through rounding alone.
    """

    key: str
    name: str
    upload: int
    download: int
    is_lifetime: bool = False
    born: int = 0
    noise: int = 0
    inbound: Inbound | None = None


class Found(NamedTuple):
    """All accounts, each once. ``unreadable``: the number of entries that could not be read."""

    accounts: list[Account]
    unreadable: int = 0


class BadAnswerError(Exception):
    """The answer does not have the documented form. ``code`` is for programs."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


Question = Get | SignIn
Talk = Generator[Question, bytes, T]
Conversation = Talk[Found]


class Adapter(msgspec.Struct, Generic[T], frozen=True):
    """One kind of panel, and what a conversation with it returns.

    ``paths``: all paths that it may GET; ``sign_in``: the only path to which it may POST, if any. ``talk``: starts a
    conversation, by way of access. ``base``: matches the part of a URL to which the paths are relative.
    """

    kind: str
    paths: frozenset[str]
    talk: Mapping[Way, Callable[[Access], Talk[T]]]
    sign_in: str = ""
    base: re.Pattern[str] = re.compile(r"[^?#]*")

    def may_ask(self, question: Question) -> bool:
        if isinstance(question, SignIn):
            return bool(self.sign_in) and question.path == self.sign_in
        return question.path in self.paths

    def base_of(self, url: str) -> str:
        """The address to which the paths are relative."""
        found = self.base.match(url)
        return (found[0] if found else url).rstrip("/")


def decoded(body: bytes, form: type[T]) -> T:
    """The answer in its documented form; raises BadAnswerError."""
    try:
        return with_whole_characters(body, lambda whole: msgspec.json.decode(whole, type=form))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadAnswerError("bad_answer") from None


def accounts(rows: Sequence[msgspec.Raw], read: Callable[[bytes], Account | None]) -> Found:
    """Read each row separately, so that a bad one does not hide the others."""
    found: dict[str, Account] = {}
    unreadable = 0
    for row in rows:
        try:
            account = read(bytes(row))
        except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
            unreadable += 1
            continue
        if account is not None:
            found[account.key] = account
    return Found(list(found.values()), unreadable)


def paged(
    page: Callable[[int], Get], rows_of: Callable[[bytes], Sequence[T]], size: int
) -> Generator[Question, bytes, list[T]]:
    """Request pages, numbered from 0, until one is not full; raises BadAnswerError.

    Pages may overlap if people are added meanwhile; ``accounts`` keeps each account once.
    """
    rows: list[T] = []
    for place in range(MAX_ACCOUNTS // size + 1):
        found = rows_of((yield page(place)))
        rows += found
        if len(found) < size:
            return rows
    raise BadAnswerError("too_many_people")


def total(value: Any) -> int:
    """A number of bytes from 0 to 2^60, which some panels write as a string or a float; raises ValueError."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOTAL:
        raise ValueError(value)
    return value


def named(text: str) -> str:
    """The name without spaces around it; raises ValueError if it is empty, too long or not printable."""
    name = text.strip()
    if not 1 <= len(name) <= _MAX_TEXT or not name.isprintable():
        raise ValueError
    return name


def born(text: str) -> int:
    """Unix seconds of an ISO 8601 time, which is UTC if it has no zone; 0 if the text is not a time."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, int(moment.timestamp()))
    except (ValueError, OverflowError):
        return 0
