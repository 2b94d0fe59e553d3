"""How the state of the bot is described to people: lines of ``doctor``."""

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from operations.wording import Words

_BOT = _("Telegram bot")
_START = _("systemctl enable --now xpert-panel-telegram-bot, or read its log: docs/telegram.md.")

WORDS: Mapping[str, Words] = {
    "telegram-never": Words(_BOT, _("There is a token, but the bot has not run yet."), _START),
    "telegram-silent": Words(_BOT, _("It has not reached Telegram since %(since)s."), _START),
    "telegram-ok": Words(_BOT, _("It last reached Telegram at %(since)s.")),
}
