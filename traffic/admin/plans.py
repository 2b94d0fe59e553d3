"""The list and form of plans."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from operations.admin.base import PanelAdmin
from traffic.admin.states import limit_text
from traffic.models import Plan

from .forms import PlanForm
from .sections import TRAFFIC


@admin.register(Plan)
class PlanAdmin(PanelAdmin[Plan]):
    section = TRAFFIC
    icon = "sell"
    place = 15
    form = PlanForm
    list_display = ("name", "limit", "term", "reset", "people", "sell")
    search_fields = ("name",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "data_limit",
                    ("days", "from_first_use"),
                    ("limit_reset", "reset_day", "reset_days"),
                    "device_limit",
                )
            },
        ),
    )
    empty_text: ClassVar[Any] = gettext_lazy(
        "No plans yet. A plan sets limit and term of a subscriber in one click, and renews them."
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Plan]:
        visible = Q(subscribers__hidden_at=None)
        return super().get_queryset(request).annotate(members=Count("subscribers", filter=visible))

    @admin.display(description=gettext_lazy("data limit"), ordering="data_limit")
    def limit(self, obj: Plan) -> str:
        return limit_text(obj.data_limit)

    @admin.display(description=gettext_lazy("term"), ordering="days")
    def term(self, obj: Plan) -> str:
        days = obj.days
        if days is None:
            return _("for ever")
        if obj.from_first_use:
            return ngettext("%d day from first use", "%d days from first use", days) % days
        return ngettext("%d day", "%d days", days) % days

    @admin.display(description=gettext_lazy("limit reset"), ordering="limit_reset")
    def reset(self, obj: Plan) -> str:
        return obj.reset_text()

    @admin.display(description=gettext_lazy("subscribers"), ordering="members")
    def people(self, obj: Any) -> SafeString:
        listed = reverse("admin:traffic_subscriber_changelist")
        return format_html('<a href="{}?plan={}">{}</a>', listed, obj.pk, obj.members)

    @admin.display(description=gettext_lazy("sell"))
    def sell(self, obj: Plan) -> SafeString:
        added = reverse("admin:traffic_subscriber_add")
        return format_html('<a href="{}?plan={}">{}</a>', added, obj.pk, _("Add a subscriber"))
