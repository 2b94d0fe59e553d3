"""The operator's pages: direct configurations, sources with their servers, templates of lists, groups, subscription requests."""

from .brand import BrandAdmin
from .direct_configs import DirectConfigAdmin
from .hits import SubscriptionHitAdmin
from .limits import ServerLimitAdmin
from .nodes import GroupAdmin, NodeAdmin
from .sources import SourceAdmin
from .templates import TemplateAdmin

__all__ = [
    "BrandAdmin",
    "DirectConfigAdmin",
    "GroupAdmin",
    "NodeAdmin",
    "ServerLimitAdmin",
    "SourceAdmin",
    "SubscriptionHitAdmin",
    "TemplateAdmin",
]
