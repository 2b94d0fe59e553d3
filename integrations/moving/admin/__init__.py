"""Moving in from another panel: the page that does it, and the list of panels from which people have moved in."""

from .old_panels import OldPanelAdmin

__all__ = ["OldPanelAdmin"]
