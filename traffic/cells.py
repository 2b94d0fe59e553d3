"""How a figure, a secret and a state look in a table."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol, TypeVar

from django.utils.formats import date_format, number_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from traffic.subscribers import State
from traffic.units import exact_size, format_size

STATES: dict[State, str | Promise] = {
    State.ACTIVE: gettext_lazy("active"),
    State.DISABLED: gettext_lazy("switched off"),
    State.EXPIRED: gettext_lazy("expired"),
    State.LIMITED: gettext_lazy("over the limit"),
}

# As ``units.format_size`` writes them.
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
# From here on a limit is shown as nearly reached.
_HIGH = 80


def left_to_right(text: str) -> SafeString:
    """So that ``1.50 GB`` and ``abcd…`` keep their order on a page in Persian."""
    return format_html('<bdi dir="ltr">{}</bdi>', text)


def size(number: int) -> SafeString:
    """Bytes in the largest unit; to who points at it, to the byte."""
    return format_html('<bdi dir="ltr" title="{}">{}</bdi>', exact(number), written_size(number))


def written_size(number: int) -> str:
    """Bytes in the largest unit, as the language writes numbers and units."""
    value, unit = format_size(number).split()
    return f"{number_format(Decimal(value))} {_UNITS[unit]}"


def typed_size(number: int) -> str:
    """To be edited: short, and read back as exactly ``number``."""
    value, unit = exact_size(number).split()
    return f"{value} {_UNITS[unit]}"


def round_size(number: int) -> str:
    """The same of a round number: without decimals that say nothing."""
    value, unit = format_size(number).split()
    return f"{number_format(Decimal(value).normalize(), use_l10n=True)} {_UNITS[unit]}"


def exact(number: int) -> str:
    shown = number_format(number, force_grouping=True)
    return ngettext("%(count)s byte", "%(count)s bytes", number) % {"count": shown}


def change(percent: int | None) -> SafeString | str:
    """By how much more or less than before."""
    if percent is None:
        return ""
    kind, sign = ("more", "+") if percent > 0 else ("less", "−") if percent < 0 else ("same", "±")
    return format_html('<span class="xp-change xp-{}">{}{} %</span>', kind, sign, number_format(abs(percent)))


def signed_size(number: int) -> SafeString:
    """A change of so many bytes."""
    return left_to_right(f"{'−' if number < 0 else ''}{written_size(abs(number))}")


def badge(state: str, label: object) -> SafeString:
    return format_html('<span class="xp-badge xp-{}">{}</span>', state, label)


def moment(value: datetime | None) -> str:
    """In UTC, as the language writes it; without one: never."""
    if value is None:
        return _("never")
    utc = value.astimezone(UTC)
    day, time = date_format(utc, _("Y-m-d"), use_l10n=False), date_format(utc, "H:i", use_l10n=False)
    return format_html('<bdi dir="ltr"><span class="xp-moment">{}</span> {}</bdi>', day, time)


def state_badge(state: State) -> SafeString:
    return badge(state, STATES[state])


def size_of_limit(used: int, limit: int | None) -> SafeString:
    """``12.30 GB`` and ``of 50.00 GB, 24 %`` above a bar; without a limit the size alone."""
    if limit is None:
        return format_html('<span class="xp-size">{}</span>', size(used))
    percent = used * 100 // limit
    of_limit = format_html(_("of {limit}, {percent} %"), limit=size(limit), percent=percent)
    return format_html(
        '<span class="xp-size">{}</span> <span class="xp-size xp-quiet">{}</span>{}',
        size(used), of_limit, bar(percent, _level(percent)),
    )  # fmt: skip


def _level(percent: int) -> str:
    return "over" if percent >= 100 else "high" if percent >= _HIGH else "low"


def bar(percent: int, kind: str) -> SafeString:
    return format_html(
        '<progress aria-hidden="true" class="xp-bar xp-{}" max="100" value="{}"></progress>', kind, min(percent, 100)
    )


def with_bars(rows: Iterable[_Row]) -> list[tuple[_Row, SafeString]]:
    """Rows with traffic, each with a bar as long as its share of the largest."""
    found = [row for row in rows if row.total]
    largest = max((row.total for row in found), default=1)
    return [(row, bar(row.total * 100 // largest, "plain")) for row in found]
