"""The apps of the process marzban_node: their models alone. What they add to the panel would cost it half of its memory."""

from django.apps import AppConfig


class _Models(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"


class Operations(_Models):
    name = "operations"


class Traffic(_Models):
    name = "traffic"


class Marzban(_Models):
    name = "integrations.marzban"
    label = "marzban"
