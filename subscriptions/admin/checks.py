"""The last checks of a server's endpoint, as a chart with its table below."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from django.utils.formats import date_format
from django.utils.html import strip_tags
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from operations.charts import Bar, stacked_bars
from operations.formatting import left_to_right, moment
from subscriptions.models import EndpointCheck

_HEIGHT = 160


def answered_in(latency: int, loss: int) -> SafeString:
    """The latency of a server that answered, and the share of failed tries."""
    return left_to_right(_milliseconds(latency) + (f", −{loss} %" if loss else ""))


def shown(checks: Sequence[EndpointCheck]) -> dict[str, Any]:
    """The template's context, from ``checks`` with the oldest first: a chart, and a table with the newest first."""
    bars = [_bar(check) for check in checks]
    chart = stacked_bars(bars, title=_("Last checks"), scale=_milliseconds, height=_HEIGHT)
    return {
        "checks": [(moment(check.at), _answer(check)) for check in reversed(checks)],
        "answered": sum(check.latency is not None for check in checks),
        "chart": mark_safe(chart),  # noqa: S308  it escapes
    }


def _bar(check: EndpointCheck) -> Bar:
    """The first layer if every try was answered, the second if only some were."""
    label = date_format(check.at.astimezone(UTC), "H:i")
    note = strip_tags(f"{moment(check.at)}: {_answer(check)}")
    if check.latency is None:
        return Bar(label, note, is_known=False)
    return Bar(label, note, (0, check.latency) if check.loss else (check.latency, 0))


def _answer(check: EndpointCheck) -> SafeString | str:
    return _("no answer") if check.latency is None else answered_in(check.latency, check.loss)


def _milliseconds(number: int) -> str:
    return _("%d ms") % number
