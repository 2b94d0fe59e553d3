"""The operator's pages. They format the figures of ``statistics`` and never count themselves."""

from django.contrib import admin

from .plans import PlanAdmin
from .reporters import ReporterAdmin
from .resellers import ResellerAdmin
from .servers import ServerAdmin
from .subscribers import SubscriberAdmin

__all__ = ["PlanAdmin", "ReporterAdmin", "ResellerAdmin", "ServerAdmin", "SubscriberAdmin"]

admin.site.index_template = "admin/traffic/dashboard.html"
