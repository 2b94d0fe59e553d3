"""Whether the bot asks for updates: found here once, for ``doctor`` and the card."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from operations.findings import Condition, Level, Watch

from .conf import conf
from .models import Bot

_SILENT = timedelta(minutes=10)


def bot(now: datetime) -> Iterator[Condition]:
    if not conf.telegram_token:
        return
    polled_at = Bot.objects.filter(pk=1).values_list("polled_at", flat=True).first()
    if polled_at is None:
        yield Condition(code="telegram-never", level=Level.WARNING)
    elif now - polled_at > _SILENT:
        yield Condition(code="telegram-silent", level=Level.WARNING, since=polled_at)
    else:
        yield Condition(code="telegram-ok", since=polled_at)


WATCHES = (Watch(bot),)
