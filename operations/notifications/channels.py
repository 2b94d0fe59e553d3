"""The three channels. Each sends several notifications in one message, so all of them are confirmed or none."""

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from smtplib import SMTPException
from typing import NamedTuple

import msgspec
from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from operations.conf import conf
from operations.databases.transactions import write_transaction
from operations.extension import extensions
from operations.models import Notification, Receiver
from operations.outbound import retry_after
from operations.outbound.errors import OutboundError
from operations.outbound.posting import Message, post
from operations.outbound.proxies import network_of
from operations.outbound.url_policy import Policy

from .signing import signed_headers

logger = logging.getLogger(__name__)

Send = Callable[[Receiver, Sequence[Notification], datetime], None]


class Channel(NamedTuple):
    """``at_once``: the most notifications in one message.

    ``reaches``: those that have anybody to go to, of a channel that leads each to another person; None: all.
    """

    send: Send
    at_once: int
    reaches: Callable[[Sequence[Notification]], Sequence[Notification]] | None = None


def send(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    """Return after the receiver confirmed; raises OutboundError."""
    with translation.override(settings.LANGUAGE_CODE):
        channel_of(receiver).send(receiver, found, now)


def channel_of(receiver: Receiver) -> Channel:
    """The panel's own channel, or one that an app adds for receivers of its kind."""
    added = (found.channels for found in extensions())
    every: dict[str, Channel] = dict(CHANNELS)
    for channels in added:
        every.update(channels)
    return every.get(receiver.kind, _NOWHERE)


def webhook_policy() -> Policy:
    """Where webhooks may point. An operator sees the resulting status, so a webhook must not probe the panel's network."""
    return Policy(http=True, ports=True, addresses=True, private=conf.allow_private_receivers)


def as_json(notification: Notification) -> bytes:
    """The body of a webhook."""
    at = notification.at.astimezone(UTC).isoformat(timespec="seconds")
    fields = {
        "id": notification.pk,
        "event": notification.event,
        "at": at,
        "text": notification.text,
    }
    return json.dumps(fields | {"data": notification.data}, ensure_ascii=False).encode()


def _webhook(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    for notification in found:
        body = as_json(notification)
        headers = signed_headers(receiver.secret, notification.pk, body, now)
        post(Message(receiver.target, body, webhook_policy(), headers))


class _Parameters(msgspec.Struct):
    retry_after: int | None = None
    migrate_to_chat_id: int | None = None


class _Refusal(msgspec.Struct):
    """The Bot API's response with a status of 400 or more (core.telegram.org/bots/api, ResponseParameters)."""

    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


def _telegram(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    try:
        _send_message(receiver, found)
    except OutboundError as error:
        chat = _parameters(error.answer).migrate_to_chat_id
        if chat is None:
            raise
        _move(receiver, str(chat))
        _send_message(receiver, found)


def _send_message(receiver: Receiver, found: Sequence[Notification]) -> None:
    fields = {"chat_id": receiver.target, "text": _text(found), "disable_web_page_preview": True}
    url = f"{conf.telegram_url}/bot{receiver.secret}/sendMessage"
    try:
        # The URL comes from the environment, so it may point to a private Bot API server.
        message = Message(url, json.dumps(fields).encode(), Policy(private=True))
        post(message, network=network_of(conf.telegram_proxy))
    except OutboundError as error:
        seconds = _parameters(error.answer).retry_after
        if seconds is not None:
            error.retry_after = retry_after.bounded(seconds)
        raise


def _parameters(answer: bytes) -> _Parameters:
    try:
        return msgspec.json.decode(answer, type=_Refusal).parameters
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _Parameters()


def _move(receiver: Receiver, chat: str) -> None:
    """Store the new id of a group that became a supergroup, because its old id is refused."""
    with write_transaction():
        Receiver.objects.filter(pk=receiver.pk, target=receiver.target).update(target=chat)
    receiver.target = chat
    logger.warning(
        "The chat of the receiver %s has got another id, which is used now.", receiver.pk
    )


def _email(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    many = ngettext("%(count)d notification", "%(count)d notifications", len(found)) % {
        "count": len(found)
    }
    subject = _("Xpert Panel: %(what)s") % {"what": found[0].text if len(found) == 1 else many}
    try:
        # The subject may hold names that others chose; a line break would start a new header.
        EmailMessage(" ".join(subject.split()), _text(found), to=[receiver.target]).send()
    except (SMTPException, OSError) as error:
        is_refused = isinstance(error, SMTPException)
        raise OutboundError("mail_refused" if is_refused else "connection") from None


def _text(found: Sequence[Notification]) -> str:
    return "\n".join(notification.text for notification in found)


def _no_channel(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    raise OutboundError("no_channel")


# For a receiver whose app is not installed any more.
_NOWHERE = Channel(_no_channel, 1)
# Telegram accepts 4096 characters per message, and few messages per minute.
CHANNELS: dict[str, Channel] = {
    Receiver.Kind.WEBHOOK: Channel(_webhook, 1),
    Receiver.Kind.TELEGRAM: Channel(_telegram, 8),
    Receiver.Kind.EMAIL: Channel(_email, 100),
}
