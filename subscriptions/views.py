"""Subscriptions. Plain Django views: DRF answers ``?format=base64`` with 404 and ``Accept: text/plain`` with 406."""

from datetime import datetime
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from traffic import statistics, subscribers, throttling
from traffic.conf import conf as traffic_conf
from traffic.exceptions import ServiceUnavailable, unavailable_errors
from traffic.models import Subscriber

from . import catalogue, formats, headers, hits, links, notices, page, public_urls
from .clients import Client, client_of
from .conf import conf

CONTENT_TYPE = "text/plain; charset=utf-8"


class Asked(NamedTuple):
    """A subscription request whose subscriber is known. ``title``: the profile's name. ``direct_only``: no sources."""

    subscriber: Subscriber
    client: Client
    format: str
    title: str
    now: datetime
    direct_only: bool


@csrf_exempt
def subscription(request: HttpRequest, title: str, *, direct_only: bool = False) -> HttpResponse:
    """The subscriber's links with the headers that apps read (contract: A6, B6)."""
    if request.method not in {"GET", "HEAD"}:
        return _refused(405, f'Method "{request.method}" not allowed.', {"Allow": "GET, HEAD"})
    try:
        return _answer(request, title, direct_only=direct_only)
    except unavailable_errors():
        return _refused(503, ServiceUnavailable.default_detail, {"Retry-After": str(ServiceUnavailable.wait)})


def _answer(request: HttpRequest, title: str, *, direct_only: bool) -> HttpResponse:
    if wait := throttling.spend_address(request):
        return _too_many(wait)
    client = client_of(request.headers.get("User-Agent", ""))
    visit = request.META[hits.VISIT] = hits.Visit(client.name)
    subscriber = _subscriber(request.GET.get("user_token", ""))
    if subscriber is None:
        throttling.penalise_address(request)
        return HttpResponse(status=404, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})
    visit.subscriber_id = subscriber.pk
    if wait := throttling.spend("subscription", subscriber.token, traffic_conf.rate_subscriptions):
        return _too_many(wait)
    try:
        visit.format = _format(request, client)
    except formats.FormatError as error:
        return JsonResponse({"format": [str(error)]}, status=400)
    return _served(request, Asked(subscriber, client, visit.format, title, timezone.now(), direct_only))


def _format(request: HttpRequest, client: Client) -> str:
    """``html`` when asked for, and for browsers; an app gets its list whatever it accepts."""
    asked = request.GET.get("format", "")
    accepted = {f"{found.main_type}/{found.sub_type}" for found in request.accepted_types if found.quality > 0}
    accepts_pages = "text/html" in accepted
    if asked == "html" or (not asked and accepts_pages and not client.total_is_quota):
        return "html"
    return formats.chosen(asked, client.format)


def _subscriber(token: str) -> Subscriber | None:
    return subscribers.find_or_create(token) if traffic_conf.open_access else subscribers.find(token)


def _served(request: HttpRequest, asked: Asked) -> HttpResponse:
    usage = statistics.usage_of(asked.subscriber, asked.now)
    if asked.format == "html":
        return _page(request, asked, usage)
    body = _body(asked, usage.period_total)
    # On a 304 as well: without Subscription-Userinfo mihomo would freeze the usage that it shows.
    fields = _fields(request, asked, usage) | {"ETag": body.etag, "Content-Length": str(len(body.content))}
    if headers.matches(request.headers.get("If-None-Match", ""), body.etag):
        return HttpResponseNotModified(headers=fields)
    content = b"" if request.method == "HEAD" else body.content
    return HttpResponse(content, content_type=formats.content_type(asked.format), headers=fields)


def _page(request: HttpRequest, asked: Asked, usage: statistics.SubscriberUsage) -> HttpResponse:
    """The subscriber's page. It has no ETag: its figures and distances change by themselves."""
    origin = public_urls.public_origin(f"{request.scheme}://{request.get_host()}")
    view = page.View(
        subscriber=asked.subscriber,
        usage=usage,
        url=public_urls.subscription_url(asked.subscriber.token, origin, request.path.rstrip("/")),
        title=asked.title,
        language=page.chosen_language(request.GET.get("lang", ""), request.headers.get("Accept-Language", "")),
        days=page.chosen_days(request.GET.get("days", "")),
        now=asked.now,
    )
    content = page.render(view)
    fields = _fields(request, asked, usage) | {
        "Content-Disposition": headers.content_disposition(asked.title, "inline"),
        "Content-Language": view.language,
        "Content-Length": str(len(content)),
        "Content-Security-Policy": page.POLICY,
        "Vary": "User-Agent, Accept, Accept-Language",
    }
    return HttpResponse(b"" if request.method == "HEAD" else content, "text/html; charset=utf-8", headers=fields)


def _body(asked: Asked, used: int) -> catalogue.Body:
    """The servers; for a subscriber who may not have them, one line that says why."""
    state = subscribers.state(asked.subscriber, used, asked.now)
    if state is subscribers.State.ACTIVE:
        selection = catalogue.Selection(catalogue.groups_of(asked.subscriber), asked.direct_only)
        return catalogue.current(asked.format, selection)
    return catalogue.body_of([links.parse(notices.link(state, conf.language))], asked.format)


def _fields(request: HttpRequest, asked: Asked, usage: statistics.SubscriberUsage) -> dict[str, str]:
    origin = public_urls.public_origin(f"{request.scheme}://{request.get_host()}")
    optional = {"Profile-Web-Page-Url": conf.profile_web_page_url, "Support-Url": conf.support_url}
    return {
        "Profile-Update-Interval": headers.UPDATE_INTERVAL,
        "Subscription-Userinfo": _userinfo(asked, usage),
        "Profile-Title": headers.profile_title(asked.title),
        "Content-Disposition": headers.content_disposition(asked.title),
        "Traffic-Webhook": public_urls.webhook_url(origin),
        "User-Token": asked.subscriber.token,
        "Vary": "User-Agent, Accept",
        "Cache-Control": "private",
        "X-Robots-Tag": "noindex",
        "Referrer-Policy": "no-referrer",
    } | {name: value for name, value in optional.items() if value}


def _userinfo(asked: Asked, usage: statistics.SubscriberUsage) -> str:
    total = headers.total(
        asked.subscriber.data_limit,
        usage.period_total,
        mode=conf.userinfo_total,
        is_quota=asked.client.total_is_quota,
    )
    expires = asked.subscriber.expires_at
    return headers.userinfo(
        usage.period_upload, usage.period_download, total, max(int(expires.timestamp()), 1) if expires else 0
    )


def _too_many(wait: int) -> HttpResponse:
    return _refused(429, f"Request was throttled. Expected available in {wait} seconds.", {"Retry-After": str(wait)})


def _refused(status: int, detail: str, fields: dict[str, str]) -> HttpResponse:
    return JsonResponse({"detail": detail}, status=status, headers=fields | {"Cache-Control": "no-store"})
