"""Marzneshin: the lifetime total of each user. It has no API keys. Tested with written answers only."""

from collections.abc import Sequence

import msgspec

from . import marzban
from .asking import Access, Adapter, Conversation, Get, Way, accounts, decoded, paged

_SIGN_IN = "/api/admins/token"
_USERS = "/api/users"
# The largest page that it returns.
_PAGE = 100


class _Page(msgspec.Struct):
    items: list[msgspec.Raw]


def _everybody(access: Access) -> Conversation:
    headers = yield from marzban.signed_in(_SIGN_IN, access)
    rows = yield from paged(
        lambda place: Get(_USERS, {"page": place + 1, "size": _PAGE}, headers), _rows, _PAGE
    )
    return accounts(rows, marzban.account)


def _rows(body: bytes) -> Sequence[msgspec.Raw]:
    return decoded(body, _Page).items


ADAPTER = Adapter(
    kind="marzneshin",
    paths=frozenset({_USERS, marzban.INFO}),
    sign_in=_SIGN_IN,
    talk={Way.LOGIN: _everybody, Way.LINK: marzban.person},
)
