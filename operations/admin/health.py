"""The output of ``manage.py doctor`` as a page. It replaces the list of command runs, which gives no advice."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from operations.findings import Finding, Level
from operations.models import CommandRun
from operations.watch import doctor

from .base import ACCESS, PanelAdmin


@admin.register(CommandRun)
class HealthAdmin(PanelAdmin[CommandRun]):
    section, icon, place = ACCESS, "stethoscope", 90
    rights = frozenset({"view"})
    _badges = {Level.OK: "xp-active", Level.WARNING: "xp-limited", Level.ERROR: "xp-broken"}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = doctor.examine(timezone.now())
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "rows": [
                self._row(finding) for finding in sorted(found, key=lambda finding: -finding.level)
            ],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/operations/health.html", context)

    def _row(self, finding: Finding) -> dict[str, Any]:
        words = {Level.OK: _("OK"), Level.WARNING: _("attention"), Level.ERROR: _("broken")}
        return {
            "badge": self._badges[finding.level],
            "state": words[finding.level],
            "finding": finding,
        }
