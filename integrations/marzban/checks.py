"""A setting of the wrong form stops the start with a sentence, not with a traceback."""

from typing import Any

from django.core.checks import CheckMessage, register

from operations.checks import wrong_settings

from .conf import conf

# One id per setting, for good: ids are how an operator silences or finds a check.
_CHECKS = {
    "node_listen": ("marzban.E001", "XPERT_MARZBAN_NODE_LISTEN=127.0.0.1:62060 is the default."),
    "node_api": ("marzban.E002", "XPERT_MARZBAN_NODE_API=127.0.0.1:62061 is the default."),
    "marzban_url": (
        "marzban.E010",
        "XPERT_MARZBAN_URL=http://127.0.0.1:8000 for a Marzban on this machine; empty: its admins do not sign in here.",
    ),
}


@register
def check_settings(**_: Any) -> list[CheckMessage]:
    return wrong_settings(conf, _CHECKS)
