"""The first screen, with figures from ``overview`` and ``statistics``. Users see only what their permissions allow."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec
from django import forms
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from operations.extension import Figures, extensions
from operations.formatting import size_of_limit, with_bars
from operations.watch import attention
from traffic.conf import conf
from traffic.figures import overview, statistics
from traffic.figures.overview import Used
from traffic.figures.statistics import Share
from traffic.models import Reseller
from traffic.people import resellers
from traffic.periods import Window, window

from . import reseller_figures, series_charts

DAYS = (1, 7, 30, 90, 365)
_DEFAULT_DAYS = 7
_TOP = 10


class _DaysForm(forms.Form):
    days = forms.TypedChoiceField(choices=[(days, days) for days in DAYS], coerce=int)


def dashboard(request: HttpRequest, context: Figures) -> Figures:
    """The theme's ``DASHBOARD_CALLBACK``. With ``?fragment=1`` the response is only the content, for ``live.js``."""
    form, now, zone = _DaysForm(request.GET), timezone.now(), conf.time_zone
    chosen = window(form.cleaned_data["days"] if form.is_valid() else _DEFAULT_DAYS, now)
    own: Figures = {
        "base": "admin/operations/fragment.html"
        if "fragment" in request.GET
        else "admin/base_site.html",
        "window": chosen,
        "day_choices": DAYS,
        "now": now,
        "zone": zone,
    }
    if reseller := resellers.of(request.user):
        return context | own | _own(reseller, now)
    own["attention"] = attention.items(now, request.user.has_perm)
    for permission, figures in (
        ("traffic.view_usage", _traffic),
        ("traffic.view_server", _servers),
        ("traffic.view_subscriber", _subscribers),
    ):
        own |= figures(chosen) if request.user.has_perm(permission) else {}
    cards = [
        card
        for extension in extensions()
        for card in extension.cards.values()
        if request.user.has_perm(card.permission)
    ]
    return context | own | {"cards": [(card.template, card.figures(now)) for card in cards]}


def _own(reseller: Reseller, now: datetime) -> Figures:
    """What resellers see: their own subscribers and their quota, and no figures of the panel."""
    zone, people = conf.time_zone, reseller.subscribers.visible()
    top = overview.top_subscribers(now, zone, _TOP, people)
    return {
        "reseller": reseller,
        "quota": reseller_figures.of(reseller),
        "states": overview.states(now, zone, people),
        "top_subscribers": _with_limits(top),
    }


def _traffic(chosen: Window) -> Figures:
    zone, shares = conf.time_zone, statistics.server_shares(chosen)
    hours = overview.hours(chosen.now, chosen.days)
    series = overview.series(hours, chosen, series_charts.bucket_of(chosen), zone)
    return {
        "recent": overview.recent(hours, chosen.now, zone),
        **series_charts.shown(series),
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
        "top_subscribers": _with_limits(top),
        "last_reports": overview.last_reports(_TOP),
        "silent_subscribers": overview.silent_subscribers(now, _TOP),
    }


def _with_limits(found: Iterable[Used]) -> list[tuple[Used, SafeString]]:
    return [(one, size_of_limit(one.period_used, one.data_limit)) for one in found]


class Protocol(msgspec.Struct, frozen=True):
    name: str
    total: int


def _by_protocol(shares: Iterable[Share]) -> list[Protocol]:
    sums: Counter[str] = Counter()
    for share in shares:
        sums[share.protocol] += share.total
    return [Protocol(name, total) for name, total in sums.most_common()]
