"""Additions to a subscriber's admin pages: the subscription URL, the latest requests and groups."""

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from operations.admin.pages import AdminPages
from operations.admin.secrets import shown_once
from operations.formatting import size_of_limit
from subscriptions.models import SubscriptionHit
from traffic.models import Subscriber
from traffic.people import resellers, server_limits

from . import devices, hand_out
from .filters import GroupFilter
from .group_action import SET_GROUPS
from .hits import app_name

_LATEST = 10


def address(request: HttpRequest, subscriber: Subscriber) -> str:
    """The subscription URL as text and as a QR code. It is secret, so only users who may change the subscriber see it."""
    may_see = resellers.may(request.user, "traffic.change_subscriber", subscriber)
    if subscriber.hidden_at or not may_see:
        return ""
    url = hand_out.url_for(request)(subscriber)
    context = {"url": url, "code": hand_out.qr_code(url)}
    return render_to_string("admin/subscriptions/address.html", context)


def latest_requests(request: HttpRequest, subscriber: Subscriber) -> str:
    if not request.user.has_perm("subscriptions.view_subscriptionhit"):
        return ""
    hits = list(SubscriptionHit.objects.filter(subscriber=subscriber).order_by("-id")[:_LATEST])
    every = reverse("admin:subscriptions_subscriptionhit_changelist")
    context = {
        "hits": [(hit, app_name(hit.client)) for hit in hits],
        "more": f"{every}?subscriber__id__exact={subscriber.pk}",
    }
    return render_to_string("admin/subscriptions/latest_requests.html", context)


def limits(request: HttpRequest, subscriber: Subscriber) -> str:
    """The limits on servers that apply to the subscriber, and where to add one."""
    if not request.user.has_perm("traffic.view_serverlimit"):
        return ""
    found = server_limits.of_subscriber(subscriber, timezone.now())
    added = reverse("admin:traffic_serverlimit_add")
    context = {
        "limits": [(one, size_of_limit(one.used, one.limit.data_limit)) for one in found],
        "add": f"{added}?subscriber={subscriber.pk}"
        if request.user.has_perm("traffic.add_serverlimit") and not subscriber.hidden_at
        else "",
    }
    return render_to_string("admin/subscriptions/subscriber_limits.html", context)


def _to_hand_out(request: HttpRequest, subscriber: Subscriber) -> SafeString:
    title = gettext("The subscription URL, to copy and hand out:")
    return shown_once(title, hand_out.url_for(request)(subscriber), width=80)


PAGES = AdminPages(
    top=(address,),
    panels=(limits, devices.panel, latest_requests),
    actions=(SET_GROUPS,),
    pages={"link": hand_out.link_view, "forget_device": devices.forget_view},
    row_tools=hand_out.row_tools,
    export_columns=hand_out.columns,
    filters=(GroupFilter,),
    help_texts={
        "name": _(
            "The subscriber sees this name on their page. Use the note for anything they should not see."
        )
    },
    to_hand_out=_to_hand_out,
    scripts=("operations/copy.js", "subscriptions/links.js"),
    for_owners=frozenset({"link", "forget_device"}),
)
