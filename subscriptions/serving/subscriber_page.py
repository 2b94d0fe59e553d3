"""The subscriber's page: what a browser gets under the subscription URL. Every number comes from ``traffic.figures.statistics``."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec
import segno
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import npgettext, pgettext
from django.utils.translation.trans_real import parse_accept_lang_header

from operations import quota_levels
from operations.extension import extensions
from subscriptions import telling
from subscriptions.conf import LANGUAGES, conf
from subscriptions.models import Brand, Device
from traffic import agent_program
from traffic.conf import conf as traffic_conf
from traffic.figures import statistics
from traffic.figures.statistics import SubscriberUsage
from traffic.ledger import lookup
from traffic.models import Subscriber
from traffic.people import quotas, server_limits
from traffic.people.server_limits import Filled
from traffic.periods import DAY, EPOCH, HOUR, window

from . import dates, notices
from .app_links import APPS, App, System, import_link
from .server_list import Line
from .usage_chart import Figure, byte_figure, chart_of

# Only our own files are loaded, and no other page may frame this one.
_POLICY = (
    "default-src 'none'; style-src 'self'{}; script-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action {}; frame-ancestors 'none'"
)
DAYS = (7, 30, 90)
_DEFAULT_DAYS = 30
_NAMES = {"en": "English", "ru": "Русский", "fa": "فارسی"}
# The address of ``preferences.tell_me``.
TELL_ME = "/api/xpert/tell-me"
# Set by the page's script.
ZONE_COOKIE = "xpert_zone"


class View(msgspec.Struct, frozen=True):
    """What the page shows. ``token``: as it was sent; ``url``: the subscription's; ``title``: the profile's name.

    ``days``: one of ``DAYS``; ``origin``: the panel's; ``zone``: the reader's. ``server``: the key of the server whose
    ``server_link`` the reader asks for, or "".
    """

    subscriber: Subscriber
    token: str
    usage: SubscriberUsage
    url: str
    origin: str
    title: str
    language: str
    days: int
    now: datetime
    zone: ZoneInfo
    brand: Brand
    system: System
    servers: Sequence[Line] = ()
    server: str = ""
    server_link: str = ""


def chosen_language(requested: str, accepted: str) -> str:
    """By ``?lang=``, else by ``Accept-Language``, else XPERT_LANGUAGE."""
    if requested in LANGUAGES:
        return requested
    tags = (
        tag.partition("-")[0]
        for tag, quality in parse_accept_lang_header(accepted.lower())
        if quality
    )
    return next((tag for tag in tags if tag in LANGUAGES), conf.language)


def chosen_days(requested: str) -> int:
    return next((days for days in DAYS if str(days) == requested), _DEFAULT_DAYS)


def chosen_zone(told: str) -> ZoneInfo:
    """The zone that the reader's browser named, else the panel's."""
    try:
        return ZoneInfo(told)
    except (KeyError, ValueError, OSError):  # a name from outside may be anything
        return conf.time_zone


def chosen_system(requested: str, detected: System) -> System:
    return next((system for system in System if system == requested), detected)


def policy(brand: Brand, content: bytes = b"") -> str:
    """The Content-Security-Policy. The brand's colour is the only style in the page itself.

    Only a page with a form may send one, and only to the panel. Values in ``content`` are escaped, so they hold no form.
    """
    style = _style(brand)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    sends_to = "'self'" if b"<form" in content else "'none'"
    return _POLICY.format(f" 'sha256-{digest}'" if style else "", sends_to)


def _style(brand: Brand) -> str:
    return f":root {{ --brand: {brand.colour}; }}" if brand.colour else ""


def render(view: View) -> bytes:
    with translation.override(view.language):
        return render_to_string("subscriptions/page.html", _context(view)).encode()


class Frame(NamedTuple):
    """What every page has: the profile's name, the reader's language and zone, and the look."""

    title: str
    language: str
    brand: Brand
    zone: ZoneInfo


def render_other(template: str, frame: Frame, context: dict[str, Any]) -> bytes:
    """Another page in the same look."""
    with translation.override(frame.language):
        return render_to_string(template, _frame(*frame) | context).encode()


def render_unknown(title: str, language: str, brand: Brand, zone: ZoneInfo) -> bytes:
    """The page for a link that leads nowhere (any more)."""
    with translation.override(language):
        context = _frame(title, language, brand, zone)
        return render_to_string("subscriptions/unknown.html", context).encode()


def _frame(title: str, language: str, brand: Brand, zone: ZoneInfo) -> dict[str, Any]:
    """What every page has: the look, and where to turn to."""
    logo = b64encode(brand.stored_logo()).decode()
    return {
        "title": title,
        "language": language,
        "direction": "rtl" if language == "fa" else "ltr",
        "zone": zone.key,
        "brand": brand,
        "style": mark_safe(_style(brand)),  # noqa: S308  a colour that was checked
        "logo": f"data:{brand.logo_type};base64,{logo}" if logo else "",
        "support_url": brand.support_url or conf.support_url,
    }


def _context(view: View) -> dict[str, Any]:
    state = quotas.state(view.subscriber, view.usage.period_total, view.now)
    days = statistics.subscriber_days(view.subscriber, window(view.days, view.now), view.zone)
    return _frame(view.title, view.language, view.brand, view.zone) | {
        "view": view,
        "languages": [(code, _NAMES[code], _query(view, lang=code)) for code in LANGUAGES],
        "ranges": [(days, dates.digits(str(days)), _query(view, days=str(days))) for days in DAYS],
        "state": state,
        "state_text": notices.text(state, view.language),
        "usage": _usage(view),
        "limits": _limits(view),
        "devices": _devices(view),
        "next_plan": view.subscriber.next_plans.first() if view.subscriber.has_next else None,
        "times": _times(view),
        "chart": chart_of(days),
        "qr": qr_code(view.url),
        "steps": _steps(view),
        "servers": [(line, _query(view, server=line.key)) for line in view.servers],
        "server_qr": qr_code(view.server_link) if view.server_link else "",
        "agent": _agent_lines(view),
        "telling": _telling(view) if conf.tell_people else None,
        "parts": [part for make in _page_parts() if (part := make(view))],
    }


def _page_parts() -> list[Callable[[Any], str]]:
    return [found.page_part for found in extensions() if found.page_part]


class Telling(NamedTuple):
    """Whether the reader is notified when the subscription runs out, and the address that changes it."""

    is_wanted: bool
    change: str


def _telling(view: View) -> Telling:
    is_wanted = telling.language_of(view.subscriber) is not None
    query = {"user_token": view.token, "lang": view.language, "told": "no" if is_wanted else "yes"}
    return Telling(is_wanted, f"{conf.base_path}{TELL_ME}?{urlencode(query)}")


class Steps(NamedTuple):
    """How the reader's device gets the servers. ``others``: more apps of that system, each with store and link."""

    system: System
    systems: list[tuple[System, str]]
    app: App
    store: str
    store_qr: SafeString
    link: str
    others: list[tuple[str, str, str]]


def _steps(view: View) -> Steps:
    offered = [app for app in APPS if app.name in view.brand.apps] or list(APPS)
    fitting = [app for app in offered if view.system in app.stores]
    first, *others = fitting or [app for app in APPS if view.system in app.stores]
    store = first.stores[view.system]
    return Steps(
        view.system,
        [(system, _query(view, system=system)) for system in System],
        first,
        store,
        qr_code(store),
        import_link(first, view.url, view.title),
        [
            (app.name, app.stores[view.system], import_link(app, view.url, view.title))
            for app in others
        ],
    )


def _agent_lines(view: View) -> list[tuple[str, str, str]]:
    """Id, system and line to copy that counts the traffic of a computer; none where it would be refused."""
    program = agent_program.served(view.origin)
    if program is None or traffic_conf.reports_need_key:
        return []
    return [
        ("posix", "Linux, macOS", program.posix_line("report", view.url)),
        ("windows", "Windows (PowerShell)", program.windows_line("report", view.url)),
    ]


def _query(view: View, **changes: str) -> str:
    """The query of the same page with another language or number of days."""
    return "?" + urlencode(
        {"user_token": view.token, "lang": view.language, "days": str(view.days)} | changes
    )


def _usage(view: View) -> dict[str, Any]:
    """``percent`` and ``level`` (low, high, over) exist only when there is a limit."""
    usage, limit = view.usage, view.subscriber.data_limit
    figures = {
        "used": byte_figure(usage.period_total),
        "upload": byte_figure(usage.period_upload),
        "download": byte_figure(usage.period_download),
        "life": byte_figure(usage.life_total),
    }
    if limit is None:
        return figures
    percent = quota_levels.percent(usage.period_total, limit)
    return figures | {
        "limit": byte_figure(limit),
        "left": byte_figure(quota_levels.left(usage.period_total, limit)),
        "percent_shown": dates.digits(str(percent)),
        "percent": percent,
        "level": quota_levels.level(usage.period_total, limit),
    }


class ShownLimit(NamedTuple):
    """A limit on servers. One that all people fill together is shown only when it is used up, without figures."""

    name: str
    is_over: bool
    used: Figure | None
    limit: Figure | None
    percent: int
    level: str
    resets: "Time | None"


def _limits(view: View) -> list[ShownLimit]:
    found = server_limits.of_subscriber(view.subscriber, view.now)
    return [_shown(one, view) for one in found if one.is_over or not one.is_together]


def _shown(one: Filled, view: View) -> ShownLimit:
    return ShownLimit(
        name=str(one.limit),
        is_over=one.is_over,
        used=None if one.is_together else byte_figure(one.used),
        limit=None if one.is_together else byte_figure(one.limit.data_limit),
        percent=min(one.percent, 100),
        level=one.level,
        resets=_time(one.resets_at, view),
    )


class ShownDevice(msgspec.Struct, frozen=True):
    """A device that fetched the list. ``is_served``: it is among the first, which get the list."""

    name: str
    system: str
    is_served: bool
    seen: "Time | None"


def _devices(view: View) -> list[ShownDevice]:
    """Nothing while the subscriber's devices are not limited."""
    limit = view.subscriber.device_limit
    if limit is None:
        return []
    found = Device.objects.filter(subscriber=view.subscriber)
    return [
        ShownDevice(
            name=device.model or pgettext("page", "Device"),
            system=f"{device.system} {device.system_version}".strip(),
            is_served=place < limit,
            seen=_time(device.last_seen, view),
        )
        for place, device in enumerate(found)
    ]


def _times(view: View) -> dict[str, Any]:
    """Each moment in words and its distance from now; None when there is none."""
    began = lookup.current_period(view.subscriber, view.now)
    return {
        "hold_days": view.subscriber.hold_days,
        "expires": _end(view),
        "resets": _time(lookup.next_period(view.subscriber, view.now), view),
        "began": None if began == EPOCH else _time(began, view),
        "last_used": _time(view.usage.last_used_at, view),
    }


class Time(NamedTuple):
    """A moment in the reader's zone, and its distance from now."""

    date: str
    clock: str
    distance: str


def _time(moment: datetime | None, view: View) -> Time | None:
    if moment is None:
        return None
    local = moment.astimezone(view.zone)
    return Time(dates.in_words(local.date()), dates.clock(local), _distance(moment - view.now))


def _end(view: View) -> Time | None:
    """The last day on which the subscription works, in the panel's zone; a time only if it ends during that day."""
    moment = view.subscriber.expires_at
    if moment is None:
        return None
    day = dates.last_day(moment, conf.time_zone)
    ends_with_the_day = dates.last_day(moment + datetime.resolution, conf.time_zone) > day
    clock = "" if ends_with_the_day else dates.clock(moment.astimezone(view.zone))
    return Time(dates.in_words(day), clock, _distance(moment - view.now))


def _distance(ahead: timedelta) -> str:
    return dates.digits(_plain_distance(ahead))


def _plain_distance(ahead: timedelta) -> str:
    """Whole days, or whole hours below one day, rounded down."""
    past, size = ahead < timedelta(), abs(ahead)
    if size >= DAY:
        days = size // DAY
        return (
            npgettext("page", "%d day ago", "%d days ago", days) % days
            if past
            else npgettext("page", "in %d day", "in %d days", days) % days
        )
    hours = size // HOUR
    if not hours:
        return (
            pgettext("page", "within the last hour")
            if past
            else pgettext("page", "in less than an hour")
        )
    return (
        npgettext("page", "%d hour ago", "%d hours ago", hours) % hours
        if past
        else npgettext("page", "in %d hour", "in %d hours", hours) % hours
    )


@lru_cache(maxsize=256)
def qr_code(url: str) -> SafeString:
    """The QR code as SVG, also black on white on a dark page, because not every camera reads it inverted. Takes 5 ms."""
    code = segno.make(url, error="m", micro=False)
    return mark_safe(code.svg_inline(omitsize=True, border=4, dark="#000", light="#fff"))  # noqa: S308  modules only
