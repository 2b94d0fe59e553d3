"""Deleting by hiding: the row disappears from lists, its traffic stays in the totals, and it can be brought back."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import model_ngettext
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from operations.admin import questions
from operations.admin.base import Deleted, Deletion, PanelAdmin, by, named_only
from operations.admin.questions import Confirmation, Question
from traffic.models import Server, Subscriber
from traffic.people import changes

from .filters import DeletedFilter

Hideable = Subscriber | Server
_Rows = models.QuerySet[Any]


class Hiding(Deletion[Any]):
    """For models with ``hidden_at``. Related rows are never collected, because a subscriber may have a million."""

    def visible(self, request: HttpRequest, rows: _Rows) -> _Rows:
        """Leave out deleted rows unless the list asks for them."""
        return rows.filter(hidden_at__isnull=not DeletedFilter.is_chosen(request))

    def actions(self, request: HttpRequest, found: dict[str, Any]) -> dict[str, Any]:
        """Deleted rows only offer "bring back", and only they do."""
        deleted = DeletedFilter.is_chosen(request)
        return {name: action for name, action in found.items() if (name == "bring_back") == deleted}

    def told(self, options: Any, objs: Iterable[Any]) -> Deleted | None:
        return named_only(options, objs)

    def delete(self, request: HttpRequest, rows: _Rows) -> None:
        changes.hide(rows.model, list(rows.values_list("pk", flat=True)), by(request))

    def sentence(self, name: str) -> str:
        return _("%(name)s is hidden from now on; its traffic stays in the totals.") % {
            "name": name
        }


@admin.action(
    permissions=["delete"], description=gettext_lazy("Delete selected %(verbose_name_plural)s")
)
def delete_selected(
    owner: PanelAdmin[Any], request: HttpRequest, queryset: _Rows
) -> HttpResponse | None:
    """Replaces Django's action, which lists every row on the page and in the form, and fails on a thousand rows."""
    if not request.POST.get("post"):
        count = queryset.count()
        items = model_ngettext(owner.opts, count)
        title = _("Delete %(count)d %(items)s") % {"count": count, "items": items}
        asked = Question("delete_selected", title, template="admin/traffic/hiding.html")
        return questions.ask(owner, request, queryset, asked)
    count = changes.hide(owner.model, owner.ids(queryset), by(request))
    text = ngettext(
        "%(count)d %(items)s is hidden from now on; the traffic stays in the totals.",
        "%(count)d %(items)s are hidden from now on; the traffic stays in the totals.",
        count,
    )
    _say(owner, request, text, count)
    return None


@admin.action(permissions=["delete"], description=gettext_lazy("Bring back"))
def bring_back(owner: PanelAdmin[Any], request: HttpRequest, queryset: _Rows) -> None:
    _bring_back(owner, request, owner.ids(queryset))


@questions.asking
def bring_back_view(owner: PanelAdmin[Any], request: HttpRequest, object_id: str) -> HttpResponse:
    obj = owner.permitted(request, object_id, "delete", deleted=True)
    asked = Confirmation(
        title=_("Bring %(name)s back?") % {"name": obj},
        text=_("It appears in the lists again, with everything it had."),
        button=_("Bring back"),
    )
    do = partial(_bring_back, owner, request, [obj.pk])
    return questions.agree(owner, request, asked, obj, do)


def _bring_back(owner: PanelAdmin[Any], request: HttpRequest, ids: list[int]) -> None:
    count = changes.bring_back(owner.model, ids, by(request))
    text = ngettext("%(count)d %(items)s is back.", "%(count)d %(items)s are back.", count)
    _say(owner, request, text, count)


def _say(owner: PanelAdmin[Any], request: HttpRequest, text: str, count: int) -> None:
    items = model_ngettext(owner.opts, count)
    owner.message_user(request, text % {"count": count, "items": items}, messages.SUCCESS)


ACTIONS = (delete_selected, bring_back)
PAGES = {"bring_back": bring_back_view}
