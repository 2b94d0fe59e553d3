"""Texts and gauges for the conditions of gateways: lines of ``doctor``, sentences, metrics."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from django.utils.translation import gettext_lazy as _
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from operations.events import Kind, seconds
from operations.findings import Condition
from operations.wording import Words

from . import conditions
from .models import Gateway

_GATEWAY = _("Gateway %(subject)s")
# Says nothing on that page itself.
LOOK = _("Look at its page in the admin.")

WORDS: Mapping[str, Words] = {
    "gateway-new": Words(
        _GATEWAY,
        _("It has never been heard of."),
        _("Start its agent: its page in the admin has the command."),
    ),
    "gateway-silent": Words(
        _GATEWAY,
        _("It has been silent since %(since)s."),
        _("See on the machine whether xpert-agent runs, and whether it reaches the panel."),
    ),
    "gateway-refuses": Words(
        _GATEWAY, _("It does not apply its configuration: %(complaint)s"), LOOK
    ),
    "gateway-leaves-out": Words(
        _GATEWAY, _("Its core refuses %(count)d servers or ways in."), LOOK
    ),
    "gateway-certificate-ends": Words(
        _GATEWAY, _("Its certificate ends at %(ends_at)s."), _("Renew the certificate.")
    ),
    "gateway-certificate-ended": Words(
        _GATEWAY, _("Its certificate ended at %(ends_at)s."), _("Renew the certificate.")
    ),
}


def _key(found: Condition, _now: datetime) -> str:
    """Changes each time that it falls silent, and with each certificate."""
    return (
        f"{_gateway(found).pk}:{found.code}:{seconds(found.since or found.figures.get('ends_at'))}"
    )


def _gateway(found: Condition) -> Gateway:
    return cast(Gateway, found.target)


def _data(found: Condition) -> dict[str, Any]:
    gateway = _gateway(found)
    return {"gateway": {"id": gateway.pk, "name": gateway.name}, "code": found.code}


KINDS = (
    Kind(
        name="gateway",
        label=_("A gateway is silent, refuses its configuration, or its certificate ends"),
        find=conditions.gateways,
        texts={
            "gateway-silent": _("Gateway %(subject)s has been silent since %(since)s."),
            "gateway-refuses": _(
                "Gateway %(subject)s does not apply its configuration: %(complaint)s"
            ),
            "gateway-certificate-ends": _(
                "Gateway %(subject)s: its certificate ends at %(ends_at)s."
            ),
            "gateway-certificate-ended": _(
                "Gateway %(subject)s: its certificate ended at %(ends_at)s."
            ),
        },
        key=_key,
        data=_data,
    ),
)


def gauges(found: Sequence[Condition]) -> Iterator[Metric]:
    online = GaugeMetricFamily(
        "xpert_gateway_people_online", "People with a connection.", labels=["name"]
    )
    seen = GaugeMetricFamily(
        "xpert_gateway_last_seen_timestamp_seconds",
        "When a gateway was last heard of, in Unix seconds.",
        labels=["name"],
    )
    for one in found:
        if one.code == "gateway":
            online.add_metric([one.subject], one.figures["online"])
            if one.since:
                seen.add_metric([one.subject], one.since.timestamp())
    yield online
    yield seen
