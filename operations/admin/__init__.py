"""The panel's own admin pages (keys, staff, notifications, health), and the base of every list."""

from django.contrib import admin
from django.urls import path
from django.utils.translation import gettext_lazy as _

from operations.admin_site import panel_site

from . import code_step, second_factor_pages
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

_signed_in = admin.site.admin_view
panel_site().login_form = code_step.LoginForm
panel_site().own_pages += [
    path("login/code/", code_step.view, name="login_code"),
    path("second-factor/", _signed_in(second_factor_pages.own_view), name="second_factor"),
    path(
        "second-factor/codes/",
        _signed_in(second_factor_pages.codes_view),
        name="second_factor_codes",
    ),
    path("second-factor/off/", _signed_in(second_factor_pages.off_view), name="second_factor_off"),
]
