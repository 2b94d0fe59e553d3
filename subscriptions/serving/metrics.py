"""Counters of subscription requests for Prometheus; see ``operations.watch.metrics``."""

from prometheus_client import Counter

HITS = Counter(
    "xpert_subscription_hits", "Subscription requests by client app.", ["client", "status"]
)
