"""The panel's own admin pages (keys, staff, notifications, health), and the base of every list."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from .api_keys import ApiKeyAdmin
from .audit_entries import AuditEntryAdmin
from .health import HealthAdmin
from .notifications import DeliveryAdmin, ReceiverAdmin
from .staff import StaffAdmin, StaffGroupAdmin

__all__ = [
    "ApiKeyAdmin",
    "AuditEntryAdmin",
    "DeliveryAdmin",
    "HealthAdmin",
    "ReceiverAdmin",
    "StaffAdmin",
    "StaffGroupAdmin",
]

admin.site.site_header = _("Xpert Panel")
admin.site.site_title = _("Xpert Panel")
admin.site.index_title = _("Overview")
# The panel has no public site to link to: "/" leads back here.
admin.site.site_url = None
