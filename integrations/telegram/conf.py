"""Settings of ``integrations.telegram``. Each is read when needed, so that tests can override it."""

import re

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from subscriptions import conf as subscriptions_conf

_TOKEN = re.compile(r"\d{1,20}:[\w-]{20,100}", re.ASCII)


class Settings(subscriptions_conf.Settings):
    """The settings of ``integrations.telegram`` and of the apps below it."""

    @property
    def telegram_token(self) -> str:
        """The token of the panel's bot; empty: no bot. It is a secret, so no message shows it."""
        value = getattr(settings, "XPERT_TELEGRAM_TOKEN", "")
        if value and not (isinstance(value, str) and _TOKEN.fullmatch(value)):
            raise ImproperlyConfigured(
                "XPERT_TELEGRAM_TOKEN takes a token from @BotFather like 123456789:AAE…"
            )
        return str(value)


conf = Settings()
