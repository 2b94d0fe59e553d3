"""Linked panels in the admin: the links, their people, and what was handed over."""

from .links import PanelLinkAdmin
from .records import HandOverAdmin, PanelIdentityAdmin

__all__ = ["HandOverAdmin", "PanelIdentityAdmin", "PanelLinkAdmin"]
