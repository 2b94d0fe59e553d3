"""Counters for Prometheus. With several processes they share a folder, PROMETHEUS_MULTIPROC_DIR (script/server sets it).

What is read from the database when somebody asks stands in ``exposition``. Children are looked
up in dicts of our own: ``labels()`` takes a lock and several times as long.
"""

import os
from pathlib import Path

from prometheus_client import Counter, Histogram


def make_folder() -> None:
    """The processes' folder, if they have one: whoever tidies /tmp may have dropped it since the start."""
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)


# A process that begins now, in place of one that died, writes its files there at once.
make_folder()

REQUESTS = Counter("xpert_requests", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "xpert_request_seconds",
    "Seconds from a request's arrival in the application to its answer.",
    ["route"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REPORTS = Counter("xpert_reports", "Reports by what became of them.", ["outcome"])
REPORTS_REFUSED = Counter("xpert_reports_refused", "Reports refused, by the field or rule to blame.", ["reason"])
REFUSALS = Counter("xpert_refusals", "Requests and reports refused, by reason.", ["reason"])
HITS = Counter("xpert_subscription_hits", "Subscription requests by client app.", ["client", "status"])
GROUP_REPORTS = Histogram(
    "xpert_commit_group_reports",
    "Reports that were committed together.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 1000, 10_000),
)
COMMIT_SECONDS = Histogram(
    "xpert_commit_seconds",
    "Seconds that recording one group took, the wait for the disk included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
SERVER_BYTES = Counter("xpert_server_bytes", "Bytes reported for a server.", ["server", "direction"])

# Servers that a process counts by name; those that come later are one: whoever may report must not fill Prometheus.
MAX_SERVERS = 100
OTHER_SERVERS = "other"

# So that the first scrape shows zeros instead of nothing.
RECORDED, DUPLICATE, REJECTED = (REPORTS.labels(outcome) for outcome in ("recorded", "duplicate", "rejected"))

_requests: dict[tuple[str, str, int], Counter] = {}
_seconds: dict[str, Histogram] = {}
_bytes: dict[str, tuple[Counter, Counter]] = {}


def count_request(route: str, method: str, status: int, seconds: float) -> None:
    """``route`` and ``method`` are ours to name: their number is bounded."""
    key = (route, method, status)
    if key not in _requests:
        # The last one, for another thread looks for it first.
        _seconds[route] = REQUEST_SECONDS.labels(route)
        _requests[key] = REQUESTS.labels(*key)
    _requests[key].inc()
    _seconds[route].observe(seconds)


def count_bytes(server: str, upload: int, download: int) -> None:
    found = _bytes.get(server) or _counters_of(server)
    found[0].inc(upload)
    found[1].inc(download)


def count_refused(reason: str, count: int = 1) -> None:
    """``reason``: the field or rule to blame, of which there are few."""
    REJECTED.inc(count)
    REPORTS_REFUSED.labels(reason).inc(count)


def _counters_of(server: str) -> tuple[Counter, Counter]:
    name = server if len(_bytes) < MAX_SERVERS else OTHER_SERVERS
    if name not in _bytes:
        _bytes[name] = SERVER_BYTES.labels(name, "upload"), SERVER_BYTES.labels(name, "download")
    return _bytes[name]
