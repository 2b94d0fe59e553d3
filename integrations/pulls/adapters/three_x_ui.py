"""3x-ui: upload and download of each client in the current period. Tested with written answers only.

It has no lifetime total; counters restart at a reset and when a client is renewed. 3.x has API tokens, but none that can
only read usage, so read-only access depends on the list of paths here. 2.x has no tokens: one POST signs in for a cookie.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from .asking import (
    Access,
    Account,
    Adapter,
    BadAnswerError,
    Conversation,
    Found,
    Get,
    Inbound,
    SignIn,
    Way,
    accounts,
    decoded,
    named,
    total,
)

_SIGN_IN = "/login"
_INBOUNDS = "/panel/api/inbounds/list"


class _SignedIn(msgspec.Struct):
    success: bool


class _Inbound(msgspec.Struct):
    port: int = 0
    protocol: str = ""
    clientStats: list[msgspec.Raw] | None = None  # noqa: N815  the panel's spelling


class _List(msgspec.Struct):
    success: bool
    obj: list[msgspec.Raw] | None = None


class _Client(msgspec.Struct):
    email: str
    up: Any = 0
    down: Any = 0


def _with_token(access: Access) -> Conversation:
    body = yield Get(_INBOUNDS, {}, {"Authorization": f"Bearer {access.secret}"})
    return _clients(body)


def _with_cookie(access: Access) -> Conversation:
    body = yield SignIn(_SIGN_IN, {"username": access.username, "password": access.secret})
    if not decoded(body, _SignedIn).success:
        raise BadAnswerError("sign_in")
    body = yield Get(_INBOUNDS)
    return _clients(body)


def _clients(body: bytes) -> Found:
    answer = decoded(body, _List)
    if not answer.success:
        raise BadAnswerError("bad_answer")
    return _once(list(_by_inbound(answer.obj or [])))


def _by_inbound(rows: list[msgspec.Raw]) -> Iterator[Found]:
    for row in rows:
        try:
            inbound = msgspec.json.decode(row, type=_Inbound)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            yield Found([], 1)
        else:
            found = accounts(inbound.clientStats or [], _account)
            through = Inbound(inbound.port, inbound.protocol)
            people = [
                msgspec.structs.replace(account, inbound=through) for account in found.accounts
            ]
            yield Found(people, found.unreadable)


def _account(row: bytes) -> Account:
    client = msgspec.json.decode(row, type=_Client)
    name = named(client.email)
    return Account(name, name, total(client.up), total(client.down))


def _once(parts: list[Found]) -> Found:
    """Keep a client of several inbounds once and without an inbound, because they share one counter."""
    found: dict[str, Account] = {}
    for account in (account for part in parts for account in part.accounts):
        other = found.get(account.key)
        found[account.key] = account if other is None else _shared(account, other)
    return Found(list(found.values()), sum(part.unreadable for part in parts))


def _shared(one: Account, other: Account) -> Account:
    larger = max(one, other, key=lambda account: account.upload + account.download)
    is_same = one.inbound == other.inbound
    return msgspec.structs.replace(larger, inbound=one.inbound if is_same else None)


ADAPTER = Adapter(
    kind="3x-ui",
    paths=frozenset({_INBOUNDS}),
    sign_in=_SIGN_IN,
    talk={Way.KEY: _with_token, Way.LOGIN: _with_cookie},
)
