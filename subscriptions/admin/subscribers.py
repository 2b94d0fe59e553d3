"""The subscriber's page of ``traffic``, with the address to copy and the latest requests."""

from typing import Any

import segno
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

from subscriptions import public_urls
from subscriptions.models import SubscriptionHit
from traffic.admin import SubscriberAdmin
from traffic.models import Subscriber

from .filters import GroupFilter
from .hits import app_name

_LATEST = 10

admin.site.unregister(Subscriber)


@admin.register(Subscriber)
class SubscriberWithSubscriptionAdmin(SubscriberAdmin):
    list_filter = (*SubscriberAdmin.list_filter[:-1], GroupFilter, *SubscriberAdmin.list_filter[-1:])

    class Media:
        js = ("traffic/copy.js",)

    def formfield_for_dbfield(self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and db_field.name == "name":
            field.help_text = gettext("The subscriber sees it on the page; what is not for their eyes is a note.")
        return field

    def parts(self, request: HttpRequest, obj: Subscriber) -> list[SafeString]:
        """The address, a secret, only for those who may change the subscriber; the requests for who may see them."""
        shown = super().parts(request, obj)
        if obj.hidden_at is None and self.has_change_permission(request, obj):
            shown.append(_address(_url(request, obj)))
        if request.user.has_perm("subscriptions.view_subscriptionhit"):
            shown.append(self._latest_requests(obj))
        return shown

    def response_add(self, request: HttpRequest, obj: Subscriber, post_url_continue: str | None = None) -> HttpResponse:
        field = (
            '{}<br><input class="xp-secret" type="text" readonly size="80" value="{}" data-copy="{}" aria-label="{}">'
        )
        title = gettext("The subscription URL, to copy and hand out:")
        self.message_user(request, format_html(field, title, _url(request, obj), gettext("Copy"), title), messages.INFO)
        return super().response_add(request, obj, post_url_continue)

    def _latest_requests(self, subscriber: Subscriber) -> SafeString:
        all_of_them = reverse(f"{self.admin_site.name}:subscriptions_subscriptionhit_changelist")
        hits = list(SubscriptionHit.objects.filter(subscriber=subscriber).order_by("-id")[:_LATEST])
        context = {
            "hits": [(hit, app_name(hit.client)) for hit in hits],
            "more": f"{all_of_them}?subscriber__id__exact={subscriber.pk}",
        }
        return render_to_string("admin/subscriptions/latest_requests.html", context)


def _address(url: str) -> SafeString:
    """To copy, and as a QR code (ISO/IEC 18004) that a phone's camera reads, dark on light in the dark mode too."""
    code = segno.make(url, error="m", micro=False)
    svg = code.svg_inline(omitsize=True, border=4, light="#fff", title=gettext("QR code of the subscription URL"))
    return render_to_string("admin/subscriptions/address.html", {"url": url, "code": mark_safe(svg)})  # noqa: S308


def _url(request: HttpRequest, subscriber: Subscriber) -> str:
    origin = public_urls.public_origin(f"{request.scheme}://{request.get_host()}")
    return public_urls.subscription_url(subscriber.token, origin)
