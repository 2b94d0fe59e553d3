"""Sentences for what can be wrong with a panel, and for what becomes of its people."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from integrations.pulls.pull_errors import sentence as sentence_of_reading

from .accounts import Account, Remark, Unreadable
from .planning import Fate

_ERRORS: Mapping[str, str | Promise] = {
    "no_file": gettext_lazy("The file does not exist, or may not be read."),
    "not_sqlite": gettext_lazy("The file is not an SQLite database."),
    "other_tables": gettext_lazy(
        "The file is an SQLite database, but not one of such a panel; the kind may be wrong."
    ),
    "damaged": gettext_lazy("The database is damaged; take a copy from before."),
    "unfinished": gettext_lazy(
        "The panel was stopped in the middle of a write, or the file beside the database may not be read. Start and stop "
        "the panel, then copy the database again."
    ),
    "changed": gettext_lazy("The panel wrote to its database meanwhile. Stop it, or read a copy."),
    "slow": gettext_lazy("Reading the database takes too long."),
    "no_database": gettext_lazy(
        "Such a panel has no database in a file; give the address of the running panel."
    ),
    "too_large": gettext_lazy("An answer of the panel is larger than 64 MB."),
}
_FATES: Mapping[str, str | Promise] = {
    Fate.NEW: gettext_lazy("moves in"),
    Fate.MOVED: gettext_lazy("has moved in before, and stays as is"),
    Fate.DELETED: gettext_lazy("has moved in before, and was deleted here since"),
    Fate.OTHER_ACCOUNT: gettext_lazy(
        "is another account than the one that has moved in under this name"
    ),
    Fate.NAME_TAKEN: gettext_lazy("a subscriber has this name already"),
    Fate.TOKEN_TAKEN: gettext_lazy("a subscriber has this token, or had it before"),
    Fate.INVALID: gettext_lazy("has values that are not allowed here"),
}
_REMARKS: Mapping[str, str | Promise] = {
    Remark.UNFIT_TOKEN: gettext_lazy("gets a new link, because the old one has odd characters"),
    Remark.RENEWS: gettext_lazy("renews by itself there, and ends here"),
    Remark.UNKNOWN_RESET: gettext_lazy("usage is reset hourly there, and never here"),
    Remark.BEGINS_BY_ITSELF: gettext_lazy("the term begins with the first use alone"),
    Remark.SHARED: gettext_lazy("several clients with one subscription"),
    Remark.ENDS_DIFFER: gettext_lazy("the clients' ends differ, and the latest counts"),
}
OTHER_PANEL = gettext_lazy(
    "People have moved in from another panel of this kind under this name. Give this one a name of its own."
)


def error(code: str) -> str:
    return str(_ERRORS[code]) if code in _ERRORS else sentence_of_reading(code)


def fate(found: Fate) -> str:
    return str(_FATES[found])


def remarks(account: Account) -> str:
    return "; ".join(str(_REMARKS[remark]) for remark in account.remarks)


def unreadable(found: Unreadable) -> str:
    return _("{field} cannot be read").format(field=found.field)
