"""What ``/metrics`` says: the counters of all processes, and what the database tells when it is asked."""

import os
from collections.abc import Callable, Iterable, Iterator

from django.db import DatabaseError, InterfaceError
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from . import metrics, runs, statistics

CONTENT_TYPE = CONTENT_TYPE_LATEST

Gauges = Callable[[], Iterable[Metric]]
_others: list[Gauges] = []


def also_expose(gauges: Gauges) -> None:
    """Register what another app shows on ``/metrics``; it is asked on every scrape, so it must be cheap."""
    _others.append(gauges)


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
    """Read from the database; while that is away the counters alone are told."""

    def collect(self) -> Iterator[Metric]:
        for gauges in (_database, _last_report, _commands, *_others):
            try:
                yield from list(gauges())
            except (DatabaseError, InterfaceError):
                continue


def _database() -> Iterator[Metric]:
    yield GaugeMetricFamily("xpert_database_bytes", "Bytes that the database takes.", statistics.database_size())


def _last_report() -> Iterator[Metric]:
    """A moment, not an age: Prometheus' clock tells the age (``time() - …``)."""
    if moment := statistics.last_used_at():
        help_ = "When the latest reported traffic flowed, in Unix seconds."
        yield GaugeMetricFamily("xpert_last_report_timestamp_seconds", help_, moment.timestamp())


def _commands() -> Iterator[Metric]:
    help_ = "When a command of cron last succeeded, in Unix seconds."
    family = GaugeMetricFamily("xpert_command_last_success_timestamp_seconds", help_, labels=["command"])
    for run in runs.all_runs():
        if run.succeeded_at:
            family.add_metric([run.command], run.succeeded_at.timestamp())
    yield family
