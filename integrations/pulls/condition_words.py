"""Texts and gauges for the conditions of other panels: lines of ``doctor``, sentences, metrics."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from operations.events import Kind, seconds
from operations.findings import Condition
from operations.wording import Words

from . import conditions
from .models import Panel
from .pull_errors import sentence

# The most panels that have their own metrics.
_MOST = 100
# A single failure is not reported, because the next reading is only minutes away.
FAILURES = 3

_PANEL = _("Panel %(subject)s")


def _why(found: Condition) -> str:
    return sentence(found.figures["error"])


def _fails(found: Condition) -> str:
    text = gettext("Panel %(name)s cannot be read: %(why)s")
    return text % {"name": found.subject, "why": _why(found)}


WORDS: Mapping[str, Words] = {
    "pull-ok": Words(_("Other panels"), _("All were read: %(subject)s."), is_joined=True),
    "pull-failing": Words(
        _PANEL, _why, _("Look at its page in the admin; “try it” shows what it answers.")
    ),
    "pull-stale": Words(
        _PANEL,
        _("It has not been read since %(since)s."),
        _("Check that the timer of pull_usage runs; see docs/deployment.md."),
    ),
}


def _key(found: Condition, _now: datetime) -> str:
    """Changes each time that a panel stops being read."""
    return f"{_of(found).pk}:{seconds(found.since)}"


def _data(found: Condition) -> dict[str, Any]:
    panel = {"id": _of(found).pk, "name": found.subject}
    return {"panel": panel, "error": found.figures["error"]}


def _of(found: Condition) -> Panel:
    return cast(Panel, found.target)


def _is_told(found: Condition) -> bool:
    return found.code == "pull-stale" or found.figures["failures"] >= FAILURES


KINDS = (
    Kind(
        name="pull-failing",
        label=_("A panel could not be read three times in a row, or was not read for long"),
        find=conditions.panels,
        texts={
            "pull-failing": _fails,
            "pull-stale": _("Panel %(subject)s has not been read since %(since)s."),
        },
        key=_key,
        data=_data,
        is_told=_is_told,
    ),
)


def gauges(found: Sequence[Condition]) -> Iterator[Metric]:
    labels = ["id", "name"]
    failures = GaugeMetricFamily(
        "xpert_pull_failures", "Failures in a row of reading a panel.", labels=labels
    )
    success = GaugeMetricFamily(
        "xpert_pull_last_success_timestamp_seconds",
        "When a panel was last read, in Unix seconds.",
        labels=labels,
    )
    for one in [one for one in found if one.code.startswith("pull-")][:_MOST]:
        of_panel = [str(_of(one).pk), one.subject]
        failures.add_metric(of_panel, one.figures["failures"])
        if last := _of(one).last_success:
            success.add_metric(of_panel, last.timestamp())
    yield failures
    yield success
