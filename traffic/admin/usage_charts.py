"""Charts for the pages of subscribers and servers: bars by day, stacked by server, and a calendar of a year."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from html import escape

import msgspec
from django.utils.formats import date_format
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from operations.charts import Bar, stacked_bars
from operations.formatting import round_size, written_size
from traffic.figures.statistics import DaysByServer, Point

# The number of servers with their own colour; all others share one.
COLOURS = 5
# Shades of the calendar for days with traffic.
_SHADES = 4
_CELL, _GAP, _LEFT, _ABOVE = 11, 2, 4, 16


class Layer(msgspec.Struct, frozen=True):
    """One colour of the chart: its label and bytes."""

    name: str
    total: int


class Picture(msgspec.Struct, frozen=True):
    svg: SafeString
    layers: list[Layer]


def days_by_server(found: DaysByServer) -> Picture:
    """A bar for each day, with the most used server at the bottom."""
    own, others = found.servers[:COLOURS], found.servers[COLOURS:]
    layers = [Layer(str(row.share), row.share.total) for row in own]
    columns = [row.days for row in own]
    if others:
        layers.append(Layer(pgettext("servers", "others"), sum(row.share.total for row in others)))
        columns.append([sum(values) for values in zip(*(row.days for row in others), strict=True)])
    values = list(zip(*columns, strict=True)) if columns else [()] * len(found.days)
    names = [layer.name for layer in layers]
    bars = [_bar(day, parts, names) for day, parts in zip(found.days, values, strict=True)]
    return Picture(mark_safe(stacked_bars(bars, title=_("Usage by day"), scale=round_size)), layers)  # noqa: S308


def days(points: Sequence[Point]) -> Picture:
    """A bar for each day: upload below, download above."""
    names = [_("Upload"), _("Download")]
    sums = (sum(point.upload for point in points), sum(point.download for point in points))
    bars = [_bar(point.time, (point.upload, point.download), names) for point in points]
    layers = [Layer(name, total) for name, total in zip(names, sums, strict=True)]
    return Picture(mark_safe(stacked_bars(bars, title=_("Usage by day"), scale=round_size)), layers)  # noqa: S308


def _bar(day: datetime, parts: tuple[int, ...], names: Sequence[str]) -> Bar:
    told = [
        f"{name}: {written_size(part)}" for name, part in zip(names, parts, strict=True) if part
    ]
    return Bar(_short(day), "\n".join([f"{_long(day)}: {written_size(sum(parts))}", *told]), parts)


def calendar(points: Sequence[Point]) -> SafeString:
    """A square for each day, in a column per week from Monday. More usage gives a stronger colour."""
    if not points:
        return mark_safe("")
    first = points[0].time.date()
    monday = first - timedelta(days=first.weekday())
    busiest = max(point.total for point in points)
    squares = "".join(
        _square(point, (point.time.date() - monday).days, busiest) for point in points
    )
    weeks = (points[-1].time.date() - monday).days // 7 + 1
    width, height = _LEFT + weeks * (_CELL + _GAP), _ABOVE + 7 * (_CELL + _GAP)
    label = _("Days of the last year with traffic")
    return mark_safe(  # noqa: S308  numbers, and text that is escaped
        f'<svg class="xp-calendar" role="img" aria-label="{escape(label)}"'
        f' viewBox="0 0 {width} {height}" width="{width}" height="{height}">{_months(points, monday)}{squares}</svg>'
    )


def _square(point: Point, number: int, busiest: int) -> str:
    x, y = _LEFT + number // 7 * (_CELL + _GAP), _ABOVE + number % 7 * (_CELL + _GAP)
    note = escape(f"{_long(point.time)}: {written_size(point.total)}")
    return (
        f'<rect class="xp-day-{_shade(point.total, busiest)}" x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="2">'
        f"<title>{note}</title></rect>"
    )


def _shade(total: int, busiest: int) -> int:
    """0 for no traffic, otherwise by the share of the busiest day."""
    return -(-total * _SHADES // busiest) if total else 0


def _months(points: Sequence[Point], monday: date) -> str:
    firsts = [point.time for point in points if point.time.day == 1]
    return "".join(
        f'<text class="xp-tick" x="{_LEFT + (day.date() - monday).days // 7 * (_CELL + _GAP)}" y="{_ABOVE - 5}">'
        f"{escape(date_format(day, 'M'))}</text>"
        for day in firsts
    )


def _short(day: datetime) -> str:
    return date_format(day, _("M j"))


def _long(day: datetime) -> str:
    return date_format(day, "DATE_FORMAT")
