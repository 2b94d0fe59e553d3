"""Marzban 0.8: the lifetime total of each user, which no reset changes.

Marzban has no API keys, so the list needs a sign-in: one POST of a user name and a password for a token, which is used
for one reading. An admin without *sudo* suffices and gets only their own users. Upload and download are one number, which
counts as download. A person's subscription link gives the same number without any rights.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import msgspec

from .asking import (
    Access,
    Account,
    Adapter,
    Conversation,
    Get,
    Question,
    SignIn,
    Way,
    accounts,
    born,
    decoded,
    named,
    paged,
    total,
)

_SIGN_IN = "/api/admin/token"
# Each user is some kilobytes, because all their links are included.
_PAGE = 200
USERS = "/api/users"
INFO = "/info"


class _Token(msgspec.Struct):
    access_token: str


class _Page(msgspec.Struct):
    users: list[msgspec.Raw]


class _User(msgspec.Struct):
    username: str
    lifetime_used_traffic: Any
    created_at: str | None = None


def signed_in(path: str, access: Access) -> Generator[Question, bytes, Mapping[str, str]]:
    """Sign in; return the header with the token."""
    body = yield SignIn(path, {"username": access.username, "password": access.secret})
    return {"Authorization": f"Bearer {decoded(body, _Token).access_token}"}


def users(headers: Mapping[str, str]) -> Conversation:
    """All users, oldest first, so that new ones are on the last page."""
    rows = yield from paged(
        lambda place: Get(
            USERS, {"offset": place * _PAGE, "limit": _PAGE, "sort": "created_at"}, headers
        ),
        _rows,
        _PAGE,
    )
    return accounts(rows, account)


def account(row: bytes) -> Account:
    """Read a user of Marzban, PasarGuard or Marzneshin; raises msgspec.DecodeError and ValueError."""
    user = msgspec.json.decode(row, type=_User)
    name = named(user.username)
    used = total(user.lifetime_used_traffic)
    return Account(name, name, 0, used, is_lifetime=True, born=born(user.created_at or ""))


def person(_: Access) -> Conversation:
    """The owner of a subscription link."""
    body = yield Get(INFO)
    return accounts([msgspec.Raw(body)], account)


def _everybody(access: Access) -> Conversation:
    headers = yield from signed_in(_SIGN_IN, access)
    return (yield from users(headers))


def _rows(body: bytes) -> Sequence[msgspec.Raw]:
    return decoded(body, _Page).users


ADAPTER = Adapter(
    kind="marzban",
    paths=frozenset({USERS, INFO}),
    sign_in=_SIGN_IN,
    talk={Way.LOGIN: _everybody, Way.LINK: person},
)
