"""3x-ui 2 and 3: the clients of its inbounds, from ``GET /panel/api/inbounds/list`` or from its database.

An inbound holds its clients as JSON; version 3 has a table of them as well, which is then the newer one. What they have used
is in a table of its own. Clients with one ``subId`` have one subscription, as one person with several devices or inbounds,
so they are one person here. A negative end is a term that begins with the first use.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

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
    grouped,
    limit,
    name,
    note,
    read,
    size,
    text,
    whole,
)
from integrations.moving.databases import BadDatabaseError, Database
from integrations.pulls.adapters.asking import (
    MAX_TOTAL,
    Access,
    Adapter,
    BadAnswerError,
    Get,
    SignIn,
    Talk,
    Way,
    decoded,
)
from traffic.reports import is_token

_SIGN_IN = "/login"
_INBOUNDS = "/panel/api/inbounds/list"
TABLES = frozenset({"inbounds", "client_traffics"})
_RULES = {"": "never", "never": "never", "daily": "daily", "weekly": "weekly", "monthly": "monthly"}
# The columns of the table of clients whose names differ from the JSON.
_COLUMNS = {"sub_id": "subId", "total_gb": "totalGB", "expiry_time": "expiryTime", "traffic_reset": "trafficReset",
            "traffic_reset_day": "trafficResetDay"}  # fmt: skip


class _Answer(msgspec.Struct):
    success: bool
    obj: list[dict[str, Any]] | None = None


def _with_token(access: Access) -> Talk[People]:
    return _listed((yield Get(_INBOUNDS, {}, {"Authorization": f"Bearer {access.secret}"})))


def _with_cookie(access: Access) -> Talk[People]:
    body = yield SignIn(_SIGN_IN, {"username": access.username, "password": access.secret})
    if not decoded(body, _Answer).success:
        raise BadAnswerError("sign_in")
    return _listed((yield Get(_INBOUNDS)))


def _listed(body: bytes) -> People:
    answer = decoded(body, _Answer)
    if not answer.success:
        raise BadAnswerError("bad_answer")
    inbounds = answer.obj or []
    used = [row for inbound in inbounds for row in inbound.get("clientStats") or []]
    try:
        return _people(_clients(inbounds), used)
    except ValueError:
        raise BadAnswerError("bad_answer") from None


def stored(database: Database) -> People:
    """The clients in the database."""
    inbounds = database.rows("inbounds", order="id")
    used = database.rows("client_traffics", order="id")
    records = database.rows("clients", order="id") if database.has("clients") else []
    newer = [{_COLUMNS.get(column, column): row[column] for column in row} for row in records]
    try:
        return _people([*_clients(inbounds), *newer], used)
    except ValueError:
        raise BadDatabaseError("damaged") from None


def _clients(inbounds: Iterable[Row]) -> Iterator[Row]:
    """The clients of all inbounds, each with the inbound's reset; raises ValueError."""
    for inbound in inbounds:
        for client in _settings(inbound.get("settings")).get("clients") or []:
            if not isinstance(client, dict):
                raise BadFieldError("settings")
            rule = {"trafficReset": inbound.get("trafficReset", inbound.get("traffic_reset"))}
            yield rule | {key: value for key, value in client.items() if value is not None}


def _settings(value: Any) -> Mapping[str, Any]:
    """JSON inside JSON, or the object itself."""
    try:
        found = msgspec.json.decode(value) if isinstance(value, str) and value else value
    except msgspec.DecodeError:
        raise ValueError(value) from None
    return found if isinstance(found, dict) else {}


def _people(clients: Iterable[Row], used: Iterable[Row]) -> People:
    """A client of several inbounds is one, by its e-mail; of two entries the later counts."""
    by_email = {_folded(client): client for client in clients}
    totals = {_folded(row): row for row in used}
    rows = [{**client, "used": totals.get(email, {})} for email, client in by_email.items()]
    found = read(rows, _account, "email")
    people = [_merged(clients) for clients in grouped(found.accounts)]
    return msgspec.structs.replace(found, accounts=people)


def _folded(row: Row) -> str:
    return str(row.get("email", "")).lower()


def _account(row: Row) -> Account:
    """One client. The comment is its note."""
    email, shared = name(row, "email"), text(row, "subId")
    upload, download = size(row["used"], "up"), size(row["used"], "down")
    fits = is_token(shared)
    reset, is_known = _reset(row)
    remarks = {
        Remark.UNFIT_TOKEN: bool(shared) and not fits,
        Remark.RENEWS: bool(whole(row, "reset") or whole(row, "resetDay")),
        Remark.UNKNOWN_RESET: not is_known,
    }
    client = Account(
        key=f"sub:{shared}" if shared else f"email:{email}",
        name=email,
        token=shared if fits else "",
        is_active=bool(row.get("enable", True)) or _is_over(row, upload + download),
        upload=upload,
        download=download,
        limit=limit(row, "totalGB"),
        reset=reset,
        note=note(row, "comment"),
        remarks=tuple(remark for remark, applies in remarks.items() if applies),
    )
    return _with_term(client, whole(row, "expiryTime") / 1000)


def _is_over(row: Row, used: int) -> bool:
    """Whether the panel itself switches the client off: here the limit and the end do so, until more is given."""
    most, end_of_term = size(row, "totalGB"), whole(row, "expiryTime") / 1000
    return 0 < most <= used or 0 < end_of_term <= time.time()


def _with_term(client: Account, seconds: float) -> Account:
    """A negative end is a term from the first use."""
    if seconds < 0:
        return msgspec.structs.replace(client, hold_days=days_of(-seconds))
    return msgspec.structs.replace(client, expires=end({"expiryTime": int(seconds)}, "expiryTime"))


def _reset(row: Row) -> tuple[Reset, bool]:
    """The reset, and whether it can be said here."""
    rule = text(row, "trafficReset")
    day = whole(row, "trafficResetDay") or 1
    if not 1 <= day <= 31:
        raise BadFieldError("trafficResetDay")
    return Reset(_RULES.get(rule, "never"), day=day), rule in _RULES


def _merged(clients: Sequence[Account]) -> Account:
    """Sums, as 3x-ui itself adds them up for the one subscription; unlimited if one of them is."""
    first = clients[0]
    if len(clients) == 1:
        return first
    limits = [client.limit for client in clients if client.limit is not None]
    ends = [client.expires for client in clients]
    notes = [f"3x-ui: {', '.join(client.name for client in clients)}"]
    remarks = {remark: True for client in clients for remark in client.remarks}
    more = [Remark.SHARED] + ([Remark.ENDS_DIFFER] if len(set(ends)) > 1 else [])
    return msgspec.structs.replace(
        first,
        is_active=any(client.is_active for client in clients),
        upload=min(sum(client.upload for client in clients), MAX_TOTAL),
        download=min(sum(client.download for client in clients), MAX_TOTAL),
        limit=min(sum(limits), MAX_TOTAL) if len(limits) == len(clients) else None,
        expires=None if None in ends else max(filter(None, ends)),
        hold_days=_hold(clients),
        note="\n".join([*(client.note for client in clients if client.note), *notes]),
        remarks=(*remarks, *more),
    )


def _hold(clients: Sequence[Account]) -> int | None:
    """On hold only if all of them are."""
    days = [client.hold_days for client in clients]
    return None if None in days else max(filter(None, days))


ADAPTER = Adapter(
    kind="3x-ui",
    paths=frozenset({_INBOUNDS}),
    sign_in=_SIGN_IN,
    talk={Way.KEY: _with_token, Way.LOGIN: _with_cookie},
)
