"""Upload and download over time: the chart of the first screen, and the rows of the table below it."""

from django.utils.formats import date_format
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from operations.charts import Bar, stacked_bars
from operations.formatting import round_size, written_size
from traffic.figures.statistics import BucketSize, Point, Series
from traffic.periods import Window

# The last 24 hours touch 25 calendar hours.
_HOURS_OF_A_DAY = 25
# Windows with more days are drawn by day.
_MOST_DAYS_BY_HOUR = 7


def bucket_of(span: Window) -> BucketSize:
    return "hour" if span.days <= _MOST_DAYS_BY_HOUR else "day"


def shown(series: Series) -> dict[str, object]:
    """What the template ``admin/traffic/dashboard/chart.html`` needs."""
    rows = [(_moment(series, point), point) for point in reversed(series.points)]
    return {"series": series, "chart": _chart(series), "rows": rows}


def _chart(series: Series) -> SafeString:
    bars = [_bar(series, point) for point in series.points]
    return mark_safe(stacked_bars(bars, title=_("Upload and download"), scale=round_size))  # noqa: S308  it escapes


def _bar(series: Series, point: Point) -> Bar:
    """A time without reports is drawn as unknown, not as zero traffic."""
    when = _moment(series, point)
    if not point.reports:
        return Bar(_tick(series, point), _("%(when)s: no reports") % {"when": when}, is_known=False)
    upload, download = written_size(point.upload), written_size(point.download)
    note = _("%(when)s: ↑ %(upload)s, ↓ %(download)s") % {
        "when": when,
        "upload": upload,
        "download": download,
    }
    return Bar(_tick(series, point), note, (point.upload, point.download))


def _moment(series: Series, point: Point) -> str:
    return date_format(point.time, _("Y-m-d H:i") if series.bucket == "hour" else _("Y-m-d"))


def _tick(series: Series, point: Point) -> str:
    """The label below a bar: each hour for one day, the first hour of each day for several days, otherwise each day."""
    if series.bucket == "hour" and len(series.points) <= _HOURS_OF_A_DAY:
        return date_format(point.time, "H:i")
    return (
        date_format(point.time, _("M j")) if series.bucket == "day" or point.time.hour == 0 else ""
    )
