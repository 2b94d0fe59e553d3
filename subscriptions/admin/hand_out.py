"""Handing out subscription URLs from the list, which shows none: one when asked for, or a column of a download.

Both need a permission of their own, and taking one is in the audit trail.
"""

from collections.abc import Callable, Mapping
from typing import Any

import segno
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from operations import audit
from operations.admin.base import PanelAdmin, by
from operations.admin.row_tools import icon
from operations.databases.transactions import write_transaction
from subscriptions.serving import public_urls
from traffic.models import Subscriber
from traffic.people import resellers

PERMISSION = "traffic.hand_out_link"


def url_for(request: HttpRequest) -> Callable[[Subscriber], str]:
    """A function that makes the subscription URL of a subscriber."""
    origin = public_urls.public_url(f"{request.scheme}://{request.get_host()}")
    return lambda subscriber: public_urls.subscription_url(subscriber.token, origin)


def qr_code(url: str) -> SafeString:
    """The URL as a QR code (ISO/IEC 18004), dark on light even in dark mode, so that a phone's camera can read it."""
    code = segno.make(url, error="m", micro=False)
    title = _("QR code of the subscription URL")
    return mark_safe(code.svg_inline(omitsize=True, border=4, light="#fff", title=title))  # noqa: S308


def row_tools(request: HttpRequest) -> Callable[[Any], str] | None:
    return _buttons if resellers.may(request.user, PERMISSION) else None


def _buttons(subscriber: Subscriber) -> str:
    """*Copy* and *QR* of one row. Without JavaScript both open a page."""
    if subscriber.hidden_at:
        return ""
    return "".join(
        format_html(
            '<button class="xp-tool" type="submit" formmethod="post" formaction="{}/link/" data-link="{}">{}</button>',
            subscriber.pk,
            kind,
            icon(symbol, label),
        )
        for kind, symbol, label in (
            ("copy", "content_copy", _("Copy the link")),
            ("qr", "qr_code_2", _("QR code")),
        )
    )


def columns(request: HttpRequest) -> Mapping[str, Callable[[Any], Any]]:
    """The column of downloads. Deleted subscribers have no address."""
    user, url = request.user, url_for(request)
    if not resellers.may(user, PERMISSION):
        return {}

    def value(row: Subscriber) -> str:
        return url(row) if not row.hidden_at and resellers.may(user, PERMISSION, row) else ""

    return {"subscription_url": value}


@method_decorator([require_POST, never_cache])
def link_view(owner: PanelAdmin[Subscriber], request: HttpRequest, object_id: str) -> HttpResponse:
    """One subscription URL, as JSON for scripts."""
    obj = owner.permitted(request, object_id, "view")
    if not resellers.may(request.user, PERMISSION, obj):
        raise PermissionDenied
    with write_transaction():
        audit.note(audit.Action.LINK_SHOWN, obj, by(request))
    url = url_for(request)(obj)
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        return JsonResponse({"url": url, "code": qr_code(url)})
    context = {"title": str(obj), "url": url, "code": qr_code(url)}
    return owner.render(request, "admin/subscriptions/link.html", obj, context)
