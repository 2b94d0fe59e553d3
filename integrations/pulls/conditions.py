"""Conditions of other panels for ``doctor``, notifications and gauges."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from operations.findings import Condition, Level, Watch

from .models import Panel

# Without a successful reading for this long a panel is an error, not a warning.
BROKEN = timedelta(days=1)
# Without a reading for this many intervals, the timer probably does not run.
_MISSED = 4


def expected() -> dict[str, timedelta]:
    """Commands that a timer should start, if there is something for them to do."""
    is_needed = Panel.objects.filter(enabled=True).exists()
    return {"pull_usage": timedelta(hours=2)} if is_needed else {}


def panels(now: datetime) -> Iterator[Condition]:
    """One condition for each enabled panel: read, failing, or not read for a long time."""
    for panel in Panel.objects.filter(enabled=True):
        if panel.last_error:
            level = Level.ERROR if now - _since(panel) > BROKEN else Level.WARNING
            yield Condition(code="pull-failing", level=level, **_facts(panel))
        elif now - _since(panel) > timedelta(minutes=panel.interval) * _MISSED:
            yield Condition(code="pull-stale", level=Level.WARNING, **_facts(panel))
        else:
            yield Condition(code="pull-ok", **_facts(panel))


def _facts(panel: Panel) -> dict[str, Any]:
    """``since``: the last success, or when the panel was added."""
    figures = {"error": panel.last_error, "failures": panel.failures}
    return {"subject": panel.name, "figures": figures, "since": _since(panel), "target": panel}


def _since(panel: Panel) -> datetime:
    return panel.last_success or panel.added_at


WATCHES = (Watch(panels),)
