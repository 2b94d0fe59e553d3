"""What all lists and pages of this app have in common."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone, translation
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold import admin as themed

from traffic.periods import Window, window

from . import once
from .ids import IdsField

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

    ModelAdmin = admin.ModelAdmin
else:
    from unfold.views import ChangeList

    class ModelAdmin(themed.ModelAdmin):
        """The theme's, which cannot be subscripted when it runs."""

        def __class_getitem__(cls, _: Any) -> type:
            return cls


class Section(models.TextChoices):
    """Groups of the sidebar, in their order."""

    TRAFFIC = "traffic", _("Traffic")
    SUBSCRIPTIONS = "subscriptions", _("Subscriptions")
    NOTIFICATIONS = "notifications", _("Notifications")
    ACCESS = "access", _("Access")


_M = TypeVar("_M", bound=models.Model)
# As Django's ``get_deleted_objects`` answers: objects, counts by kind, kinds that lack a permission, what is protected.
Deleted = tuple[list[Any], dict[Any, Any], set[Any], list[Any]]
Page = Callable[[HttpRequest, str], HttpResponse]

# A filter typed by hand, like the year 99999 or a part of a secret.
BAD_FILTER = (ValueError, OverflowError, DisallowedModelAdminLookup)
_LOOKUPS = ("", "__exact", "__in", "__isnull", "__id__exact")

DEFAULT_DAYS = 30
# What a page of usage offers; any other number may be written into its address.
DAYS = (1, 7, 30, 90, 365)


class _DaysForm(forms.Form):
    days = forms.IntegerField(min_value=1, max_value=3650)


def chosen_window(request: HttpRequest) -> Window:
    """The window of ``?days=``; what is no number of days is the default."""
    form = _DaysForm(request.GET)
    return window(form.cleaned_data["days"] if form.is_valid() else DEFAULT_DAYS, timezone.now())


def told_shortly(found: Deleted) -> Deleted:
    """What was chosen one by one, what goes with it as counts: a source may have thousands of servers.

    Tables that only join two others are left out: they have no names but Django's own.
    """
    chosen, counts, lacking, protected = found
    options = [model._meta for model in apps.get_models(include_auto_created=True)]  # noqa: SLF001
    nameless = {option.verbose_name_plural for option in options if option.auto_created}
    told = {name: count for name, count in counts.items() if name not in nameless}
    return [item for item in chosen if not isinstance(item, list)], told, lacking, protected


class PanelList(ChangeList):
    """Leads from each row to the page of the object, which need not be its form."""

    def url_for_result(self, result: Any) -> str:
        owner = cast("PanelAdmin[Any]", self.model_admin)
        return super().url_for_result(result) if owner.home == "change" else owner.url(owner.home, result)


class GuardedAdmin(ModelAdmin[_M]):
    """A filter typed by hand leads back to the whole list, and what goes with a deletion is told as counts."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            return super().changelist_view(request, extra_context)
        except BAD_FILTER:
            return HttpResponseRedirect(f"{request.path}?e=1")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_manytomany(db_field, request, **{"form_class": IdsField} | kwargs)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """With the names of fields as the catalogues have them: the history is translated when it is read."""
        found: Any = super().construct_change_message(request, form, formsets, add)
        for told in found:
            changed = told.get("changed")
            if changed and "name" not in changed:  # else it is not of the object itself
                changed["fields"] = self._names(form)
        return found

    def set_all(self, request: HttpRequest, rows: models.QuerySet[_M], field: str, value: Any) -> int:
        """Change one field of many rows, and return of how many; Django's history has it as if each had been saved."""
        with translation.override(None):
            name = str(self.opts.get_field(field).verbose_name)  # type: ignore[union-attr]  # it is a field of its own
        with transaction.atomic():
            LogEntry.objects.log_actions(cast(int, request.user.pk), rows, CHANGE, [{"changed": {"fields": [name]}}])
            # Not ``rows`` itself: it is ordered and counted by what other tables say.
            plain = self.model._default_manager  # noqa: SLF001  Django's own name for it
            return plain.filter(pk__in=rows.values("pk")).update(**{field: value})

    def _names(self, form: Any) -> list[str]:
        known = {field.name: field.verbose_name for field in (*self.opts.fields, *self.opts.many_to_many)}
        with translation.override(None):
            return [str(known.get(name, form.fields[name].label or name)) for name in form.changed_data]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Deleted:
        return told_shortly(super().get_deleted_objects(objs, request))


class PanelAdmin(GuardedAdmin[_M]):
    """Lists for many rows, and pages of one object beside its change page."""

    # A second count of the whole table on every search tells nobody anything.
    show_full_result_count = False
    list_per_page = 50
    # The sidebar lists it in this section, with this symbol of the theme, by place; without a section not at all.
    section: ClassVar[Section | None] = None
    icon: ClassVar[str] = ""
    place: ClassVar[int] = 50
    # The page of one object to which lists lead, and buttons come back.
    home: ClassVar[str] = "change"
    # Fields by which other pages lead to some rows of the list, beside its filters.
    linked_by: ClassVar[tuple[str, ...]] = ()
    # Said instead of an empty table: what to do next.
    empty_text: ClassVar[str | Promise] = ""

    class Media:
        css = {"all": ("traffic/admin.css", "traffic/pages.css")}

    def pages(self) -> dict[str, Page]:
        """Pages of one object by name: each stands under ``<id>/<name>/``."""
        return {}

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(f"<path:object_id>/{name}/", self.admin_site.admin_view(page), name=self._url_name(name))
            for name, page in self.pages().items()
        ]
        return [*own, *super().get_urls()]

    def get_paginator(self, *args: Any, **kwargs: Any) -> Any:
        """The theme's own pages put a number before a plural, which is wrong in Russian."""
        paginator: Any = super().get_paginator(*args, **kwargs)
        paginator.template_name = "admin/traffic/pages.html"
        return paginator

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        own = {"title": capfirst(self.opts.verbose_name_plural), "empty_text": self.empty_text}
        return super().changelist_view(request, own | (extra_context or {}))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A form that comes twice adds once; one with a mistake may come again."""
        add = partial(super().add_view, request, form_url, {"once": once.ticket()} | (extra_context or {}))
        if request.method != "POST":
            return add()
        answer = once.do(request, add, lambda answer: isinstance(answer, HttpResponseRedirect))
        if answer is None:
            self.say_it_was_done(request)
            return self.response_post_save_add(request, self.model())
        return answer

    def say_it_was_done(self, request: HttpRequest) -> None:
        self.message_user(request, _("This was sent twice, and done once."), messages.WARNING)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """What the list itself offers. Any other, like ``token__startswith``, tells a viewer a secret bit by bit."""
        filters = [getattr(found, "parameter_name", found) for found in self.list_filter]
        offered = {f"{name}{kind}" for name in ("id", *filters, *self.linked_by) for kind in _LOOKUPS}
        return lookup in offered and super().lookup_allowed(lookup, value, request)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Of an address like ``add/?name=Ann``; the two fields of a moment break on the text Django hands them."""
        moments = {field.name for field in self.opts.concrete_fields if isinstance(field, models.DateTimeField)}
        found = super().get_changeform_initial_data(request)
        return {name: value for name, value in found.items() if name not in moments}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PanelList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        found: ChangeList = super().get_changelist_instance(request)
        found.search_help_text = self.search_help(request)
        return found

    def search_help(self, request: HttpRequest) -> str:
        """What this person may search for."""
        return str(self.search_help_text or "")

    def url(self, name: str, obj: models.Model) -> str:
        return reverse(f"{self.admin_site.name}:{self._url_name(name)}", args=[quote(obj.pk)])

    def permitted(self, request: HttpRequest, object_id: str, permission: str) -> _M:
        """The object of a page; 404 when there is none, 403 when the user lacks ``view`` or ``change``."""
        return self.checked(request, self.get_object(request, unquote(object_id)), permission)

    def checked(self, request: HttpRequest, obj: _M | None, permission: str) -> _M:
        if obj is None:
            raise Http404
        if not getattr(self, f"has_{permission}_permission")(request, obj):
            raise PermissionDenied
        return obj

    def render(self, request: HttpRequest, template: str, obj: _M, context: dict[str, Any]) -> TemplateResponse:
        own = {
            "opts": self.opts,
            "original": obj,
            "media": self.media,
            "day_choices": DAYS,
            "home": self.url(self.home, obj),
            "has_view_permission": self.has_view_permission(request, obj),
            "may_delete": self.has_delete_permission(request, obj),
            "once": once.ticket(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, {**self.admin_site.each_context(request), **own, **context})

    def back_to(self, obj: _M) -> HttpResponseRedirect:
        return HttpResponseRedirect(self.url(self.home, obj))

    def _url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"
