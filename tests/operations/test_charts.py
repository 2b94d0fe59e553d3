"""Charts drawn by the server."""

import re
from xml.etree import ElementTree

import pytest

from operations.charts import Bar, ceiling, stacked_bars

GB = 2**30


def drawn(*bars: Bar) -> ElementTree.Element:
    """The chart, as a browser reads it."""
    return ElementTree.fromstring(stacked_bars(bars, title="Traffic", scale=str))  # noqa: S314  our own


def rectangles(chart: ElementTree.Element, kind: str) -> list[dict[str, str]]:
    return [found.attrib for found in chart.iter("rect") if found.get("class") == kind]


def test_a_bar_is_as_high_as_its_part_of_the_scale() -> None:
    chart = drawn(Bar("a", "a", (2,)), Bar("b", "b", (4,)))
    low, high = (float(bar["height"]) for bar in rectangles(chart, "xp-layer-0"))
    assert high == pytest.approx(2 * low)


def test_layers_stand_on_each_other() -> None:
    chart = drawn(Bar("a", "a", (1, 3)))
    lower, upper = rectangles(chart, "xp-layer-0")[0], rectangles(chart, "xp-layer-1")[0]
    assert float(upper["y"]) + float(upper["height"]) == pytest.approx(float(lower["y"]), abs=0.1)


def test_nothing_is_drawn_for_a_value_of_nothing() -> None:
    chart = drawn(Bar("a", "a", (0, 3)))
    assert rectangles(chart, "xp-layer-0") == []
    assert len(rectangles(chart, "xp-layer-1")) == 1


def test_the_smallest_value_can_still_be_seen() -> None:
    chart = drawn(Bar("a", "a", (1,)), Bar("b", "b", (1000 * GB,)))
    assert float(rectangles(chart, "xp-layer-0")[0]["height"]) == 1


@pytest.mark.parametrize("bars", [[], [Bar("a", "a", (0, 0))], [Bar("a", "a", is_known=False)]])
def test_a_chart_of_nothing_has_no_scale_but_zero(bars: list[Bar]) -> None:
    assert re.findall(r">(\d+)</text>", stacked_bars(bars, title="t", scale=str)) == ["0"]


def test_an_unknown_figure_looks_different_from_zero() -> None:
    chart = drawn(Bar("a", "no reports", is_known=False), Bar("b", "nothing", (0,)))
    assert len(rectangles(chart, "xp-unknown")) == 1


def test_every_bar_tells_its_note() -> None:
    chart = drawn(Bar("a", "1 MB up"), Bar("b", "2 MB up"))
    assert [found.text for found in chart.iter("title")] == ["1 MB up", "2 MB up"]


def test_the_chart_has_a_name() -> None:
    assert drawn().get("aria-label") == "Traffic"


def test_texts_are_escaped() -> None:
    chart = stacked_bars([Bar("<b>", "<script>")], title='"><i>', scale=lambda _: "<u>")
    assert not re.search("<(b|script|i|u)>", chart)


@pytest.mark.parametrize(("bars", "labels"), [(1, 1), (8, 8), (9, 4), (24, 8), (168, 8), (365, 8)])
def test_few_enough_bars_are_labelled(bars: int, labels: int) -> None:
    chart = drawn(*(Bar(str(number), "") for number in range(bars)))
    assert (
        len([found for found in chart.iter("text") if "xp-tick" in found.get("class", "")])
        == labels
    )


def test_a_bar_without_a_label_leaves_the_room_to_others() -> None:
    chart = drawn(
        *(Bar(f"day {number // 24}" if number % 24 == 0 else "", "") for number in range(168))
    )
    shown = [found.text for found in chart.iter("text") if "xp-tick" in found.get("class", "")]
    assert shown == [f"day {number}" for number in range(7)]


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (0, 4), (4, 4), (5, 8), (2000, 2000), (2001, 4 * 1024), (4 * 1024 + 1, 8 * 1024),
        (GB, 4 * 500 * 2**20), (8 * GB, 8 * GB), (8 * GB + 1, 20 * GB),
    ],
)  # fmt: skip
def test_the_scale_ends_at_a_round_number_that_holds_everything(
    largest: int, expected: int
) -> None:
    assert ceiling(largest) == expected
