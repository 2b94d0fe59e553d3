"""The base class of every admin class. Extra abilities are declared as attributes: pages, downloads, deletion."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import msgspec
from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe
from unfold import admin as themed

from operations import audit
from operations.admin.pages import AdminPages, admin_pages
from operations.audit import Action, By, Changes
from operations.databases.transactions import deadline, write_transaction, write_turn
from operations.refusals import Refused

from . import chips, columns, once, row_tools
from .history import Entry, latest, title_of
from .ids import IdField, IdsField, find_or_404
from .row_tools import RowAction

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

    _RowModelForm = forms.ModelForm[Any]

    from .export import Exports

    ModelAdmin = admin.ModelAdmin
else:
    from unfold.views import ChangeList

    _RowModelForm = forms.ModelForm

    class ModelAdmin(themed.ModelAdmin):
        """The theme's class, which cannot be subscripted at run time."""

        def __class_getitem__(cls, _: Any) -> type:
            return cls


class Section(msgspec.Struct, frozen=True):
    """A group of the sidebar; groups are sorted by ``place``."""

    label: str | Promise
    place: int


NOTIFICATIONS = Section(_("Notifications"), 30)
ACCESS = Section(_("Access"), 40)

_M = TypeVar("_M", bound=models.Model)
# As returned by Django's ``get_deleted_objects``: objects, counts by kind, kinds without permission, protected objects.
Deleted = tuple[list[Any], dict[Any, Any], set[Any], list[Any]]
Page = Callable[..., HttpResponseBase]
"""A view. Its arguments are the admin class, the request and, for a page of one object, the id."""

STYLES = ("operations/admin.css", "operations/pages.css", "operations/lists.css")

# Raised by a filter that was typed into the URL, like the year 99999 or a part of a secret.
BAD_FILTER = (ValueError, OverflowError, DisallowedModelAdminLookup)
_LOOKUPS = ("", "__exact", "__in", "__isnull", "__id__exact")


def by(request: HttpRequest) -> By:
    """The author of a change, and the current time."""
    return By(request.user.get_username(), timezone.now())


def told_shortly(found: Deleted) -> Deleted:
    """List the selected objects by name and their related objects as counts: a source may have thousands of servers.

    Join tables are left out, because their only names are Django's own.
    """
    chosen, counts, lacking, protected = found
    options = [model._meta for model in apps.get_models(include_auto_created=True)]  # noqa: SLF001
    nameless = {option.verbose_name_plural for option in options if option.auto_created}
    told = {name: count for name, count in counts.items() if name not in nameless}
    return [item for item in chosen if not isinstance(item, list)], told, lacking, protected


def _filled(panels: Iterable[Callable[..., str]], request: HttpRequest, about: Any) -> list[str]:
    """The texts of the panels that have something to show."""
    return [text for panel in panels if (text := panel(request, about))]


def _turn_to_save(request: HttpRequest) -> AbstractContextManager[None]:
    return nullcontext() if request.method in {"GET", "HEAD"} else write_turn(deadline())


def named_only(options: Any, objs: Iterable[models.Model]) -> Deleted:
    """The selected objects, without reading their related objects."""
    names = [str(obj) for obj in objs]
    return names, {str(options.verbose_name_plural): len(names)}, set(), []


class RowForm(_RowModelForm):
    """The fields that can be changed in a list. The table shows no label beside them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.visible_fields():
            field.field.widget.attrs["aria-label"] = f"{field.label}: {self.instance}"


class PanelList(ChangeList):
    """Links each row to the home page of its object, which need not be the change form."""

    def url_for_result(self, result: Any) -> str:
        owner = cast("PanelAdmin[Any]", self.model_admin)
        return (
            super().url_for_result(result)
            if owner.home == "change"
            else owner.url(owner.home, result)
        )


class Deletion(Generic[_M]):
    """How objects are deleted: the rows are removed and noted in the audit trail. A subclass may do something else."""

    def visible(self, request: HttpRequest, rows: models.QuerySet[_M]) -> models.QuerySet[_M]:
        """The rows that lists and pages show."""
        return rows

    def actions(self, request: HttpRequest, found: dict[str, Any]) -> dict[str, Any]:
        """The actions that a list offers."""
        return found

    def told(self, options: Any, objs: Iterable[_M]) -> Deleted | None:
        """The objects that the confirmation page lists; None: Django's own search, which reads all related objects."""
        return None

    def delete(self, request: HttpRequest, rows: models.QuerySet[_M]) -> None:
        with write_transaction():
            audit.note_many(Action.DELETED, [(row, {}) for row in rows], by(request))
            rows.delete()

    def sentence(self, name: str) -> str:
        """The message after an object was deleted; empty: Django's message."""
        return ""


class PanelAdmin(ModelAdmin[_M]):
    """Lists of many rows, extra pages for one object, and an audit entry for every change."""

    # The full count would cost a scan of the whole table on every search.
    show_full_result_count = False
    list_per_page = 50
    # The place and symbol in the sidebar. A class without a section is not listed.
    section: ClassVar[Section | None] = None
    icon: ClassVar[str] = ""
    place: ClassVar[int] = 50
    # The page of one object that lists link to, and that buttons return to.
    home: ClassVar[str] = "change"
    # Fields that links from other pages may filter by, in addition to the filters of the list.
    linked_by: ClassVar[tuple[str, ...]] = ()
    # Static files, in addition to those of all pages.
    styles: ClassVar[tuple[str, ...]] = ()
    # Shown instead of an empty table; says what to do next.
    empty_text: ClassVar[str | Promise] = ""
    # Pages of one object, under ``<id>/<name>/``, and of the list, under ``<name>/``.
    pages: ClassVar[Mapping[str, Page]] = {}
    list_pages: ClassVar[Mapping[str, Page]] = {}
    exports: ClassVar["Exports | None"] = None
    # Actions that each row of the list offers, by the name of their page.
    row_actions: ClassVar[Mapping[str, RowAction]] = {}
    # Filters whose choices stand above the list, and whether people choose its columns.
    chip_filters: ClassVar[tuple[type[Any], ...]] = ()
    has_choice_of_columns: ClassVar[bool] = False
    deletion: ClassVar[Deletion[Any]] = Deletion()
    # The form field for choosing rows of a model.
    choice_fields: ClassVar[Mapping[type[models.Model], type]] = {}
    # The most that anyone may do here, whatever their permissions.
    rights: ClassVar[frozenset[str]] = frozenset({"add", "change", "delete", "view"})

    def __init__(self, model: type[_M], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        for name in ("change_form", "change_list"):
            if getattr(self, f"{name}_template") is None:
                setattr(self, f"{name}_template", self._templates(f"{name}.html"))

    def _templates(self, name: str) -> list[str]:
        """As Django looks for them, but in the end the panel's own, not Django's."""
        app = self.opts.app_label
        folders = (f"{app}/{self.opts.model_name}", app, "operations")
        return [f"admin/{folder}/{name}" for folder in folders]

    # --- What other apps add ---

    @property
    def additions(self) -> list[AdminPages]:
        """What other apps add to the admin pages of this model."""
        return admin_pages(audit.kind_of(self.model))

    @property
    def media(self) -> forms.Media:
        css: dict[str, Sequence[str]] = {"all": (*STYLES, *self.styles)}
        scripts = [script for added in self.additions for script in added.scripts]
        return super().media + forms.Media(css=css, js=scripts)

    def get_list_filter(self, request: HttpRequest) -> Any:
        own = super().get_list_filter(request)
        return [*own, *(found for added in self.additions for found in added.filters)]

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        for added in self.additions:
            if field and db_field.name in added.help_texts:
                field.help_text = str(added.help_texts[db_field.name])
        return field

    def panels(self, request: HttpRequest, obj: _M) -> list[str]:
        """What other apps show on the page of an object."""
        return _filled((panel for added in self.additions for panel in added.panels), request, obj)

    def top(self, request: HttpRequest, obj: _M) -> list[str]:
        """What other apps show at the beginning of the page of an object."""
        return _filled((panel for added in self.additions for panel in added.top), request, obj)

    def month_panels(self, request: HttpRequest, month: date) -> list[str]:
        """What other apps show on the page of the month that begins with this day."""
        made = (panel for added in self.additions for panel in added.month_panels)
        return _filled(made, request, month)

    def export_columns(self, request: HttpRequest) -> dict[str, Callable[[_M], Any]]:
        """The columns that other apps add to downloads, as far as this user may have them."""
        found: dict[str, Callable[[_M], Any]] = {}
        for added in self.additions:
            found |= added.export_columns(request) if added.export_columns else {}
        return found

    def hand_out(self, request: HttpRequest, obj: _M) -> None:
        """Say what to hand out now that the object has a new secret."""
        for added in self.additions:
            if added.to_hand_out:
                self.message_user(request, added.to_hand_out(request, obj), messages.INFO)

    def response_add(
        self, request: HttpRequest, obj: _M, post_url_continue: str | None = None
    ) -> HttpResponse:
        self.hand_out(request, obj)
        return super().response_add(request, obj, post_url_continue)

    # --- Rights ---

    def has_add_permission(self, request: HttpRequest) -> bool:
        return "add" in self.rights and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: _M | None = None) -> bool:
        return "change" in self.rights and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: _M | None = None) -> bool:
        return "delete" in self.rights and super().has_delete_permission(request, obj)

    def opens(self, request: HttpRequest, name: str) -> bool:
        """Whether this user may open the page, or use the action, with this name, if they have its permission."""
        return True

    def seen_by(self, request: HttpRequest, rows: models.QuerySet[_M]) -> models.QuerySet[_M]:
        """Those of these rows, deleted or not, that this user may see. Every page and action goes through here."""
        return rows

    # --- Addresses ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        listed = dict(self.list_pages)
        for added in self.additions:
            listed.update(added.list_pages)
        if self.has_choice_of_columns:
            listed["columns"] = columns.choose_view
        own = [
            path(
                f"{name.replace('_', '-')}/",
                view(partial(self._open, name, page)),
                name=self.url_name(name),
            )
            for name, page in listed.items()
        ]
        own += [
            path(
                f"<path:object_id>/{name}/",
                view(partial(self._open, name, page)),
                name=self.url_name(name),
            )
            for name, page in self._all_pages().items()
        ]
        exports = self.exports.urls(self) if self.exports else []
        return [*own, *exports, *super().get_urls()]

    def _open(
        self, name: str, page: Page, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        if not self.opens(request, name):
            raise PermissionDenied
        try:
            return page(self, request, *args, **kwargs)
        except Refused as refused:
            return self._refuse(request, refused)

    def _refuse(self, request: HttpRequest, refused: Refused) -> HttpResponse:
        """Say why, on the page from which it was asked."""
        self.message_user(request, str(refused), messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def _all_pages(self) -> dict[str, Page]:
        found: dict[str, Page] = {}
        for added in self.additions:
            found.update(added.pages)
        return found | dict(self.pages)

    def url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    def url(self, name: str, obj: models.Model) -> str:
        return reverse(f"{self.admin_site.name}:{self.url_name(name)}", args=[quote(obj.pk)])

    def list_url(self, name: str = "changelist") -> str:
        return reverse(f"{self.admin_site.name}:{self.url_name(name)}")

    def back_to(self, obj: _M) -> HttpResponseRedirect:
        return HttpResponseRedirect(self.url(self.home, obj))

    # --- The list ---

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[_M]:
        return self.deletion.visible(request, self.seen_by(request, super().get_queryset(request)))

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        if self.has_choice_of_columns:
            shown = columns.shown(self, request, shown)
        tools = row_tools.column(self, request)
        return [*shown, tools] if tools else shown

    def offers(self, name: str, obj: _M) -> bool:
        """Whether this action would change the object."""
        return True

    def get_paginator(self, *args: Any, **kwargs: Any) -> Any:
        """Use our own template, because the theme's puts a number before a plural, which is wrong in Russian."""
        paginator: Any = super().get_paginator(*args, **kwargs)
        paginator.template_name = "admin/operations/pages.html"
        return paginator

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect an invalid filter to the whole list."""
        own: dict[str, Any] = {
            "title": capfirst(self.opts.verbose_name_plural),
            "empty_text": self.empty_text,
        }
        if self.has_add_permission(request):
            own["adding"] = self._adding(request)
        if self.exports:
            own["exports"] = self.exports.offered(self, request)
        try:
            response = super().changelist_view(request, own | (extra_context or {}))
        except BAD_FILTER:
            return HttpResponseRedirect(f"{request.path}?e=1")
        except Refused as refused:
            return self._refuse(request, refused)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            context |= self._above(request, context["cl"])
        return response

    def _adding(self, request: HttpRequest) -> list[tuple[str, str | Promise]]:
        """Addresses and labels of the pages of other apps that add rows."""
        labels = (item for added in self.additions for item in added.adding.items())
        return [(self.list_url(name), label) for name, label in labels if self.opens(request, name)]

    def _above(self, request: HttpRequest, cl: ChangeList) -> dict[str, Any]:
        """The context of ``above_list.html``: filters, sums, and the choice of columns."""
        return {
            "chips": chips.of(cl, self.chip_filters),
            "sums": self.sums(cl.queryset),
            "columns": columns.choices(self, request) if self.has_choice_of_columns else [],
        }

    def sums(self, rows: models.QuerySet[_M]) -> list[tuple[str, Any]]:
        """Labels and sums over all rows that the list shows, on all its pages."""
        return []

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow only the list's own lookups: others, like ``token__startswith``, would reveal a secret bit by bit."""
        offered_filters = self.get_list_filter(request)
        filters = [getattr(found, "parameter_name", found) for found in offered_filters]
        offered = {
            f"{name}{kind}" for name in ("id", *filters, *self.linked_by) for kind in _LOOKUPS
        }
        return lookup in offered and super().lookup_allowed(lookup, value, request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PanelList

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> type[Any]:
        return super().get_changelist_form(request, form=RowForm, **kwargs)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        found: ChangeList = super().get_changelist_instance(request)
        found.search_help_text = self.search_help(request)
        return found

    def search_help(self, request: HttpRequest) -> str:
        """The help text of the search, by what this user may search for."""
        return str(self.search_help_text or "")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        found = super().get_actions(request)
        if self.has_change_permission(request):
            found |= {action.__name__: self.get_action(action) for action in self._added_actions()}
        found = {name: action for name, action in found.items() if self.opens(request, name)}
        return self.deletion.actions(request, found)

    def _added_actions(self) -> list[Callable[..., Any]]:
        return [action for added in self.additions for action in added.actions]

    def set_all(
        self, request: HttpRequest, rows: models.QuerySet[_M], field: str, *, on: bool
    ) -> int:
        """Set a boolean field of many rows and return their number. Only rows that change get an audit entry."""
        with write_transaction():
            # ``rows`` itself may be annotated and ordered by other tables.
            plain = self.model._default_manager  # noqa: SLF001  Django's own name for it
            chosen = plain.filter(pk__in=list(rows.values_list("pk", flat=True)))
            other = list(chosen.filter(**{field: not on}))
            action = Action.SWITCHED_ON if on else Action.SWITCHED_OFF
            audit.note_many(action, [(row, {field: (not on, on)}) for row in other], by(request))
            return int(chosen.update(**{field: on}))

    # --- Forms ---

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Django opens a transaction to save a form, so wait for the write turn first."""
        with _turn_to_save(request):
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with _turn_to_save(request):
            return super().delete_view(request, *args, **kwargs)

    def offered(self, obj: _M) -> Iterable[tuple[str, Any]]:
        """The actions that the form of an object shows, by the names of their ``pages``."""
        return ()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        obj: _M | None = context.get("original")
        offered = self.offered(obj) if obj else ()
        buttons = [(self.url(name, obj), action) for name, action in offered if obj]
        return super().render_change_form(request, context | {"buttons": buttons}, *args, **kwargs)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A form that is sent twice adds one object; a form with errors may be sent again."""
        add = partial(
            super().add_view, request, form_url, {"once": once.ticket()} | (extra_context or {})
        )
        if request.method != "POST":
            return add()
        answer = once.do(request, add, lambda answer: isinstance(answer, HttpResponseRedirect))
        if answer is None:
            self.say_it_was_done(request)
            return self.response_post_save_add(request, self.model())
        return answer

    def say_it_was_done(self, request: HttpRequest) -> None:
        self.message_user(
            request, _("The form was sent twice; the action was done once."), messages.WARNING
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Initial values from a URL like ``add/?name=Ann``, without date fields, whose split widget breaks on a text."""
        moments = {
            field.name
            for field in self.opts.concrete_fields
            if isinstance(field, models.DateTimeField)
        }
        found = super().get_changeform_initial_data(request)
        return {name: value for name, value in found.items() if name not in moments}

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_foreignkey(
            db_field, request, **{"form_class": IdField} | kwargs
        )

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        choice = self.choice_fields.get(db_field.related_model, IdsField)
        options = {"form_class": choice} | kwargs
        field = super().formfield_for_manytomany(db_field, request, **options)
        if field is not None:
            # Otherwise Select2 puts a button that clears all among the chosen items of its list.
            field.widget.is_required = True
        return field

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Deleted:
        told = self.deletion.told(self.opts, objs)
        return told_shortly(super().get_deleted_objects(objs, request)) if told is None else told

    def delete_model(self, request: HttpRequest, obj: _M) -> None:
        plain = self.model._default_manager  # noqa: SLF001  Django's own name for it
        self.deletion.delete(request, plain.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[_M]) -> None:
        self.deletion.delete(request, queryset)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        text = self.deletion.sentence(obj_display)
        if not text:
            return super().response_delete(request, obj_display, obj_id)
        self.message_user(request, text, messages.SUCCESS)
        may_list = self.has_view_permission(request)
        home = self.list_url() if may_list else reverse(f"{self.admin_site.name}:index")
        return HttpResponseRedirect(home)

    # --- The audit trail, in place of Django's own log ---

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """The message for ``log_addition`` and ``log_change``: old and new value of every edited field."""
        found: Changes = {
            name: (form.initial.get(name), form.cleaned_data.get(name))
            for name in form.changed_data
        }
        return found

    def log_addition(self, request: HttpRequest, obj: _M, message: Any) -> Any:
        audit.note(Action.ADDED, obj, by(request))

    def log_change(self, request: HttpRequest, obj: _M, message: Any) -> Any:
        if changes := audit.real(obj, message):
            audit.note(Action.CHANGED, obj, by(request), changes)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Do nothing: ``Deletion`` writes the entries in its own transaction."""

    def history(self, obj: _M) -> list[Entry]:
        return latest(obj)

    @method_decorator(require_safe)
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.permitted(request, object_id, "view")
        context = {"title": title_of(obj), "history": self.history(obj)}
        return self.render(request, "admin/operations/history.html", obj, context)

    # --- Pages of one object ---

    def permitted(
        self, request: HttpRequest, object_id: str, permission: str, *, deleted: bool = False
    ) -> _M:
        """The object of a page; 404 if there is none, 403 if the user lacks ``view``, ``change`` or ``delete``.

        ``deleted``: objects that were deleted by hiding are found too.
        """
        number = unquote(object_id)
        if not deleted:
            return self.checked(request, self.get_object(request, number), permission)
        plain = self.model._default_manager  # noqa: SLF001  Django's own name for it
        return self.checked(
            request, find_or_404(self.seen_by(request, plain.all()), number), permission
        )

    def checked(self, request: HttpRequest, obj: _M | None, permission: str) -> _M:
        if obj is None:
            raise Http404
        if not getattr(self, f"has_{permission}_permission")(request, obj):
            raise PermissionDenied
        return obj

    def render(
        self, request: HttpRequest, template: str, obj: _M, context: dict[str, Any]
    ) -> TemplateResponse:
        own = {
            "original": obj,
            "home": self.url(self.home, obj),
            "has_view_permission": self.has_view_permission(request, obj),
            "may_delete": self.has_delete_permission(request, obj),
            "once": once.ticket(),
        }
        return self.render_list_page(request, template, own | context)

    def render_list_page(
        self, request: HttpRequest, template: str, context: dict[str, Any]
    ) -> TemplateResponse:
        own = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, own | context)

    def ids(self, queryset: models.QuerySet[_M]) -> list[int]:
        return list(queryset.order_by().values_list("pk", flat=True))
