"""Names of servers in a merged list, and the groups that get the new ones."""

from collections.abc import Iterable, Sequence

from subscriptions.formats import Written
from subscriptions.formats.common import RESERVED


class NotUnderstood(ValueError):  # noqa: N818  an answer about a list
    """The list is not of the form that its format has, or has no place for further servers."""


class Names:
    """Names that are taken, whatever their case: cores refuse a list with two equal ones."""

    def __init__(self, taken: Iterable[object]) -> None:
        self._taken = {str(name).casefold() for name in taken}

    def free(self, name: str) -> str:
        """The name, with a number behind it if it is taken. It is taken afterwards."""
        found, number = name, 1
        while found.casefold() in self._taken:
            number += 1
            found = f"{name} {number}"
        self._taken.add(found.casefold())
        return found


def renamed(servers: Iterable[Written], names: Names) -> list[Written]:
    """The servers under names that are free. Those that get another name still have the old one in their text."""
    return [Written(names.free(server.name), server.text) for server in servers]


def takes_servers(members: object, own: Iterable[str]) -> bool:
    """Whether a group with these members gets the external servers too.

    It does if it lists one of the panel's own servers, or nothing, which cores refuse. If the panel has no servers,
    every group does that lists more than the core's own words, such as DIRECT.
    """
    if members is None or members == []:
        return True
    if not isinstance(members, Sequence) or isinstance(members, str):
        return False
    known = set(own)
    if known:
        return any(str(member) in known for member in members)
    return any(str(member).casefold() not in RESERVED - {"proxy", "auto"} for member in members)
