"""Addition to the pages of servers: what providers counted in a month."""

from datetime import date

from django.http import HttpRequest
from django.template.loader import render_to_string

from operations.admin.pages import AdminPages
from subscriptions.sources import provider_usage


def provider_month(request: HttpRequest, month: date) -> str:
    if not request.user.has_perm("subscriptions.view_source"):
        return ""
    context = {"rows": provider_usage.month(month)}
    return render_to_string("admin/subscriptions/provider_month.html", context)


PAGES = AdminPages(month_panels=(provider_month,))
