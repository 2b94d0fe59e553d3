"""The last column of a list: what can be done with one row, without opening its page."""

from collections.abc import Callable
from typing import Any, Protocol

from django.contrib import admin
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

Column = Callable[[Any], SafeString]


class RowAction(Protocol):
    @property
    def button(self) -> str | Promise: ...

    @property
    def icon(self) -> str: ...


def column(owner: Any, request: HttpRequest) -> Column | None:
    """The column for this user; None when there is nothing that they may do."""
    makers = [found.row_tools(request) for found in owner.additions if found.row_tools]
    added = [make for make in makers if make]
    own = owner.row_actions if owner.has_change_permission(request) else {}
    if not (own or added):
        return None

    @admin.display(description=_("actions"))
    def tools(obj: Any) -> SafeString:
        parts = [make(obj) for make in added]
        parts += [_link(owner, name, own[name], obj) for name in own if owner.offers(name, obj)]
        return format_html('<span class="xp-tools">{}</span>', mark_safe("".join(parts)))  # noqa: S308  each escapes

    return tools


def _link(owner: Any, name: str, action: RowAction, obj: Any) -> SafeString:
    href = owner.url(name, obj)
    return format_html(
        '<a class="xp-tool" href="{}">{}</a>', href, icon(action.icon, action.button)
    )


def icon(name: str, label: str | Promise) -> SafeString:
    """A symbol with its name as a tooltip, and for screen readers."""
    return format_html(
        '<span class="material-symbols-outlined" aria-hidden="true" title="{1}">{0}</span><span class="xp-hidden">{1}</span>',
        name,
        label,
    )
