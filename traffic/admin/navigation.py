"""The sidebar: what operators work with, in groups; each entry is declared by its admin class."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from traffic.conf import PANEL_LANGUAGES

from .base import ModelAdmin, PanelAdmin, Section


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """In the shape of the theme's ``SIDEBAR["navigation"]``: only what this person may see."""
    overview = {"title": _("Overview"), "icon": "monitoring", "link": reverse("admin:index")}
    groups = [{"title": section.label, "items": _entries(request, section)} for section in Section]
    return [{"items": [overview]}, *(group for group in groups if group["items"])]


def languages(request: HttpRequest) -> list[dict[str, str]]:
    """Those that the switch of the theme offers."""
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
