"""How notifications reach subscribers themselves: each goes to the chat of the subscriber whom it is about."""

from collections.abc import Sequence
from datetime import datetime

from operations import audit
from operations.models import Notification, Receiver
from operations.notifications.channels import Channel
from operations.notifications.outbox import RECIPIENT_GONE
from operations.outbound.errors import OutboundError
from subscriptions.person_events import NAMES
from traffic.models import Subscriber

from . import bot_api, links
from .conf import conf

_KIND = audit.kind_of(Subscriber)


class GoneError(OutboundError):
    """There is no chat any more to which this could go."""

    is_final = True

    def __init__(self) -> None:
        super().__init__(RECIPIENT_GONE)


def reaches(found: Sequence[Notification]) -> Sequence[Notification]:
    """The notifications for subscribers who have linked a chat."""
    own = [one for one in found if one.event in NAMES and one.target_kind == _KIND]
    chats = links.reachable({one.target_id for one in own if one.target_id is not None})
    return [one for one in own if one.target_id in chats]


def _send(receiver: Receiver, found: Sequence[Notification], now: datetime) -> None:
    if not conf.telegram_token:
        raise OutboundError("no_channel")
    for one in found:
        chat = links.reachable({one.target_id or 0}).get(one.target_id or 0)
        if chat is None:
            raise GoneError
        _say(chat.chat, one.text, now)


def _say(chat: int, text: str, now: datetime) -> None:
    fields = {"chat_id": chat, "text": text, "disable_web_page_preview": True}
    try:
        bot_api.call("sendMessage", fields)
    except OutboundError as error:
        if error.code == "http_403":
            links.note_blocked(chat, now)
        if error.code in {"http_400", "http_403"}:
            raise GoneError from None
        raise


# One by one, because each is for another person.
CHANNELS = {Receiver.Kind.PEOPLE.value: Channel(_send, 1, reaches)}
