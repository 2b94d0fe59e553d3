"""The three ways to a receiver. Each sends some notifications at once: all are confirmed, or none."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from smtplib import SMTPException
from typing import NamedTuple

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from traffic.conf import conf
from traffic.models import Notification, Receiver

from .posting import PostError, post
from .signing import signed_headers

Send = Callable[[Receiver, Sequence[Notification], datetime], None]


class Channel(NamedTuple):
    """``at_once``: how many notifications make one message."""

    send: Send
    at_once: int


def send(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    """Return when the receiver has confirmed; raises PostError."""
    with translation.override(settings.LANGUAGE_CODE):
        CHANNELS[receiver.kind].send(receiver, found, now)


def as_json(notification: Notification) -> bytes:
    """The body of a webhook."""
    at = notification.at.astimezone(UTC).isoformat(timespec="seconds")
    fields = {"id": notification.pk, "event": notification.event, "at": at, "text": notification.text}
    return json.dumps(fields | {"data": notification.data}, ensure_ascii=False).encode()


def _webhook(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    for notification in found:
        body = as_json(notification)
        post(receiver.target, body, signed_headers(receiver.secret, notification.pk, body, now))


def _telegram(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    fields = {"chat_id": receiver.target, "text": _text(found), "disable_web_page_preview": True}
    post(f"{conf.telegram_url}/bot{receiver.secret}/sendMessage", json.dumps(fields).encode(), {})


def _email(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    many = ngettext("%(count)d notification", "%(count)d notifications", len(found)) % {"count": len(found)}
    subject = _("Xpert Panel: %(what)s") % {"what": found[0].text if len(found) == 1 else many}
    try:
        # Of a name somebody else has chosen, a line break would begin a new header.
        EmailMessage(" ".join(subject.split()), _text(found), to=[receiver.target]).send()
    except (SMTPException, OSError) as error:
        is_refused = isinstance(error, SMTPException)
        raise PostError("mail_refused" if is_refused else "connection") from None


def _text(found: Sequence[Notification]) -> str:
    return "\n".join(notification.text for notification in found)


# Telegram takes 4096 characters, and few messages a minute.
CHANNELS: dict[str, Channel] = {
    Receiver.Kind.WEBHOOK: Channel(_webhook, 1),
    Receiver.Kind.TELEGRAM: Channel(_telegram, 8),
    Receiver.Kind.EMAIL: Channel(_email, 100),
}
