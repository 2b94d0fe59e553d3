"""Settings of the process marzban_node, which runs beside the panel for months and serves neither pages nor REST."""

from .settings import *  # noqa: F403

INSTALLED_APPS = [
    "xpert_panel.node_apps.Operations",
    "xpert_panel.node_apps.Traffic",
    "xpert_panel.node_apps.Marzban",
]
