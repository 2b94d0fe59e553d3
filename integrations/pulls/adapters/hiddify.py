"""Hiddify 10: the total of each user's current period, in gigabytes as a float. Tested with written answers only.

It has no lifetime total. A total that falls is a new period, unless rounding explains the difference.
"""

import math
import re
from collections import Counter
from typing import Any

import msgspec

from .asking import (
    MAX_TOTAL,
    Access,
    Account,
    Adapter,
    Conversation,
    Found,
    Get,
    Way,
    accounts,
    decoded,
    named,
)

_USERS = "/api/v2/admin/user/"
_ME = "/api/v2/user/me/"
_GB = 2**30
# More than the rounding of gigabytes can change.
_NOISE = 2**20
# Links for apps continue after the person's id: …/auto/, …/#name.
_BASE = re.compile(r"[^?#]*?/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class _User(msgspec.Struct):
    uuid: str
    name: str
    current_usage_GB: Any  # noqa: N815  the panel's spelling


class _Me(msgspec.Struct):
    profile_usage_current: Any
    profile_title: str = ""


def _everybody(access: Access) -> Conversation:
    body = yield Get(_USERS, {}, {"Hiddify-API-Key": access.secret})
    return _told_apart(accounts(decoded(body, list[msgspec.Raw]), _account))


def _account(row: bytes) -> Account:
    user = msgspec.json.decode(row, type=_User)
    key, used = named(user.uuid), _bytes(user.current_usage_GB)
    return Account(key, user.name.strip() or key, 0, used, noise=_NOISE)


def _told_apart(found: Found) -> Found:
    """Use the id instead of a name that is not unique or not printable, because Hiddify allows any name."""
    often = Counter(account.name.casefold() for account in found.accounts)
    people = [
        account if _is_name(account.name) and often[account.name.casefold()] == 1
        else msgspec.structs.replace(account, name=account.key)
        for account in found.accounts
    ]  # fmt: skip
    return Found(people, found.unreadable)


def _is_name(text: str) -> bool:
    try:
        named(text)
    except ValueError:
        return False
    return True


def _person(_: Access) -> Conversation:
    body = yield Get(_ME)
    return accounts([msgspec.Raw(body)], _me)


def _me(row: bytes) -> Account:
    me = msgspec.json.decode(row, type=_Me)
    name = me.profile_title.strip()
    used = _bytes(me.profile_usage_current)
    return Account("me", name if _is_name(name) else "me", 0, used, noise=_NOISE)


def _bytes(gigabytes: Any) -> int:
    is_number = isinstance(gigabytes, int | float) and not isinstance(gigabytes, bool)
    if not is_number or not math.isfinite(gigabytes) or not 0 <= gigabytes <= MAX_TOTAL / _GB:
        raise ValueError(gigabytes)
    used: int = round(gigabytes * _GB)
    return used


ADAPTER = Adapter(
    kind="hiddify",
    paths=frozenset({_USERS, _ME}),
    talk={Way.KEY: _everybody, Way.LINK: _person},
    base=_BASE,
)
