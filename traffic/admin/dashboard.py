"""The first screen: who uses what, at a glance. It asks ``overview`` and ``statistics``; each person sees what they may."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
from django import forms
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from traffic import overview, statistics
from traffic.cells import round_size, size_of_limit, with_bars, written_size
from traffic.charts import Bar, stacked_bars
from traffic.conf import conf
from traffic.periods import Window, window
from traffic.statistics import Point, Series, Share

DAYS = (1, 7, 30, 90, 365)
_DEFAULT_DAYS = 7
# Longer windows are drawn by day.
_MOST_DAYS_BY_HOUR = 7
_TOP = 10
# The last 24, and the one in which that began.
_HOURS_OF_A_DAY = 25

Figures = dict[str, Any]


class _DaysForm(forms.Form):
    days = forms.TypedChoiceField(choices=[(days, days) for days in DAYS], coerce=int)


class Card(msgspec.Struct, frozen=True):
    """What another app shows on the first screen to those who have ``permission``.

    ``figures`` is given the moment and answers what ``template`` needs.
    """

    permission: str
    template: str
    figures: Callable[[datetime], Figures]


_cards: dict[str, Card] = {}


def also_show(name: str, card: Card) -> None:
    """Register a card of another app; a second one of the same name takes its place."""
    _cards[name] = card


def dashboard(request: HttpRequest, context: Figures) -> Figures:
    """What the theme's ``DASHBOARD_CALLBACK`` is to answer. With ``?fragment=1`` the page is bare, to refresh itself by."""
    form, now, zone = _DaysForm(request.GET), timezone.now(), conf.time_zone
    chosen = window(form.cleaned_data["days"] if form.is_valid() else _DEFAULT_DAYS, now)
    own: Figures = {
        "base": "admin/traffic/fragment.html" if "fragment" in request.GET else "admin/base_site.html",
        "window": chosen,
        "day_choices": DAYS,
        "now": now,
        "zone": zone,
    }
    for permission, figures in (
        ("traffic.view_usage", _traffic),
        ("traffic.view_server", _servers),
        ("traffic.view_subscriber", _subscribers),
    ):
        own |= figures(chosen) if request.user.has_perm(permission) else {}
    cards = [card for card in _cards.values() if request.user.has_perm(card.permission)]
    return context | own | {"cards": [(card.template, card.figures(now)) for card in cards]}


def _traffic(chosen: Window) -> Figures:
    zone, shares = conf.time_zone, statistics.server_shares(chosen)
    hours = overview.hours(chosen.now, chosen.days)
    series = overview.series(hours, chosen, "hour" if chosen.days <= _MOST_DAYS_BY_HOUR else "day", zone)
    return {
        "recent": overview.recent(hours, chosen.now, zone),
        "series": series,
        "chart": _chart(series),
        "rows": [(_moment(series, point), point) for point in reversed(series.points)],
        "top_servers": with_bars(shares[: statistics.TOP]),
        "protocols": with_bars(_by_protocol(shares)),
        "database": statistics.database(),
        "retention_days": conf.retention_days,
    }


def _servers(chosen: Window) -> Figures:
    return {"silent_servers": overview.silent_servers(chosen.now, _TOP), "may_see_servers": True}


def _subscribers(chosen: Window) -> Figures:
    now, zone = chosen.now, conf.time_zone
    top = overview.top_subscribers(now, zone, _TOP)
    return {
        "states": overview.states(now, zone),
        "top_subscribers": [(found, size_of_limit(found.period_used, found.data_limit)) for found in top],
        "last_reports": overview.last_reports(_TOP),
        "silent_subscribers": overview.silent_subscribers(now, _TOP),
    }


class Protocol(msgspec.Struct, frozen=True):
    name: str
    total: int


def _by_protocol(shares: Iterable[Share]) -> list[Protocol]:
    sums: Counter[str] = Counter()
    for share in shares:
        sums[share.protocol] += share.total
    return [Protocol(name, total) for name, total in sums.most_common()]


def _chart(series: Series) -> SafeString:
    bars = [_bar(series, point) for point in series.points]
    return mark_safe(stacked_bars(bars, title=_("Upload and download"), scale=round_size))  # noqa: S308  it escapes


def _bar(series: Series, point: Point) -> Bar:
    """A time without reports is not one without traffic: nobody knows."""
    when = _moment(series, point)
    if not point.connections:
        return Bar(_tick(series, point), _("%(when)s: no reports") % {"when": when}, is_known=False)
    upload, download = written_size(point.upload), written_size(point.download)
    note = _("%(when)s: ↑ %(upload)s, ↓ %(download)s") % {"when": when, "upload": upload, "download": download}
    return Bar(_tick(series, point), note, (point.upload, point.download))


def _moment(series: Series, point: Point) -> str:
    return date_format(point.time, _("Y-m-d H:i") if series.bucket == "hour" else _("Y-m-d"))


def _tick(series: Series, point: Point) -> str:
    """Of hours in one day each, of hours in several days the first of each day, of days each."""
    if series.bucket == "hour" and len(series.points) <= _HOURS_OF_A_DAY:
        return date_format(point.time, "H:i")
    return date_format(point.time, _("M j")) if series.bucket == "day" or point.time.hour == 0 else ""
