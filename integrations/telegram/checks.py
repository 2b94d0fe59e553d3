"""A malformed setting stops the start with a sentence, not with a traceback."""

from typing import Any

from django.core.checks import CheckMessage, register

from operations.checks import wrong_settings

from .conf import conf

_CHECKS = {
    "telegram_token": ("telegram.E001", "Leave XPERT_TELEGRAM_TOKEN empty to have no bot."),
}


@register
def check_settings(**_: Any) -> list[CheckMessage]:
    return wrong_settings(conf, _CHECKS)
