"""The sidebar section of this app."""

from django.utils.translation import gettext_lazy as _

from operations.admin.base import Section

SUBSCRIPTIONS = Section(_("Subscriptions"), 20)
