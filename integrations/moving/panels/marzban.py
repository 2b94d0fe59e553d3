"""Marzban 0.8 and older: its users from ``GET /api/users``, or from the tables of its SQLite database.

A reset is due a fixed number of days after the last one. Only the database tells when that was; over the API it counts from
the day on which the user was made. Subscription tokens are signed with a secret that only the database holds.
"""

import math
from collections.abc import Generator

import msgspec

from integrations.moving.accounts import (
    Account,
    BadFieldError,
    People,
    Remark,
    Reset,
    Row,
    days_of,
    end,
    limit,
    moment,
    name,
    note,
    read,
    size,
    text,
    whole,
)
from integrations.moving.databases import Database
from integrations.pulls.adapters.asking import (
    Access,
    Adapter,
    Get,
    Question,
    SignIn,
    Talk,
    Way,
    decoded,
    paged,
)

SIGN_IN = "/api/admin/token"
USERS = "/api/users"
# Each user is some kilobytes, because all their links are included.
_PAGE = 200
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
TABLES = frozenset({"users", "proxies"})


class _Token(msgspec.Struct):
    access_token: str


class _Page(msgspec.Struct):
    users: list[Row]


def signed_in(access: Access) -> Generator[Question, bytes, dict[str, str]]:
    """Sign in; return the header with the token."""
    body = yield SignIn(SIGN_IN, {"username": access.username, "password": access.secret})
    return {"Authorization": f"Bearer {decoded(body, _Token).access_token}"}


def rows_of(headers: dict[str, str]) -> Generator[Question, bytes, list[Row]]:
    """All users, oldest first, so that new ones are on the last page."""
    return (
        yield from paged(
            lambda place: Get(
                USERS, {"offset": place * _PAGE, "limit": _PAGE, "sort": "created_at"}, headers
            ),
            lambda body: decoded(body, _Page).users,
            _PAGE,
        )
    )


def _everybody(access: Access) -> Talk[People]:
    headers = yield from signed_in(access)
    return read((yield from rows_of(headers)), account, "username")


def stored(database: Database) -> People:
    """The users in the database, and the secret of their tokens."""
    people = read(rows_in(database), account, "username")
    return msgspec.structs.replace(people, secret=secret_in(database))


def rows_in(database: Database) -> list[Row]:
    """The rows of the users, each with the time of the last reset."""
    resets: dict[object, object] = {}
    if database.has("user_usage_logs"):
        rows = database.rows("user_usage_logs", order="id")
        resets = {row["user_id"]: row.get("reset_at") for row in rows}
    users = database.rows("users", order="id")
    return [{**user, "last_reset_at": resets.get(user["id"])} for user in users]


def secret_in(database: Database) -> str:
    rows = database.rows("jwt", order="id") if database.has("jwt") else []
    return text(rows[0], "secret_key") if rows else ""


def account(row: Row) -> Account:
    """A user of the API, or a row of the database."""
    username = name(row, "username")
    hold = _hold_days(row)
    born = moment(row, "created_at")
    remarks = [Remark.BEGINS_BY_ITSELF] if hold and row.get("on_hold_timeout") else []
    return Account(
        key=username.lower(),
        name=username,
        username=username,
        born=int(born),
        revoked=math.ceil(moment(row, "sub_revoked_at")),
        is_active=text(row, "status") != "disabled",
        download=size(row, "used_traffic"),
        limit=limit(row, "data_limit"),
        expires=None if hold else end(row, "expire"),
        hold_days=hold,
        reset=_reset(row, born),
        note=note(row, "note"),
        remarks=tuple(remarks),
    )


def _hold_days(row: Row) -> int | None:
    if text(row, "status") != "on_hold":
        return None
    seconds = whole(row, "on_hold_expire_duration")
    if seconds < 0:
        raise BadFieldError("on_hold_expire_duration")
    return days_of(seconds) if seconds else None


def _reset(row: Row, born: float) -> Reset:
    strategy = text(row, "data_limit_reset_strategy") or "no_reset"
    if strategy == "no_reset":
        return Reset()
    if strategy not in _DAYS:
        raise BadFieldError("data_limit_reset_strategy")
    last = moment(row, "last_reset_at") or born
    return Reset("interval", days=_DAYS[strategy], start=int(last))


ADAPTER = Adapter(
    kind="marzban",
    paths=frozenset({USERS}),
    sign_in=SIGN_IN,
    talk={Way.LOGIN: _everybody},
)
