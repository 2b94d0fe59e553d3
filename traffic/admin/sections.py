"""The sidebar sections of this app."""

from django.utils.translation import gettext_lazy as _

from operations.admin.base import Section

TRAFFIC = Section(_("Traffic"), 10)
