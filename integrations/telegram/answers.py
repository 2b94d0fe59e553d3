"""What the bot says. It is stored with what an update has changed, so that neither is lost when the process is killed."""

import io
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import segno

from operations.databases.transactions import write_transaction
from operations.outbound.errors import OutboundError

from . import bot_api, links
from .models import Answer

logger = logging.getLogger(__name__)
# An answer that could not be sent in this time is of no use any more.
_GIVE_UP = timedelta(hours=6)
_AGAIN = timedelta(seconds=5)
# Statuses that say that this call will never succeed.
_FINAL = frozenset({"http_400", "http_403", "http_404", "http_413"})


class Said(msgspec.Struct, frozen=True):
    """One call of the Bot API. ``qr``: a text that is sent as a picture."""

    method: str
    fields: dict[str, Any]
    qr: str = ""


def text(chat: int, words: str, buttons: Iterable[Iterable[tuple[str, str]]] = ()) -> Said:
    """A message. ``buttons``: rows of a label and the data that comes back when it is pressed."""
    fields: dict[str, Any] = {
        "chat_id": chat,
        "text": words[:4096],
        "disable_web_page_preview": True,
    }
    rows = [[{"text": label, "callback_data": data} for label, data in row] for row in buttons]
    if rows:
        fields["reply_markup"] = {"inline_keyboard": rows}
    return Said("sendMessage", fields)


def picture(chat: int, qr: str, caption: str) -> Said:
    return Said("sendPhoto", {"chat_id": chat, "caption": caption}, qr)


def store(chat: int, said: Iterable[Said], now: datetime) -> None:
    """In the transaction of the caller."""
    Answer.objects.bulk_create(
        Answer(
            chat=chat,
            method=one.method,
            fields=one.fields | ({"qr": one.qr} if one.qr else {}),
            since=now,
            next_try=now,
        )
        for one in said
    )


def send_due(now: datetime) -> datetime | None:
    """Send what is due, in order; return when to try again what was not sent."""
    for answer in Answer.objects.filter(next_try__lte=now).order_by("pk"):
        try:
            _send(answer)
        except OutboundError as error:
            if error.code == "http_403":
                links.note_blocked(answer.chat, now)
            if error.code not in _FINAL and now - answer.since < _GIVE_UP:
                logger.warning("An answer of the bot is sent later: %s", error.code)
                return _later(now, error.retry_after)
            logger.warning("An answer of the bot is given up: %s", error.code)
        with write_transaction():
            answer.delete()
    return Answer.objects.order_by("next_try").values_list("next_try", flat=True).first()


def _send(answer: Answer) -> None:
    fields = dict(answer.fields)
    qr = fields.pop("qr", "")
    upload = bot_api.Upload("photo", _png(qr)) if qr else None
    bot_api.call(answer.method, fields, upload=upload)


def _later(now: datetime, seconds: int | None) -> datetime:
    """Let all wait, because Telegram's limits are of the whole bot."""
    moment = now + (timedelta(seconds=seconds) if seconds else _AGAIN)
    with write_transaction():
        Answer.objects.filter(next_try__lt=moment).update(next_try=moment)
    return moment


def _png(qr: str) -> bytes:
    made = io.BytesIO()
    segno.make(qr, error="m", micro=False).save(made, kind="png", scale=8, border=4)
    return made.getvalue()
