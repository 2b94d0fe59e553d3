"""The panels from which people can move in: one module each, with what may be asked and what the answers mean."""

from collections.abc import Callable

import msgspec

from integrations.moving.accounts import People
from integrations.moving.databases import Database
from integrations.pulls.adapters.asking import Adapter

from . import marzban, pasarguard, remnawave, three_x_ui


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of panel. ``stored``: reads a database that has ``tables``; None if it has no database in a file.

    ``signs_tokens``: its old links work as long as its secret is known; otherwise a person keeps the token itself.
    """

    name: str
    adapter: Adapter[People]
    stored: Callable[[Database], People] | None = None
    tables: frozenset[str] = frozenset()
    signs_tokens: bool = False


PANELS: dict[str, Panel] = {
    "marzban": Panel(
        name="Marzban",
        adapter=marzban.ADAPTER,
        stored=marzban.stored,
        tables=marzban.TABLES,
        signs_tokens=True,
    ),
    "pasarguard": Panel(
        name="PasarGuard",
        adapter=pasarguard.ADAPTER,
        stored=pasarguard.stored,
        tables=pasarguard.TABLES,
        signs_tokens=True,
    ),
    "3x-ui": Panel(
        name="3x-ui",
        adapter=three_x_ui.ADAPTER,
        stored=three_x_ui.stored,
        tables=three_x_ui.TABLES,
    ),
    "remnawave": Panel(name="Remnawave", adapter=remnawave.ADAPTER),
}
