"""Remnawave 2 and 3: the lifetime total of each user. Tokens can be limited to endpoints. Tested with written answers only."""

from typing import Any

import msgspec

from .asking import (
    MAX_ACCOUNTS,
    Access,
    Account,
    Adapter,
    BadAnswerError,
    Conversation,
    Get,
    Way,
    accounts,
    born,
    decoded,
    named,
    total,
)

_USERS = "/api/users/stream"
_INFO = "/info"
_PAGE = 500


class _Page(msgspec.Struct):
    users: list[msgspec.Raw]
    nextCursor: str | int | None = None  # noqa: N815  the panel's spelling


class _Users(msgspec.Struct):
    response: _Page


class _Traffic(msgspec.Struct):
    lifetimeUsedTrafficBytes: Any  # noqa: N815


class _User(msgspec.Struct):
    """``uuid``: of version 2 alone; since version 3 users have a number, and their short id may be renewed."""

    username: str
    userTraffic: _Traffic  # noqa: N815
    uuid: str | None = None
    id: int | None = None
    shortUuid: str | None = None  # noqa: N815
    createdAt: str | None = None  # noqa: N815


class _Person(msgspec.Struct):
    shortUuid: str  # noqa: N815
    username: str
    lifetimeTrafficUsedBytes: Any  # noqa: N815


class _Subscription(msgspec.Struct):
    user: msgspec.Raw


class _Info(msgspec.Struct):
    response: _Subscription


def _everybody(access: Access) -> Conversation:
    """Request pages, each with the cursor of the page before."""
    headers = {"Authorization": f"Bearer {access.secret}"}
    rows: list[msgspec.Raw] = []
    query: dict[str, int | str] = {"size": _PAGE}
    while len(rows) < MAX_ACCOUNTS:
        page = decoded((yield Get(_USERS, query, headers)), _Users).response
        rows += page.users
        if not page.users or page.nextCursor in {None, "", query.get("cursor")}:
            return accounts(rows, _account)
        query = {"size": _PAGE, "cursor": page.nextCursor or ""}
    raise BadAnswerError("too_many_people")


def _account(row: bytes) -> Account:
    user = msgspec.json.decode(row, type=_User)
    used = total(user.userTraffic.lifetimeUsedTrafficBytes)
    name, made = named(user.username), born(user.createdAt or "")
    return Account(_key(user), name, 0, used, is_lifetime=True, born=made)


def _key(user: _User) -> str:
    """The most permanent id that the panel tells. Raises ValueError if there is none."""
    number = "" if user.id is None else str(user.id)
    return named(user.uuid or number or user.shortUuid or "")


def _person(_: Access) -> Conversation:
    body = yield Get(_INFO)
    return accounts([decoded(body, _Info).response.user], _account_of_link)


def _account_of_link(row: bytes) -> Account:
    user = msgspec.json.decode(row, type=_Person)
    used = total(user.lifetimeTrafficUsedBytes)
    return Account(named(user.shortUuid), named(user.username), 0, used, is_lifetime=True)


ADAPTER = Adapter(
    kind="remnawave",
    paths=frozenset({_USERS, _INFO}),
    talk={Way.KEY: _everybody, Way.LINK: _person},
)
