from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from subscriptions.models import Group
from traffic.admin.base import ModelAdmin
from traffic.admin.ids import is_id

# More than these nobody finds in a list; any other may be written into its address.
_MOST = 200


class GroupFilter(admin.SimpleListFilter):
    """Of the list of subscribers: who is in a group, or in none."""

    title = _("group")
    parameter_name = "group"
    template = "admin/traffic/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [*((str(group.pk), str(group)) for group in Group.objects.all()[:_MOST]), ("none", _("in none"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        chosen = self.value() or ""
        if chosen == "none":
            return queryset.filter(subscription_groups=None)
        return queryset.filter(subscription_groups=int(chosen)) if is_id(chosen) else queryset
