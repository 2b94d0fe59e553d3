"""Stacked bars as inline SVG: rendered on the server, without scripts, coloured by the page's styles. Pure.

Horizontal positions are percentages and vertical ones are pixels, so that labels keep their size on a phone. Colours
are classes: ``xp-layer-0`` and so on, ``xp-unknown``. Show the same figures in a table beside the chart.
"""

from collections.abc import Callable, Sequence
from html import escape

import msgspec

HEIGHT = 200
_LINES = 4
# The most labels under the bars; on a narrow screen the styles hide every second one.
_TICKS = 8
# The share of its column that a bar fills.
_FILL = 0.76
_TOP, _BOTTOM = 12, 24
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Bar(msgspec.Struct, frozen=True):
    """``label``: shown below the bar if there is room. ``values``: one per layer, the lowest first. ``note``: the tooltip.

    ``is_known`` is false if there is no figure, which is different from a figure of zero.
    """

    label: str
    note: str
    values: tuple[int, ...] = ()
    is_known: bool = True

    @property
    def total(self) -> int:
        return sum(self.values)


def stacked_bars(
    bars: Sequence[Bar], *, title: str, scale: Callable[[int], str], height: int = HEIGHT
) -> str:
    """The chart of ``bars``, titled ``title``; ``scale`` formats the values of the grid lines. The SVG is escaped.

    Where there is nothing to draw, it has no grid but the line of zero.
    """
    largest = max((bar.total for bar in bars), default=0)
    top = ceiling(largest)
    lines = range(0, top + 1, top // _LINES) if largest else [0]
    room = height - _TOP - _BOTTOM
    parts = [
        f'<svg class="xp-chart" role="img" aria-label="{escape(title)}" width="100%" height="{height}">',
        *(_line(value, top, room, scale) for value in lines),
        *(_column(bar, index, len(bars), top, room) for index, bar in enumerate(bars)),
        *(
            _label(bars[index], index, len(bars), height, number)
            for number, index in enumerate(_labelled(bars))
        ),
        "</svg>",
    ]
    return "".join(parts)


def ceiling(largest: int) -> int:
    """The top of the scale: four equal steps of a round number of bytes, kilobytes, …, that reach ``largest``."""
    unit = 1
    while largest > _LINES * _STEPS[-1] * unit:
        unit *= 1024
    return _LINES * unit * next(step for step in _STEPS if largest <= _LINES * step * unit)


def _line(value: int, top: int, room: int, scale: Callable[[int], str]) -> str:
    y = _TOP + room - room * value // top
    return (
        f'<line class="xp-grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        f'<text class="xp-scale" x="0" dx="-8" y="{y}" dy=".32em" text-anchor="end">{escape(scale(value))}</text>'
    )


def _column(bar: Bar, index: int, count: int, top: int, room: int) -> str:
    """One bar with its note; the tooltip covers the whole height."""
    at = f'x="{_percent((index + (1 - _FILL) / 2) / count)}" width="{_percent(_FILL / count)}"'
    reach = (
        f'x="{_percent(index / count)}" width="{_percent(1 / count)}" y="{_TOP}" height="{room}"'
    )
    inside = _layers(bar, at, top, room) if bar.is_known else f'<rect class="xp-unknown" {reach}/>'
    return f'<g class="xp-column"><title>{escape(bar.note)}</title><rect class="xp-reach" {reach}/>{inside}</g>'


def _layers(bar: Bar, at: str, top: int, room: int) -> str:
    drawn, below = [], 0
    for number, value in enumerate(bar.values):
        if value:
            height = max(room * value / top, 1)
            y = _TOP + room - room * below / top - height
            drawn.append(
                f'<rect class="xp-layer-{number}" {at} y="{y:.1f}" height="{height:.1f}"/>'
            )
        below += value
    return "".join(drawn)


def _label(bar: Bar, index: int, count: int, height: int, number: int) -> str:
    kind = "xp-tick xp-second" if number % 2 else "xp-tick"
    x = _percent((index + 0.5) / count)
    return f'<text class="{kind}" x="{x}" y="{height - 6}" text-anchor="middle">{escape(bar.label)}</text>'


def _labelled(bars: Sequence[Bar]) -> list[int]:
    """Indexes of the bars whose label is shown: evenly spread, from the middle of the first step."""
    found = [index for index, bar in enumerate(bars) if bar.label]
    step = max(-(-len(found) // _TICKS), 1)
    return found[step // 2 :: step]


def _percent(part: float) -> str:
    return f"{part * 100:.3f}%"
