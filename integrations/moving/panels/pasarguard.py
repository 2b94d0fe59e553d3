"""PasarGuard 5: Marzban's endpoints and tables, with API keys, ends as dates, and tokens that name users by their ids."""

from collections.abc import Mapping

import msgspec

from integrations.moving.accounts import Account, BadFieldError, People, Row, read, whole
from integrations.moving.databases import Database
from integrations.pulls.adapters.asking import Access, Adapter, Talk, Way

from . import marzban

TABLES = frozenset({"users", "groups"})


def _with_key(access: Access) -> Talk[People]:
    return _people({"X-Api-Key": access.secret})


def _signed_in(access: Access) -> Talk[People]:
    return (yield from _people((yield from marzban.signed_in(access))))


def _people(headers: Mapping[str, str]) -> Talk[People]:
    return read((yield from marzban.rows_of(dict(headers))), account, "username")


def stored(database: Database) -> People:
    """The users in the database, and the secret of their tokens."""
    people = read(marzban.rows_in(database), account, "username")
    return msgspec.structs.replace(people, secret=marzban.secret_in(database))


def account(row: Row) -> Account:
    """A user of the API, or a row of the database. Only the id is permanent, and names may differ by case alone."""
    number = whole(row, "id")
    if number < 1:
        raise BadFieldError("id")
    return msgspec.structs.replace(marzban.account(row), key=str(number), number=number)


ADAPTER = Adapter(
    kind="pasarguard",
    paths=frozenset({marzban.USERS}),
    sign_in=marzban.SIGN_IN,
    talk={Way.KEY: _with_key, Way.LOGIN: _signed_in},
)
