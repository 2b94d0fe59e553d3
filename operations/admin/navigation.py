"""The sidebar. Each entry is declared by its admin class."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from operations import second_factor
from operations.conf import PANEL_LANGUAGES
from operations.watch import attention

from .base import ModelAdmin, PanelAdmin, Section


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """What this user may see, in the form of the theme's ``SIDEBAR["navigation"]``."""
    if second_factor.is_missing(request.user):
        own = reverse("admin:second_factor")
        return [{"items": [{"title": _("Second factor"), "icon": "phonelink_lock", "link": own}]}]
    overview = {
        "title": _("Overview"),
        "icon": "monitoring",
        "link": reverse("admin:index"),
        "badge": attention.count(timezone.now(), request.user.has_perm),
    }
    groups = [
        {"title": section.label, "items": _entries(request, section)} for section in _sections()
    ]
    return [{"items": [overview]}, *(group for group in groups if group["items"])]


def _sections() -> list[Section]:
    """The sections that have at least one admin class."""
    registered = admin.site._registry.values()  # noqa: SLF001  there is no public list
    found = {getattr(one, "section", None) for one in registered}
    return sorted((one for one in found if one is not None), key=lambda section: section.place)


def languages(request: HttpRequest) -> list[dict[str, str]]:
    """The languages of the theme's language switch."""
    return [{"code": code, "name_local": name} for code, name in PANEL_LANGUAGES.items()]


def _entries(request: HttpRequest, section: Section) -> list[dict[str, Any]]:
    registered = admin.site._registry.values()  # noqa: SLF001  there is no public list
    shown = [found for found in registered if getattr(found, "section", None) == section]
    shown.sort(key=lambda found: getattr(found, "place", PanelAdmin.place))
    return [_entry(found) for found in shown if found.has_view_permission(request)]


def _entry(model_admin: ModelAdmin[Any]) -> dict[str, Any]:
    opts = model_admin.opts
    return {
        "title": capfirst(opts.verbose_name_plural),
        "icon": getattr(model_admin, "icon", ""),
        "link": reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"),
    }
