"""One update of Telegram: it is done together with the note that it is done, or not at all."""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import translation

from operations.databases.transactions import write_transaction
from subscriptions.conf import LANGUAGES

from . import answers, codes, links, operators, people
from .answers import Said
from .lease import LostError
from .models import Bot, Link

logger = logging.getLogger(__name__)
_LONGEST = 200


class _Person(msgspec.Struct):
    language_code: str = ""


class _Chat(msgspec.Struct):
    id: int
    type: str = ""


class _Message(msgspec.Struct):
    chat: _Chat
    sender: _Person | None = msgspec.field(name="from", default=None)
    text: str = ""


class _Pressed(msgspec.Struct):
    id: str
    sender: _Person = msgspec.field(name="from")
    message: _Message | None = None
    data: str = ""


class Update(msgspec.Struct):
    update_id: int
    message: _Message | None = None
    callback_query: _Pressed | None = None


class _Numbered(msgspec.Struct):
    update_id: int


def do(raw: bytes, holder: str, now: datetime) -> None:
    """Do one update, unless it is done already. Raises LostError, DatabaseError and InterfaceError.

    What cannot be read or done is skipped, because Telegram would send it again and again.
    """
    number = msgspec.json.decode(raw, type=_Numbered).update_id
    try:
        _do(number, raw, holder, now)
    except (LostError, DatabaseError, InterfaceError):
        raise
    except Exception:
        logger.exception("An update of Telegram is skipped.")
        _skip(number, holder, now)


@write_transaction
def _do(number: int, raw: bytes, holder: str, now: datetime) -> None:
    if not _is_next(number, holder, now):
        return
    try:
        update = msgspec.json.decode(raw, type=Update)
    except msgspec.ValidationError:
        return  # of a kind that was not asked for
    message = update.message or (update.callback_query and update.callback_query.message)
    if message and message.chat.type == "private":  # a group would see everybody's link
        answers.store(message.chat.id, _said(update, message, now), now)


@write_transaction
def _skip(number: int, holder: str, now: datetime) -> None:
    _is_next(number, holder, now)


def _is_next(number: int, holder: str, now: datetime) -> bool:
    """Note in the transaction of the caller that the update is done; False if it was already."""
    bot = Bot.objects.select_for_update().get(pk=1)
    if bot.holder != holder:
        raise LostError
    if number < bot.offset:
        return False
    Bot.objects.filter(pk=1).update(offset=number + 1, came_at=now)
    return True


def _said(update: Update, message: _Message, now: datetime) -> list[Said]:
    chat = message.chat.id
    links.note_back(chat)
    found, staff = people.is_linked(chat), links.staff_of_chat(chat)
    with translation.override(_language(update, [*found, *([staff] if staff else [])])):
        if update.callback_query:
            return _pressed(update.callback_query, chat, staff, now)
        return list(_answers(message.text[:_LONGEST].strip(), chat, found, staff, now))


def _language(update: Update, found: Iterable[Link]) -> str:
    """That of the link; else that of the person's Telegram, else the panel's."""
    sender = (
        update.message.sender
        if update.message
        else update.callback_query and update.callback_query.sender
    )
    told = (sender.language_code if sender else "").partition("-")[0]
    own = [link.language for link in found]
    return next((one for one in [*own, told] if one in LANGUAGES), settings.LANGUAGE_CODE)


def _pressed(pressed: _Pressed, chat: int, staff: Link | None, now: datetime) -> list[Said]:
    """A button belongs to the staff. Telegram shows that it waits until it gets an answer."""
    seen = Said("answerCallbackQuery", {"callback_query_id": pressed.id})
    done = operators.pressed(pressed.data[:_LONGEST], staff, now) if staff else []
    return [seen, *done]


def _answers(
    text: str, chat: int, found: list[Link], staff: Link | None, now: datetime
) -> Iterable[Said]:
    command, _, rest = text.partition(" ")
    command = command.partition("@")[0]
    code = rest.strip() if command == "/start" else text
    if code and _may_be_code(code):
        return _redeemed(code, chat, now)
    if staff and operators.knows(command):
        return operators.answer(command, rest.strip(), staff, now)
    if found:
        return people.answer(command.removeprefix("/"), found, now)
    if staff:
        return [operators.helped(staff)]
    return [people.not_linked(chat)]


def _may_be_code(text: str) -> bool:
    return len(text) == codes.LENGTH and text.replace("-", "").replace("_", "").isalnum()


def _redeemed(code: str, chat: int, now: datetime) -> list[Said]:
    link = codes.redeem(code, chat, now)
    if link is None:
        return [people.bad_code(chat)]
    with translation.override(link.language):
        return [people.greeting(link) if link.subscriber_id else operators.helped(link)]


def commands(language: str) -> list[dict[str, Any]]:
    """For the menu of Telegram: ``BotCommand``."""
    with translation.override(language):
        return [
            {"command": name, "description": str(words)}
            for name, words in people.descriptions().items()
        ]
