"""How the spool is described to people and programs: lines of ``doctor``, gauges."""

from collections.abc import Iterator, Mapping, Sequence

from django.utils.translation import gettext_lazy as _
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from operations.findings import Condition
from operations.wording import Words

_SPOOL = _("Messages of 3x-ui")

WORDS: Mapping[str, Words] = {
    "inform-waiting": Words(
        _SPOOL,
        _("%(messages)d on disk (%(waiting_bytes)s) wait for the database, since %(since)s."),
        _("Find what keeps the database busy; then manage.py drain_spool books them."),
    ),
    "inform-set-aside": Words(
        _SPOOL,
        _("%(messages)d cannot be booked; they are in %(folder)s."),
        _("The log says why. Delete them, or rename them back and run manage.py drain_spool."),
    ),
}


def gauges(found: Sequence[Condition]) -> Iterator[Metric]:
    waiting = (one.figures["messages"] for one in found if one.code == "inform-waiting")
    help_ = "Messages of 3x-ui that wait on this machine's disk for the database."
    yield GaugeMetricFamily("xpert_inform_waiting_messages", help_, next(waiting, 0))
