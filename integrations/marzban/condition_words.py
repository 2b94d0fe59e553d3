"""How linked panels are described to people and programs: lines of ``doctor``, sentences, gauges."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from django.utils.translation import gettext_lazy as _
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from operations.events import Kind, seconds
from operations.findings import Condition
from operations.wording import Words

from . import conditions
from .models import PanelLink

_LINK = _("Linked panel %(subject)s")
_NODE = _("Node for Marzban")
_PAUSED = _(
    "Linked panel %(subject)s: nothing is handed over, because the database was put back to an earlier moment."
)
_SILENT = _("Linked panel %(subject)s has not called its node since %(since)s.")

WORDS: Mapping[str, Words] = {
    "marzban-node-package-missing": Words(
        _NODE,
        _("The package grpcio is missing, so nothing is handed over."),
        _("Install what requirements.txt names, and start the service xpert-panel-marzban-node."),
    ),
    "marzban-yaml-package-missing": Words(
        _("Marzban's subscriptions"),
        _("The package ruamel.yaml is missing, so Clash lists get no external servers."),
        _("Install what requirements.txt names, and start the panel again."),
    ),
    "marzban-node-open": Words(
        _NODE,
        _("It listens for gRPC on %(host)s:%(port)s, where Marzban shows no certificate."),
        _("Let a firewall admit Marzban's address alone, or listen on 127.0.0.1."),
    ),
    "marzban-connected": Words(_LINK, _("Its panel called its node at %(since)s.")),
    "marzban-never-connected": Words(
        _LINK,
        _("Its panel has never called its node."),
        _("Add the node in Marzban's Node Settings; see docs/marzban.md."),
    ),
    "marzban-silent": Words(
        _LINK,
        _("Its panel has not called its node since %(since)s."),
        _(
            "See that the service xpert-panel-marzban-node runs, and what Marzban's Node Settings say."
        ),
    ),
    "marzban-paused": Words(
        _LINK,
        _("Nothing is handed over, because the database was put back to an earlier moment."),
        _("Choose from which moment on: manage.py marzban_node --resume, see docs/marzban.md."),
    ),
    "marzban-port-taken": Words(
        _LINK,
        _(
            "Its node cannot start: a port is taken by another program, or the address is not of this machine."
        ),
        _("Set XPERT_MARZBAN_NODE_LISTEN and XPERT_MARZBAN_NODE_API, and link the panel again."),
    ),
    "marzban-certificate-bad": Words(
        _LINK,
        _("Its node cannot start: there is no usable certificate."),
        _("Run manage.py connect_marzban again, and see the log of xpert-panel-marzban-node."),
    ),
    "marzban-account-fails": Words(
        _LINK,
        _("Its list of users cannot be read with the stored account: %(error)s."),
        _("Store the account again on the page of the link, or forget it."),
    ),
    "marzban-bytes-unknown": Words(
        _LINK,
        _(
            "Of %(lost_bytes)s nobody knows whether they arrived: the node stopped while it answered."
        ),
        _("They count as handed over, so that nobody pays twice."),
    ),
}


def _key(found: Condition, _now: datetime) -> str:
    return f"{found.target.pk if found.target else 0}:{seconds(found.since)}"


def _data(found: Condition) -> dict[str, Any]:
    return {"panel": {"id": cast(PanelLink, found.target).pk, "name": found.subject}}


KINDS = (
    Kind(
        name="panel-silent",
        label=_("A linked panel is silent, or its link is paused"),
        find=conditions.links,
        texts={"marzban-paused": _PAUSED, "marzban-silent": _SILENT},
        key=_key,
        data=_data,
    ),
)


def gauges(found: Sequence[Condition]) -> Iterator[Metric]:
    seen = GaugeMetricFamily(
        "xpert_marzban_node_last_call_timestamp_seconds",
        "When a linked panel last called its node, in Unix seconds.",
        labels=["panel"],
    )
    lost = GaugeMetricFamily(
        "xpert_marzban_unknown_bytes",
        "Bytes handed over of which nobody knows whether they arrived.",
        labels=["panel"],
    )
    for one in found:
        if one.code in _STATES and one.since:
            seen.add_metric([one.subject], one.since.timestamp())
        if one.code == "marzban-bytes-unknown":
            lost.add_metric([one.subject], one.figures["lost_bytes"])
    yield seen
    yield lost


_STATES = frozenset({"marzban-connected", "marzban-silent", "marzban-paused"})
