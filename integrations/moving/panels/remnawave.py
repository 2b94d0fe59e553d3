"""Remnawave 2 and 3: its users from ``GET /api/users/stream``. Its tokens are the short ids in subscription links."""

from datetime import UTC, datetime

import msgspec

from integrations.moving.accounts import (
    Account,
    BadFieldError,
    People,
    Remark,
    Reset,
    Row,
    end,
    limit,
    moment,
    name,
    note,
    read,
    size,
    text,
)
from integrations.pulls.adapters.asking import (
    MAX_ACCOUNTS,
    Access,
    Adapter,
    BadAnswerError,
    Get,
    Talk,
    Way,
    decoded,
)
from traffic.reports import is_token

_USERS = "/api/users/stream"
_PAGE = 500
_RULES = {"NO_RESET": "never", "DAY": "daily", "WEEK": "weekly", "MONTH": "monthly"}


class _Page(msgspec.Struct):
    users: list[Row]
    nextCursor: str | int | None = None  # noqa: N815  the panel's spelling


class _Users(msgspec.Struct):
    response: _Page


def _everybody(access: Access) -> Talk[People]:
    """Request pages, each with the cursor of the page before."""
    headers = {"Authorization": f"Bearer {access.secret}"}
    rows: list[Row] = []
    query: dict[str, int | str] = {"size": _PAGE}
    while len(rows) < MAX_ACCOUNTS:
        page = decoded((yield Get(_USERS, query, headers)), _Users).response
        rows += page.users
        if not page.users or page.nextCursor in {None, "", query.get("cursor")}:
            return read(rows, account, "username")
        query = {"size": _PAGE, "cursor": page.nextCursor or ""}
    raise BadAnswerError("too_many_people")


def account(row: Row) -> Account:
    """A user of the API. User names are unique there and never change."""
    username = name(row, "username")
    token = text(row, "shortUuid")
    fits = is_token(token)
    return Account(
        key=username,
        name=username,
        username=username,
        born=int(moment(row, "createdAt")),
        token=token if fits else "",
        is_active=text(row, "status") != "DISABLED",
        download=_used(row),
        limit=limit(row, "trafficLimitBytes"),
        expires=end(row, "expireAt"),
        reset=_reset(row),
        note=note(row, "description"),
        remarks=() if fits or not token else (Remark.UNFIT_TOKEN,),
    )


def _used(row: Row) -> int:
    """In an object of its own since 2.3."""
    traffic = row.get("userTraffic")
    return size(traffic if isinstance(traffic, dict) else row, "usedTrafficBytes")


def _reset(row: Row) -> Reset:
    strategy = text(row, "trafficLimitStrategy") or "NO_RESET"
    if strategy == "MONTH_ROLLING":
        made = moment(row, "createdAt")
        return Reset("monthly", day=_day(made))
    if strategy not in _RULES:
        raise BadFieldError("trafficLimitStrategy")
    return Reset(_RULES[strategy])


def _day(seconds: float) -> int:
    return datetime.fromtimestamp(seconds, UTC).day


ADAPTER = Adapter(
    kind="remnawave",
    paths=frozenset({_USERS}),
    talk={Way.KEY: _everybody},
)
