"""Formats figures, times and states for pages."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Protocol, TypeVar

from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from operations import quota_levels, units
from operations.conf import conf
from operations.units import exact_size, format_size

# In the order of ``units.format_size``.
_UNITS = {
    "B": gettext_lazy("B"),
    "KB": gettext_lazy("KB"),
    "MB": gettext_lazy("MB"),
    "GB": gettext_lazy("GB"),
    "TB": gettext_lazy("TB"),
    "PB": gettext_lazy("PB"),
}


class _HasTotal(Protocol):
    @property
    def total(self) -> int: ...


_Row = TypeVar("_Row", bound=_HasTotal)


def left_to_right(text: str) -> SafeString:
    """Keeps the order of ``1.50 GB`` and ``abcd…`` on a page in Persian."""
    return format_html('<bdi dir="ltr">{}</bdi>', text)


def size(number: int) -> SafeString:
    """Bytes in the largest unit, with the exact number as a tooltip."""
    return format_html('<bdi dir="ltr" title="{}">{}</bdi>', exact(number), written_size(number))


def gigabytes(number: int) -> SafeString:
    """Bytes in GB with three decimals, in the language's number format, with the exact number as a tooltip."""
    text = number_format(units.gigabytes(number), decimal_pos=3, force_grouping=True)
    return format_html('<bdi dir="ltr" title="{}">{} {}</bdi>', exact(number), text, _UNITS["GB"])


def written_size(number: int) -> str:
    """Bytes in the largest unit, in the language's number format and units."""
    value, unit = format_size(number).split()
    return f"{number_format(Decimal(value))} {_UNITS[unit]}"


def typed_size(number: int) -> str:
    """For an input field: short, and parsed back to exactly ``number``."""
    value, unit = exact_size(number).split()
    return f"{value} {_UNITS[unit]}"


def round_size(number: int) -> str:
    """Like ``written_size``, for a round number: without needless decimals."""
    value, unit = format_size(number).split()
    return f"{number_format(Decimal(value).normalize(), use_l10n=True)} {_UNITS[unit]}"


def exact(number: int) -> str:
    shown = number_format(number, force_grouping=True)
    return ngettext("%(count)s byte", "%(count)s bytes", number) % {"count": shown}


def change(percent: int | None) -> SafeString | str:
    """The change since the previous period, in percent."""
    if percent is None:
        return ""
    kind, sign = ("more", "+") if percent > 0 else ("less", "−") if percent < 0 else ("same", "±")
    return format_html(
        '<span class="xp-change xp-{}">{}{} %</span>', kind, sign, number_format(abs(percent))
    )


def signed_size(number: int) -> SafeString:
    """A positive or negative number of bytes."""
    return left_to_right(f"{'−' if number < 0 else ''}{written_size(abs(number))}")


def badge(state: str, label: object) -> SafeString:
    return format_html('<span class="xp-badge xp-{}">{}</span>', state, label)


def moment(value: datetime | None) -> str:
    """A time in UTC, in the language's format; "never" for None."""
    if value is None:
        return _("never")
    utc = value.astimezone(UTC)
    day, time = (
        date_format(utc, _("Y-m-d"), use_l10n=False),
        date_format(utc, "H:i", use_l10n=False),
    )
    return format_html('<bdi dir="ltr"><span class="xp-moment">{}</span> {}</bdi>', day, time)


def last_day(end: datetime | None) -> str:
    """The last day before ``end`` in the panel's time zone, with the time if it ends within that day; "never" for None."""
    if end is None:
        return _("never")
    return format_html('<bdi dir="ltr" class="xp-moment">{}</bdi>', written_last_day(end))


def day_before(end: datetime) -> date:
    """The last day, in the panel's time zone, that has begun before this moment."""
    return (end.astimezone(conf.time_zone) - timedelta(microseconds=1)).date()


def written_last_day(end: datetime) -> str:
    """The last day; its end, with the name of a zone that is not UTC, if that is not midnight."""
    local = end.astimezone(conf.time_zone)
    day = date_format(day_before(end), _("Y-m-d"), use_l10n=False)
    if local.time() == time():
        return day
    zone = "" if conf.time_zone.key == "UTC" else f" {conf.time_zone.key}"
    return f"{day} {local:%H:%M}{zone}"


def size_of_limit(used: int, limit: int | None) -> SafeString:
    """``12.30 GB`` and ``of 50.00 GB, 24 %`` above a bar; without a limit only the size."""
    if limit is None:
        return format_html('<span class="xp-size">{}</span>', size(used))
    percent = quota_levels.percent(used, limit)
    of_limit = format_html(_("of {limit}, {percent} %"), limit=size(limit), percent=percent)
    return format_html(
        '<span class="xp-size">{}</span> <span class="xp-size xp-quiet">{}</span>{}',
        size(used), of_limit, bar(percent, quota_levels.level(used, limit)),
    )  # fmt: skip


def bar(percent: int, kind: str) -> SafeString:
    return format_html(
        '<progress aria-hidden="true" class="xp-bar xp-{}" max="100" value="{}"></progress>',
        kind,
        min(percent, 100),
    )


def with_bars(rows: Iterable[_Row]) -> list[tuple[_Row, SafeString]]:
    """Rows with traffic, each with a bar that shows its share of the largest."""
    found = [row for row in rows if row.total]
    largest = max((row.total for row in found), default=1)
    return [(row, bar(row.total * 100 // largest, "plain")) for row in found]
