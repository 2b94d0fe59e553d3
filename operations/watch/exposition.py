"""The output of ``/metrics``: the counters of all processes, and gauges read from the database."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from operations.databases import engine
from operations.extension import extensions
from operations.findings import Condition

from . import command_runs, conditions, metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST


def text() -> bytes:
    """All metrics of all processes in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counters())
    registry.register(_Gauges())
    return generate_latest(registry)


class _Counters:
    def collect(self) -> Iterable[Metric]:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return REGISTRY.collect()
        metrics.make_folder()
        return MultiProcessCollector(None).collect()  # type: ignore[no-untyped-call, no-any-return]


class _Gauges:
    """Gauges read from the database. They are left out while it is not available."""

    def collect(self) -> Iterator[Metric]:
        found = conditions.quick(timezone.now())
        for extension in extensions():
            if extension.gauges:
                try:
                    yield from list(extension.gauges(found))
                except (DatabaseError, InterfaceError):
                    continue


def gauges(found: Sequence[Condition]) -> Iterator[Metric]:
    """The gauges of this app."""
    yield _conditions(found)
    yield _database()
    yield _commands()
    yield from _replica(found)


def _replica(found: Sequence[Condition]) -> Iterator[Metric]:
    for one in found:
        if one.code in {"replica-ok", "replica-late"}:
            yield GaugeMetricFamily(
                "xpert_replica_lag_seconds",
                "Seconds by which the read replica is behind.",
                one.figures["seconds"],
            )


def _conditions(found: Sequence[Condition]) -> Metric:
    help_ = "Conditions that need attention, by their code: how many there are."
    family = GaugeMetricFamily("xpert_conditions", help_, labels=["code", "level"])
    count = Counter((one.code, one.level.name.lower()) for one in found if one.level)
    for labels, number in sorted(count.items()):
        family.add_metric(list(labels), number)
    return family


def _database() -> Metric:
    return GaugeMetricFamily(
        "xpert_database_bytes", "Bytes that the database takes.", engine.database_size()
    )


def _commands() -> Metric:
    help_ = "When a command of cron last succeeded, in Unix seconds."
    family = GaugeMetricFamily(
        "xpert_command_last_success_timestamp_seconds", help_, labels=["command"]
    )
    for run in command_runs.all_runs():
        if run.succeeded_at:
            family.add_metric([run.command], run.succeeded_at.timestamp())
    return family
