"""Subscriptions. Plain Django views: DRF answers ``?format=base64`` with 404 and ``Accept: text/plain`` with 406."""

from datetime import datetime
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from operations import rate_limits
from operations.api import exceptions, throttling
from operations.api.exceptions import unavailable_errors
from operations.api.permissions import is_open_to
from operations.http.programs import for_programs
from subscriptions import devices, formats, links
from subscriptions.conf import conf
from subscriptions.models import Brand
from traffic.figures import statistics
from traffic.models import Subscriber
from traffic.people import next_plans, quotas, subscribers

from . import (
    app_links,
    catalogue,
    device_headers,
    headers,
    hits,
    notices,
    public_urls,
    requests,
    server_list,
    subscriber_page,
    usage_lines,
)
from .clients import Client, client_of

CONTENT_TYPE = "text/plain; charset=utf-8"


class SubscriptionRequest(NamedTuple):
    """A subscription request whose subscriber is known.

    ``token``: as it was sent, which may be a linked panel's. ``title``: the profile's name. ``direct_only``: no sources.
    """

    subscriber: Subscriber
    token: str
    client: Client
    format: str
    title: str
    now: datetime
    direct_only: bool
    edition: catalogue.EditionKey
    brand: Brand


@for_programs
@csrf_exempt
def subscription(request: HttpRequest, title: str, *, direct_only: bool = False) -> HttpResponse:
    """The subscriber's links with the headers that apps read (docs/api.md)."""
    if request.method not in {"GET", "HEAD"}:
        return exceptions.only_to_read(request.method)
    try:
        return _answer(request, title, direct_only=direct_only)
    except unavailable_errors():
        return exceptions.unavailable()


def _answer(request: HttpRequest, title: str, *, direct_only: bool) -> HttpResponse:
    if wait := throttling.spend_address(request):
        return exceptions.throttled(wait)
    client = client_of(request.headers.get("User-Agent", ""))
    visit = request.META[hits.VISIT] = hits.Visit(client.name)
    subscriber = _subscriber(request)
    if subscriber is None:
        throttling.penalise_address(request)
        return _unknown_page(request, title) if _wants_page(request, client) else _not_found()
    visit.subscriber_id = subscriber.pk
    if wait := rate_limits.spend("subscription", subscriber.token, conf.rate_subscriptions):
        return exceptions.throttled(wait)
    try:
        visit.format = _format(request, client)
    except formats.FormatError as error:
        return exceptions.refusal(400, {"format": [str(error)]})
    edition = catalogue.current_edition()
    brand = catalogue.brand(edition)
    return _respond(
        request,
        SubscriptionRequest(
            subscriber,
            request.GET["user_token"],
            client,
            visit.format,
            title if direct_only else brand.title or title,
            timezone.now(),
            direct_only,
            edition,
            brand,
        ),
    )


@for_programs
@csrf_exempt
def servers(request: HttpRequest) -> HttpResponse:
    """The servers of a subscriber's list, for programs that map their names to servers. Nobody is created."""
    if request.method not in {"GET", "HEAD"}:
        return exceptions.only_to_read(request.method)
    try:
        return _servers(request)
    except unavailable_errors():
        return exceptions.unavailable()


def _servers(request: HttpRequest) -> HttpResponse:
    if wait := throttling.spend_address(request):
        return exceptions.throttled(wait)
    subscriber = subscribers.find(subscribers.own_token(request.GET.get("user_token", "")))
    if subscriber is None:
        throttling.penalise_address(request)
        return _not_found()
    if wait := rate_limits.spend("subscription", subscriber.token, conf.rate_subscriptions):
        return exceptions.throttled(wait)
    now = timezone.now()
    next_plans.begin_of(subscriber, now)
    used = statistics.usage_of(subscriber, now).period_total
    is_active = quotas.state(subscriber, used, now).may_use
    found = (
        catalogue.servers_of(subscriber, catalogue.selection_of(subscriber, now))
        if is_active
        else []
    )
    return JsonResponse(
        {"servers": [_server(served) for served in found]},
        headers={"Cache-Control": "no-store", "X-Robots-Tag": "noindex"},
    )


def _server(served: catalogue.Served) -> dict[str, object]:
    node = served.node
    told: dict[str, object] = {
        "name": served.name,
        "server": node.server,
        "port": node.port,
        "protocol": node.protocol,
    }
    return told | ({"measured": True} if served.is_measured else {})


def _not_found() -> HttpResponse:
    return HttpResponse(
        status=404, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"}
    )


def _unknown_page(request: HttpRequest, title: str) -> HttpResponse:
    """For a person who follows a link that is mistyped or was replaced."""
    brand = catalogue.brand(catalogue.current_edition())
    language = requests.language(request)
    content = subscriber_page.render_unknown(
        brand.title or title, language, brand, requests.zone(request)
    )
    fields = {
        "Cache-Control": "no-store",
        "Content-Language": language,
        "Content-Length": str(len(content)),
        "Content-Security-Policy": subscriber_page.policy(brand),
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex",
    }
    return HttpResponse(
        b"" if request.method == "HEAD" else content,
        "text/html; charset=utf-8",
        404,
        headers=fields,
    )


def _wants_page(request: HttpRequest, client: Client) -> bool:
    """On request, and for browsers; a known app gets its list whatever it accepts."""
    requested_format = request.GET.get("format", "")
    accepted = {
        f"{found.main_type}/{found.sub_type}"
        for found in request.accepted_types
        if found.quality > 0
    }
    is_browser = "text/html" in accepted and not client.total_is_quota
    return requested_format == "html" or (not requested_format and is_browser)


def _format(request: HttpRequest, client: Client) -> str:
    if _wants_page(request, client):
        return "html"
    return formats.chosen(request.GET.get("format", ""), client.format)


def _subscriber(request: HttpRequest) -> Subscriber | None:
    token = subscribers.own_token(request.GET.get("user_token", ""))
    return subscribers.find_or_create(token) if is_open_to(request) else subscribers.find(token)


def _respond(request: HttpRequest, subscription_request: SubscriptionRequest) -> HttpResponse:
    next_plans.begin_of(subscription_request.subscriber, subscription_request.now)
    usage = statistics.usage_of(subscription_request.subscriber, subscription_request.now)
    if subscription_request.format == "html":
        return _page(request, subscription_request, usage)
    state = _state(subscription_request, usage)
    admission = _admission(request, subscription_request, state)
    if request.method == "GET" and state is quotas.State.ON_HOLD and admission.gets_list:
        subscribers.begin_term(subscription_request.subscriber, subscription_request.now)
    refusal = _refusal(request, subscription_request, state, admission)
    line = "" if refusal else _line(request, subscription_request, usage)
    body = _body(subscription_request, refusal, line)
    # Sent with a 304 as well, because mihomo would otherwise keep showing old usage.
    fields = (
        _headers(request, subscription_request, usage)
        | ({"Vary": "User-Agent, Accept, Accept-Language"} if line else {})
        | device_headers.answer(admission, refusal)
        | {"ETag": body.etag, "Content-Length": str(len(body.content))}
    )
    if headers.matches(request.headers.get("If-None-Match", ""), body.etag):
        return HttpResponseNotModified(headers=fields)
    content = b"" if request.method == "HEAD" else body.content
    return HttpResponse(
        content, content_type=formats.content_type(subscription_request.format), headers=fields
    )


def _page(
    request: HttpRequest,
    subscription_request: SubscriptionRequest,
    usage: statistics.SubscriberUsage,
) -> HttpResponse:
    """The subscriber's page. It has no ETag, because its figures and distances change with time."""
    origin = public_urls.public_url(f"{request.scheme}://{request.get_host()}")
    found = _servers_shown(subscription_request, usage)
    view = subscriber_page.View(
        subscriber=subscription_request.subscriber,
        token=subscription_request.token,
        usage=usage,
        url=public_urls.subscription_url(
            subscription_request.token, origin, request.path_info.rstrip("/")
        ),
        origin=origin,
        title=subscription_request.title,
        language=requests.language(request),
        days=subscriber_page.chosen_days(request.GET.get("days", "")),
        now=subscription_request.now,
        zone=requests.zone(request),
        brand=subscription_request.brand,
        system=subscriber_page.chosen_system(
            request.GET.get("system", ""),
            app_links.system_of(request.headers.get("User-Agent", "")),
        ),
        servers=server_list.lines_of(found),
        server=request.GET.get("server", ""),
        server_link=server_list.link_of(found, request.GET.get("server", "")),
    )
    content = subscriber_page.render(view)
    fields = _headers(request, subscription_request, usage) | {
        "Content-Disposition": headers.content_disposition(subscription_request.title, "inline"),
        "Content-Language": view.language,
        "Content-Length": str(len(content)),
        "Content-Security-Policy": subscriber_page.policy(view.brand, content),
        "Vary": "User-Agent, Accept, Accept-Language",
    }
    return HttpResponse(
        b"" if request.method == "HEAD" else content, "text/html; charset=utf-8", headers=fields
    )


def _servers_shown(
    subscription_request: SubscriptionRequest, usage: statistics.SubscriberUsage
) -> list[catalogue.Served]:
    """Empty while the subscription is not active."""
    if not _state(subscription_request, usage).may_use:
        return []
    return catalogue.servers_of(
        subscription_request.subscriber,
        _selection(subscription_request),
        subscription_request.edition,
    )


def _selection(subscription_request: SubscriptionRequest) -> catalogue.Selection:
    return catalogue.selection_of(
        subscription_request.subscriber,
        subscription_request.now,
        direct_only=subscription_request.direct_only,
    )


def _state(
    subscription_request: SubscriptionRequest, usage: statistics.SubscriberUsage
) -> quotas.State:
    asked = subscription_request
    return quotas.state(asked.subscriber, usage.period_total, asked.now)


def _admission(
    request: HttpRequest, subscription_request: SubscriptionRequest, state: quotas.State
) -> devices.Admission:
    """Whether the device gets the list. Nothing is stored of it while nobody would get one, and by HEAD."""
    if not state.may_use:
        return devices.Admission.UNLIMITED
    return devices.admit(
        subscription_request.subscriber,
        device_headers.identity(request.headers),
        subscription_request.now,
        registers=request.method == "GET",
    )


def _refusal(
    request: HttpRequest,
    subscription_request: SubscriptionRequest,
    state: quotas.State,
    admission: devices.Admission,
) -> str:
    """Why there are no servers, in words; "" if there are."""
    if not state.may_use:
        return notices.text(state, conf.language)
    if admission.gets_list:
        return ""
    limit = subscription_request.subscriber.device_limit
    return device_headers.notice(admission, limit, requests.language(request))


def _line(
    request: HttpRequest,
    subscription_request: SubscriptionRequest,
    usage: statistics.SubscriberUsage,
) -> str:
    """The line that tells what is left; "" unless the operator has switched it on for this format."""
    asked = subscription_request
    if asked.format not in asked.brand.line_formats:
        return ""
    used, language = usage.period_total, requests.language(request)
    return usage_lines.of_person(asked.brand, asked.subscriber, used, language, asked.now)


def _body(subscription_request: SubscriptionRequest, refusal: str, line: str) -> catalogue.Body:
    """The servers, or one line that says why there are none."""
    if refusal:
        return catalogue.body_of([links.parse(notices.link(refusal))], subscription_request.format)
    return catalogue.of_person(
        subscription_request.subscriber,
        subscription_request.format,
        _selection(subscription_request),
        subscription_request.edition,
        notices.link(line, usage_lines.MARK) if line else "",
    )


def _headers(
    request: HttpRequest,
    subscription_request: SubscriptionRequest,
    usage: statistics.SubscriberUsage,
) -> dict[str, str]:
    origin = public_urls.public_url(f"{request.scheme}://{request.get_host()}")
    brand = subscription_request.brand
    optional = {
        "Profile-Web-Page-Url": conf.profile_web_page_url,
        "Support-Url": brand.support_url or conf.support_url,
        "Announce": headers.readable(brand.announcement),
        "Routing": brand.happ_routing if subscription_request.client.name == "happ" else "",
    }
    return {
        "Profile-Update-Interval": headers.UPDATE_INTERVAL,
        "Subscription-Userinfo": _userinfo(subscription_request, usage),
        "Profile-Title": headers.readable(subscription_request.title),
        "Content-Disposition": headers.content_disposition(subscription_request.title),
        "Traffic-Webhook": public_urls.webhook_url(origin),
        "User-Token": subscription_request.token,
        "Vary": "User-Agent, Accept",
        "Cache-Control": "private",
        "X-Robots-Tag": "noindex",
        "Referrer-Policy": "no-referrer",
    } | {name: value for name, value in optional.items() if value}


def _userinfo(subscription_request: SubscriptionRequest, usage: statistics.SubscriberUsage) -> str:
    total = headers.total(
        subscription_request.subscriber.data_limit,
        usage.period_total,
        mode=conf.userinfo_total,
        is_quota=subscription_request.client.total_is_quota,
    )
    expire = headers.expire(
        subscription_request.subscriber.expires_at,
        zero_is_1970=subscription_request.client.zero_is_1970,
    )
    return headers.userinfo(usage.period_upload, usage.period_download, total, expire)
