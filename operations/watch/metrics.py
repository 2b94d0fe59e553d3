"""Counters for Prometheus. Several processes share the folder PROMETHEUS_MULTIPROC_DIR (set by script/server).

Gauges that are read from the database are in ``exposition``. Children are looked up in our own
dicts, because ``labels()`` takes a lock and several times as long.
"""

import os
from pathlib import Path

from prometheus_client import Counter, Histogram


def make_folder() -> None:
    """Create the shared folder, if one is set: a cleaner of /tmp may have removed it since the start."""
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)


# A process that replaces a dead one writes its files there at once.
make_folder()

REQUESTS = Counter("xpert_requests", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "xpert_request_seconds",
    "Seconds from a request's arrival in the application to its answer.",
    ["route"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REFUSALS = Counter("xpert_refusals", "Requests and reports refused, by reason.", ["reason"])


_requests: dict[tuple[str, str, int], Counter] = {}
_seconds: dict[str, Histogram] = {}


def count_request(route: str, method: str, status: int, seconds: float) -> None:
    """``route`` and ``method`` must come from a bounded set of names."""
    key = (route, method, status)
    if key not in _requests:
        # ``_requests`` is set last, because other threads look there first.
        _seconds[route] = REQUEST_SECONDS.labels(route)
        _requests[key] = REQUESTS.labels(*key)
    _requests[key].inc()
    _seconds[route].observe(seconds)
