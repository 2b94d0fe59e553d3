"""Deleting hides: the row leaves the lists, its traffic stays in the sums, and it can be brought back."""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.utils import model_ngettext, unquote
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from traffic import changes
from traffic.models import Server, Subscriber

from .acting import ActingAdmin, Question, by
from .base import Page
from .filters import DeletedFilter
from .ids import is_id

_M = TypeVar("_M", bound=Subscriber | Server)


class HidingAdmin(ActingAdmin[_M]):
    """For models with ``hidden_at``. No related row is ever collected: a subscriber may have a million."""

    actions: tuple[str, ...] = ("delete_selected", "bring_back")

    def pages(self) -> dict[str, Page]:
        return super().pages() | {"bring_back": self.bring_back_view}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[_M]:
        """Of what is deleted nothing, unless the list asks for it."""
        return super().get_queryset(request).filter(hidden_at__isnull=not DeletedFilter.is_chosen(request))

    def permitted(self, request: HttpRequest, object_id: str, permission: str, *, deleted: bool = False) -> _M:
        """``deleted``: the object may be a deleted one."""
        if not deleted:
            return super().permitted(request, object_id, permission)
        number = unquote(object_id)
        obj = super().get_queryset(request).filter(pk=int(number)).first() if is_id(number) else None
        return self.checked(request, obj, permission)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """What is deleted can only be brought back, and only that."""
        found = super().get_actions(request)
        deleted = DeletedFilter.is_chosen(request)
        return {name: action for name, action in found.items() if (name == "bring_back") == deleted}

    def get_deleted_objects(
        self, objs: Iterable[_M], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        names = [str(obj) for obj in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, set(), []

    def delete_model(self, request: HttpRequest, obj: _M) -> None:
        changes.hide(self.model, [obj.pk], by(request))

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[_M]) -> None:
        changes.hide(self.model, self.ids(queryset), by(request))

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        text = _("%(name)s is hidden from now on; its traffic stays in the sums.") % {"name": obj_display}
        self.message_user(request, text, messages.SUCCESS)
        may_list = self.has_view_permission(request)
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist" if may_list else "index"
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{name}"))

    @admin.action(permissions=["delete"], description=gettext_lazy("Delete selected %(verbose_name_plural)s"))
    def delete_selected(self, request: HttpRequest, queryset: models.QuerySet[_M]) -> HttpResponse | None:
        """Django's own lists every row on the page and in the form, and breaks on a thousand of them."""
        if not request.POST.get("post"):
            count = queryset.count()
            items = model_ngettext(self.opts, count)
            title = _("Delete %(count)d %(items)s") % {"count": count, "items": items}
            return self.question(request, queryset, Question("delete_selected", title, hiding=True))
        count = changes.hide(self.model, self.ids(queryset), by(request))
        text = ngettext(
            "%(count)d %(items)s is hidden from now on; the traffic stays in the sums.",
            "%(count)d %(items)s are hidden from now on; the traffic stays in the sums.",
            count,
        )
        items = model_ngettext(self.opts, count)
        self.message_user(request, text % {"count": count, "items": items}, messages.SUCCESS)
        return None

    @admin.action(permissions=["delete"], description=gettext_lazy("Bring back"))
    def bring_back(self, request: HttpRequest, queryset: models.QuerySet[_M]) -> None:
        self._bring_back(request, self.ids(queryset))

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def bring_back_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.permitted(request, object_id, "delete", deleted=True)
        if request.method != "POST":
            context = {
                "title": _("Bring %(name)s back?") % {"name": obj},
                "text": _("It appears in the lists again, with everything it had."),
                "button": _("Bring back"),
            }
            return self.render(request, "admin/traffic/confirm.html", obj, context)
        self._bring_back(request, [obj.pk])
        return self.back_to(obj)

    def _bring_back(self, request: HttpRequest, ids: list[int]) -> None:
        count = changes.bring_back(self.model, ids, by(request))
        text = ngettext("%(count)d %(items)s is back.", "%(count)d %(items)s are back.", count)
        items = model_ngettext(self.opts, count)
        self.message_user(request, text % {"count": count, "items": items}, messages.SUCCESS)
