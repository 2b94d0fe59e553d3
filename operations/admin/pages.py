"""What an app adds to the admin pages of another app's model, by ``Extension.admin``."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from operations.extension import extensions


class AdminPages(msgspec.Struct, frozen=True, kw_only=True):
    """What an app adds to the pages of one kind of model.

    ``top`` and ``panels``: sections at the beginning and at the end of the page of one object; "" for none.
    ``month_panels``: sections of the page of a calendar month, by its first day. ``pages``: views of one object, by name;
    ``list_pages``: of the list. ``adding``: the labels of those list pages that add rows, by name, as links of the list.
    ``actions``: of the list, for users who may change rows. ``row_tools``: makes the HTML of a row in the last column of
    the list, as far as this user may use it. ``export_columns``: values of a row by column, as far as this user may
    download them. ``filters``: filters of the list. ``help_texts``: by field name. ``to_hand_out``: the message after an
    object was added or got a new secret. ``scripts``: static files. ``for_owners``: those pages and actions that are also
    for users who see only the rows that are theirs.
    """

    top: tuple[Callable[[HttpRequest, Any], str], ...] = ()
    panels: tuple[Callable[[HttpRequest, Any], str], ...] = ()
    month_panels: tuple[Callable[[HttpRequest, date], str], ...] = ()
    pages: Mapping[str, Callable[..., HttpResponse]] = {}
    list_pages: Mapping[str, Callable[..., HttpResponse]] = {}
    adding: Mapping[str, str | Promise] = {}
    actions: tuple[Callable[..., HttpResponse | None], ...] = ()
    row_tools: Callable[[HttpRequest], Callable[[Any], str] | None] | None = None
    export_columns: Callable[[HttpRequest], Mapping[str, Callable[[Any], Any]]] | None = None
    filters: tuple[type[Any], ...] = ()
    help_texts: Mapping[str, str | Promise] = {}
    to_hand_out: Callable[[HttpRequest, Any], str] | None = None
    scripts: tuple[str, ...] = ()
    for_owners: frozenset[str] = frozenset()


def admin_pages(kind: str) -> list[AdminPages]:
    """What all apps add to the admin pages of one kind of model."""
    paths = (extension.admin[kind] for extension in extensions() if kind in extension.admin)
    return [import_string(path) for path in paths]
