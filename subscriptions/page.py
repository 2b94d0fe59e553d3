"""The subscriber's page: what a browser gets under the subscription URL. Every number comes from ``traffic.statistics``."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import segno
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.dateformat import format as format_date
from django.utils.dates import MONTHS_3, MONTHS_ALT
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import npgettext, pgettext
from django.utils.translation.trans_real import parse_accept_lang_header

from traffic import charts, statistics, subscribers
from traffic.cells import round_size, written_size
from traffic.conf import conf as traffic_conf
from traffic.models import Subscriber
from traffic.periods import DAY, EPOCH, HOUR, window
from traffic.statistics import DaysByServer, Share, SubscriberUsage

from . import notices
from .conf import LANGUAGES, conf
from .import_links import APPS, import_link

# Nothing runs or shows on the page but our own files, and no other page frames it.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DAYS = (7, 30, 90)
_DEFAULT_DAYS = 30
_NAMES = {"en": "English", "ru": "Русский", "fa": "فارسی"}
# So many servers have a colour of their own; the rest shares one.
_COLOURS = 5
# From here on a limit is shown as nearly reached.
_HIGH = 80
# Around a label of the chart, whose direction is left to right: words in Persian keep theirs.
_FIRST_STRONG, _ISOLATE_ENDS = "\u2068", "\u2069"


class View(msgspec.Struct, frozen=True):
    """What is asked for. ``url``: of the subscription; ``title``: the profile's name; ``days``: one of ``DAYS``."""

    subscriber: Subscriber
    usage: SubscriberUsage
    url: str
    title: str
    language: str
    days: int
    now: datetime


class Row(NamedTuple):
    """One server, or all the others, in chart and table."""

    label: str
    total: int
    days: list[int]


def chosen_language(asked: str, accepted: str) -> str:
    """By ``?lang=``, then by ``Accept-Language``, then XPERT_LANGUAGE."""
    if asked in LANGUAGES:
        return asked
    tags = (tag.partition("-")[0] for tag, quality in parse_accept_lang_header(accepted.lower()) if quality)
    return next((tag for tag in tags if tag in LANGUAGES), conf.language)


def chosen_days(asked: str) -> int:
    return next((days for days in DAYS if str(days) == asked), _DEFAULT_DAYS)


def render(view: View) -> bytes:
    with translation.override(view.language):
        return render_to_string("subscriptions/page.html", _context(view)).encode()


def _context(view: View) -> dict[str, Any]:
    zone = traffic_conf.time_zone
    state = subscribers.state(view.subscriber, view.usage.period_total, view.now)
    return {
        "view": view,
        "direction": "rtl" if view.language == "fa" else "ltr",
        "languages": [(code, _NAMES[code], _query(view, lang=code)) for code in LANGUAGES],
        "ranges": [(days, _query(view, days=str(days))) for days in DAYS],
        "state": state,
        "state_text": notices.text(state, view.language),
        "usage": _usage(view),
        "times": _times(view),
        "zone": zone.key,
        "chart": _chart(statistics.subscriber_days(view.subscriber, window(view.days, view.now), zone)),
        "qr": _qr(view.url),
        "apps": [(app.name, app.systems, import_link(app, view.url, view.title)) for app in APPS],
        "support_url": conf.support_url,
    }


def _query(view: View, **changes: str) -> str:
    """To the same page with another language or number of days."""
    return "?" + urlencode(
        {"user_token": view.subscriber.token, "lang": view.language, "days": str(view.days)} | changes
    )


def _usage(view: View) -> dict[str, Any]:
    """``percent`` and ``level`` (low, high, over) only when there is a limit."""
    usage, limit = view.usage, view.subscriber.data_limit
    figures = {
        "used": _figure(usage.period_total),
        "upload": _figure(usage.period_upload),
        "download": _figure(usage.period_download),
        "life": _figure(usage.life_total),
    }
    if limit is None:
        return figures
    percent = usage.period_total * 100 // limit
    return figures | {
        "limit": _figure(limit),
        "left": _figure(max(limit - usage.period_total, 0)),
        "percent": percent,
        "level": "over" if percent >= 100 else "high" if percent >= _HIGH else "low",
    }


class Figure(NamedTuple):
    """A number of bytes: short, and to the byte."""

    short: SafeString
    exact: SafeString


def _figure(size: int) -> Figure:
    count = _left_to_right(f"{size:,}".replace(",", "\u202f"))
    unit = npgettext("page", "{count} byte", "{count} bytes", size)
    return Figure(_left_to_right(written_size(size)), format_html(unit, count=count))


def _left_to_right(text: str) -> SafeString:
    """So that ``1.50 GB`` keeps its order on a page in Persian."""
    return format_html('<bdi dir="ltr">{}</bdi>', text)


def _times(view: View) -> dict[str, Any]:
    """Each with a moment in words and how far off it is; None when there is none."""
    began = subscribers.current_period(view.subscriber, view.now)
    return {
        "expires": _time(view.subscriber.expires_at, view.now),
        "resets": _time(subscribers.next_period(view.subscriber, view.now), view.now),
        "began": None if began == EPOCH else _time(began, view.now),
        "last_used": _time(view.usage.last_used_at, view.now),
    }


class Time(NamedTuple):
    """In the panel's zone, and how far off."""

    date: str
    clock: str
    distance: str


def _time(moment: datetime | None, now: datetime) -> Time | None:
    if moment is None:
        return None
    local = moment.astimezone(traffic_conf.time_zone)
    return Time(format_date(local, "j E Y"), f"{local:%H:%M}", _distance(moment - now))


def _distance(ahead: timedelta) -> str:
    """Whole days, below one whole hours: never more than there is."""
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
        return pgettext("page", "within the last hour") if past else pgettext("page", "in less than an hour")
    return (
        npgettext("page", "%d hour ago", "%d hours ago", hours) % hours
        if past
        else npgettext("page", "in %d hour", "in %d hours", hours) % hours
    )


def _chart(found: DaysByServer) -> dict[str, Any] | None:
    """Figures, bars and table of the days; None without any traffic."""
    if not found.total:
        return None
    rows = _rows(found)
    names = [f"{day.day} {MONTHS_ALT[day.month]}" for day in found.days]
    sums = [sum(values) for values in zip(*(row.days for row in rows), strict=True)]
    return {
        "total": _figure(found.total),
        "servers": [(place, row.label, _figure(row.total)) for place, row in enumerate(rows)],
        "bars": _bars(found.days, names, sums, rows),
        "days": _table(found.days, names, sums, rows),
    }


def _bars(days: Sequence[datetime], names: list[str], sums: list[int], rows: list[Row]) -> SafeString:
    bars = [
        charts.Bar(
            label=f"{_FIRST_STRONG}{day.day} {MONTHS_3[day.month]}{_ISOLATE_ENDS}",
            note=f"{names[place]}: {written_size(sums[place])}",
            values=tuple(row.days[place] for row in rows),
        )
        for place, day in enumerate(days)
    ]
    title = pgettext("page", "Usage by day and server")
    return mark_safe(charts.stacked_bars(bars, title=title, scale=round_size))  # noqa: S308  it escapes its texts


def _rows(found: DaysByServer) -> list[Row]:
    """The servers used most, and behind them all others as one."""
    own = len(found.servers) if len(found.servers) <= _COLOURS + 1 else _COLOURS
    rows = [Row(_label(server.share), server.share.total, server.days) for server in found.servers[:own]]
    if others := found.servers[own:]:
        days = [sum(values) for values in zip(*(server.days for server in others), strict=True)]
        label = npgettext("page", "%d other server", "%d other servers", len(others)) % len(others)
        rows.append(Row(label, sum(days), days))
    return rows


def _label(share: Share) -> str:
    host = f"[{share.server}]" if ":" in share.server else share.server
    return f"{host}:{share.port} {share.protocol}"


def _table(days: Sequence[datetime], names: list[str], sums: list[int], rows: list[Row]) -> SafeString:
    """Rows of the table, the latest day first, without those that saw no traffic. A template takes 10 ms for as many."""
    lines = []
    for place in reversed(range(len(days))):
        if sums[place]:
            sizes = [sums[place], *(row.days[place] for row in rows)]
            cells = "".join(f"<td>{written_size(size)}</td>" for size in sizes)
            time = f'<time datetime="{days[place]:%Y-%m-%d}">{escape(names[place])}</time>'
            lines.append(f'<tr><th scope="row">{time}</th>{cells}</tr>')
    return mark_safe("\n".join(lines))  # noqa: S308  numbers and an escaped name


@lru_cache(maxsize=256)
def _qr(url: str) -> SafeString:
    """The code as SVG, black on white also on a dark page: not every camera reads the reverse. It takes 5 ms to make."""
    code = segno.make(url, error="m", micro=False)
    return mark_safe(code.svg_inline(omitsize=True, border=4, dark="#000", light="#fff"))  # noqa: S308  modules only
