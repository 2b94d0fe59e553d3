"""What ``manage.py doctor`` says, as a page: the list of runs itself would tell nobody what to do."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from traffic import doctor
from traffic.doctor import Finding, Level
from traffic.models import CommandRun

from .base import PanelAdmin, Section


@admin.register(CommandRun)
class HealthAdmin(PanelAdmin[CommandRun]):
    section, icon, place = Section.ACCESS, "stethoscope", 90
    _badges = {Level.OK: "xp-active", Level.WARNING: "xp-limited", Level.ERROR: "xp-broken"}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = doctor.examine(timezone.now())
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "rows": [self._row(finding) for finding in sorted(found, key=lambda finding: -finding.level)],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/traffic/health.html", context)

    def _row(self, finding: Finding) -> dict[str, Any]:
        words = {Level.OK: _("well"), Level.WARNING: _("attention"), Level.ERROR: _("broken")}
        return {"badge": self._badges[finding.level], "state": words[finding.level], "finding": finding}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: CommandRun | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: CommandRun | None = None) -> bool:
        return False
