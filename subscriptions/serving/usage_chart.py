"""Sizes, and the usage by day and server, as the subscriber's page shows them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import npgettext, pgettext

from operations import charts
from operations.formatting import round_size, written_size
from traffic.figures.statistics import DaysByServer

from . import dates

# Servers with their own colour; all others share one.
_COLOURS = 5
# The chart runs from left to right; these marks keep the direction of a Persian label.
_FIRST_STRONG, _ISOLATE_ENDS = "\u2068", "\u2069"


def shown_size(size: int) -> str:
    return dates.digits(written_size(size))


def _scale(size: int) -> str:
    return dates.digits(round_size(size))


class Figure(NamedTuple):
    """A number of bytes: ``short`` is rounded, ``exact`` is not."""

    short: SafeString
    exact: SafeString


def byte_figure(size: int) -> Figure:
    count = _left_to_right(dates.digits(f"{size:,}".replace(",", "\u202f")))
    unit = npgettext("page", "{count} byte", "{count} bytes", size)
    return Figure(_left_to_right(shown_size(size)), format_html(unit, count=count))


def _left_to_right(text: str) -> SafeString:
    """Keeps the order of ``1.50 GB`` on a page in Persian."""
    return format_html('<bdi dir="ltr">{}</bdi>', text)


class Row(NamedTuple):
    """One server, or all others together, in chart and table."""

    label: str
    total: int
    days: list[int]


def chart_of(found: DaysByServer) -> dict[str, Any] | None:
    """Bars and table of the days; None without any traffic."""
    if not found.total:
        return None
    rows = _rows(found)
    names = [dates.without_year(day.date()) for day in found.days]
    sums = [sum(values) for values in zip(*(row.days for row in rows), strict=True)]
    return {
        "total": byte_figure(found.total),
        "servers": [(place, row.label, byte_figure(row.total)) for place, row in enumerate(rows)],
        "bars": _bars(found.days, names, sums, rows),
        "days": _table(found.days, names, sums, rows),
    }


def _bars(
    days: Sequence[datetime], names: list[str], sums: list[int], rows: list[Row]
) -> SafeString:
    bars = [
        charts.Bar(
            label=f"{_FIRST_STRONG}{dates.shortest(day.date())}{_ISOLATE_ENDS}",
            note=f"{names[place]}: {shown_size(sums[place])}",
            values=tuple(row.days[place] for row in rows),
        )
        for place, day in enumerate(days)
    ]
    title = pgettext("page", "Usage by day and server")
    return mark_safe(charts.stacked_bars(bars, title=title, scale=_scale))  # noqa: S308  it escapes its texts


def _rows(found: DaysByServer) -> list[Row]:
    """The servers used most, then all others as one row."""
    own = len(found.servers) if len(found.servers) <= _COLOURS + 1 else _COLOURS
    rows = [
        Row(str(server.share), server.share.total, server.days) for server in found.servers[:own]
    ]
    if others := found.servers[own:]:
        days = [sum(values) for values in zip(*(server.days for server in others), strict=True)]
        label = dates.digits(
            npgettext("page", "%d other server", "%d other servers", len(others)) % len(others)
        )
        rows.append(Row(label, sum(days), days))
    return rows


def _table(
    days: Sequence[datetime], names: list[str], sums: list[int], rows: list[Row]
) -> SafeString:
    """Rows of the table, the latest day first, without days that saw no traffic. A template would take 10 ms."""
    lines = []
    for place in reversed(range(len(days))):
        if sums[place]:
            sizes = [sums[place], *(row.days[place] for row in rows)]
            cells = "".join(f"<td>{shown_size(size)}</td>" for size in sizes)
            time = f'<time datetime="{days[place]:%Y-%m-%d}">{escape(names[place])}</time>'
            lines.append(f'<tr><th scope="row">{time}</th>{cells}</tr>')
    return mark_safe("\n".join(lines))  # noqa: S308  numbers and an escaped name
