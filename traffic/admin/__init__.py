"""The operator's pages. They ask ``statistics`` and format; they never count."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from .api_keys import ApiKeyAdmin
from .health import HealthAdmin
from .notifications import DeliveryAdmin, ReceiverAdmin
from .servers import ServerAdmin
from .staff import StaffAdmin, StaffGroupAdmin
from .subscribers import SubscriberAdmin

__all__ = [
    "ApiKeyAdmin", "DeliveryAdmin", "HealthAdmin", "ReceiverAdmin", "ServerAdmin", "StaffAdmin", "StaffGroupAdmin",
    "SubscriberAdmin",
]  # fmt: skip

admin.site.site_header = _("Xpert Panel")
admin.site.site_title = _("Xpert Panel")
admin.site.index_title = _("Overview")
admin.site.index_template = "admin/traffic/dashboard.html"
# The panel is its own site: "/" leads back here.
admin.site.site_url = None
