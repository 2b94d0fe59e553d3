"""The charts on the pages of subscribers and servers."""

import re

import pytest

from tests.traffic.examples import DAY, GB, NOW, UTC_ZONE, a_report, stored, subscriber, window
from traffic.admin import usage_charts
from traffic.figures import statistics

pytestmark = pytest.mark.django_db


def by_server(days: int = 7) -> usage_charts.Picture:
    return usage_charts.days_by_server(
        statistics.subscriber_days(subscriber(), window(days), UTC_ZONE)
    )


def a_year() -> str:
    return usage_charts.calendar(
        statistics.subscriber_series(subscriber(), [window(365)], UTC_ZONE)[0].points
    )


def test_days_are_stacked_by_server_most_used_first() -> None:
    stored(
        a_report(upload=GB, download=0), a_report(server="b.example.com", upload=3 * GB, download=0)
    )
    picture = by_server()
    assert [(layer.name, layer.total) for layer in picture.layers] == [
        ("b.example.com:443 vless", 3 * GB),
        ("vpn.example.com:443 vless", GB),
    ]
    note = "Feb. 10, 2024: 4.00 GB\nb.example.com:443 vless: 3.00 GB\nvpn.example.com:443 vless: 1.00 GB"
    assert f"<title>{note}</title>" in picture.svg


def test_more_servers_than_colours_share_the_last() -> None:
    stored(
        *(
            a_report(server=f"s{number}.example.com", upload=100 - number, download=0)
            for number in range(8)
        )
    )
    picture = by_server()
    assert len(picture.layers) == usage_charts.COLOURS + 1
    assert (picture.layers[-1].name, picture.layers[-1].total) == ("others", 95 + 94 + 93)
    assert "xp-layer-6" not in picture.svg


def test_without_usage_there_are_days_without_bars() -> None:
    stored(a_report(NOW - 20 * DAY))
    picture = by_server()
    assert picture.layers == []
    assert picture.svg.count("<title>") == 8
    assert "xp-layer" not in picture.svg


def test_the_sum_of_the_layers_is_the_statistics() -> None:
    stored(a_report(), a_report(server="b.example.com"), a_report(NOW - 3 * DAY, upload=7))
    assert (
        sum(layer.total for layer in by_server().layers)
        == statistics.user("user123", window(7)).total
    )


def test_days_of_a_server_are_stacked_by_direction() -> None:
    stored(a_report(upload=GB, download=2 * GB))
    points = statistics.subscriber_series(subscriber(), [window(7)], UTC_ZONE)[0].points
    picture = usage_charts.days(points)
    assert [(layer.name, layer.total) for layer in picture.layers] == [
        ("Upload", GB),
        ("Download", 2 * GB),
    ]
    assert (
        "<title>Feb. 10, 2024: 3.00 GB\nUpload: 1.00 GB\nDownload: 2.00 GB</title>" in picture.svg
    )


def test_names_from_reports_are_escaped() -> None:
    points = statistics.DaysByServer(
        [NOW], [statistics.ServerDays(statistics.Share("<b>", 1, "&", 1, 0, 1), [1])]
    )
    assert "&lt;b&gt;:1 &amp;: 1 B" in usage_charts.days_by_server(points).svg


def test_the_calendar_has_a_square_for_each_day() -> None:
    stored(a_report())
    assert a_year().count("<rect") == 365


@pytest.mark.parametrize(
    ("size", "shade"), [(0, 0), (1, 1), (25, 1), (26, 2), (50, 2), (75, 3), (76, 4), (100, 4)]
)
def test_a_day_is_shaded_by_its_part_of_the_busiest(size: int, shade: int) -> None:
    stored(a_report(upload=100, download=0), a_report(NOW - DAY, upload=size, download=0))
    found = re.search(r'class="xp-day-(\d)"[^>]*><title>Feb. 9, 2024:', a_year())
    assert found
    assert int(found[1]) == shade


def test_weeks_begin_on_monday() -> None:
    """10 February 2024 is a Saturday, so it is in the sixth row."""
    stored(a_report())
    rows = re.findall(
        r'y="(\d+)" width="11" height="11" rx="2"><title>(Feb\. 4|Feb\. 5|Feb\. 10), 2024', a_year()
    )
    assert [(day, (int(y) - 16) // 13) for y, day in rows] == [
        ("Feb. 4", 6),
        ("Feb. 5", 0),
        ("Feb. 10", 5),
    ]


def test_without_days_there_is_no_calendar() -> None:
    assert usage_charts.calendar([]) == ""
