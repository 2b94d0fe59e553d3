from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from operations.admin.base import ModelAdmin
from operations.admin.filters import CountingFilter
from operations.admin.ids import is_id
from subscriptions.models import Endpoint, Group

# A longer list is hard to use; other groups can be given in the URL.
_MOST = 200


class GroupFilter(CountingFilter):
    """Filters subscribers by group, or by having none."""

    title = _("group")
    parameter_name = "group"
    template = "admin/operations/folded_filter.html"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [
            *((str(group.pk), str(group)) for group in Group.objects.all()[:_MOST]),
            ("none", _("in none")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen = self.value() or ""
        if chosen == "none":
            return queryset.filter(subscription_groups=None)
        return queryset.filter(subscription_groups=int(chosen)) if is_id(chosen) else queryset


class AnswersFilter(admin.SimpleListFilter):
    """Filters rows of ``with_checks`` by whether the server answers."""

    title = _("answers")
    parameter_name = "answers"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [(state.value, state.label) for state in Endpoint.State]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        chosen = self.value()
        is_known = chosen in Endpoint.State.values
        return queryset.filter(endpoint_checked=chosen) if is_known else queryset


class FailingFilter(admin.SimpleListFilter):
    """Sources whose last fetch has failed."""

    title = _("failing")
    parameter_name = "failing"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("yes", _("the last fetch failed"))]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        return queryset.exclude(last_error="") if self.value() == "yes" else queryset
