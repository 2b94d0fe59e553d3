"""The operator's pages: direct configurations, sources with their servers, groups, subscription requests, and what a subscriber's page shows of both."""

from . import cards
from .direct_configs import DirectConfigAdmin
from .hits import SubscriptionHitAdmin
from .nodes import GroupAdmin, NodeAdmin
from .sources import SourceAdmin
from .subscribers import SubscriberWithSubscriptionAdmin

__all__ = [
    "DirectConfigAdmin", "GroupAdmin", "NodeAdmin", "SourceAdmin", "SubscriberWithSubscriptionAdmin",
    "SubscriptionHitAdmin", "cards",
]  # fmt: skip
