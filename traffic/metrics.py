"""Counters of reports for Prometheus; see ``operations.watch.metrics``."""

from prometheus_client import Counter, Histogram

REPORTS = Counter("xpert_reports", "Reports by outcome.", ["outcome"])


REPORTS_REFUSED = Counter("xpert_reports_refused", "Refused reports by field or rule.", ["reason"])


GROUP_REPORTS = Histogram(
    "xpert_commit_group_reports",
    "Reports that were committed together.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 1000, 10_000),
)


COMMIT_SECONDS = Histogram(
    "xpert_commit_seconds",
    "Seconds to record one group, including the wait for the disk.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


SERVER_BYTES = Counter(
    "xpert_server_bytes", "Bytes reported for a server.", ["server", "direction"]
)


# Servers counted by name per process; all later ones share a label, so that reporters cannot overload Prometheus.
MAX_SERVERS = 100


OTHER_SERVERS = "other"


# Created now, so that the first scrape shows zeros instead of missing series.
RECORDED, DUPLICATE, REJECTED = (
    REPORTS.labels(outcome) for outcome in ("recorded", "duplicate", "rejected")
)

_bytes: dict[str, tuple[Counter, Counter]] = {}


def count_bytes(server: str, upload: int, download: int) -> None:
    found = _bytes.get(server) or _counters_of(server)
    found[0].inc(upload)
    found[1].inc(download)


def count_refused(reason: str, count: int = 1) -> None:
    """``reason``: the field or rule; the number of different values is small."""
    REJECTED.inc(count)
    REPORTS_REFUSED.labels(reason).inc(count)


def _counters_of(server: str) -> tuple[Counter, Counter]:
    name = server if len(_bytes) < MAX_SERVERS else OTHER_SERVERS
    if name not in _bytes:
        _bytes[name] = SERVER_BYTES.labels(name, "upload"), SERVER_BYTES.labels(name, "download")
    return _bytes[name]
