"""Linked chats: whose a chat is, and which chat somebody has."""

from collections.abc import Collection, Mapping
from datetime import datetime

from operations.databases.transactions import write_transaction
from traffic.models import Subscriber

from .codes import digest
from .models import Answer, Link, LinkCode


def of_chat(chat: int) -> list[Link]:
    """The subscribers of a chat that are linked with their present token."""
    found = Link.objects.filter(chat=chat, user=None, subscriber__hidden_at=None)
    rows = found.select_related("subscriber").order_by("pk")
    return [link for link in rows if is_current(link)]


def staff_of_chat(chat: int) -> Link | None:
    """The member of the staff whose chat this is, if they may still sign in to the admin."""
    found = Link.objects.filter(
        chat=chat, subscriber=None, user__is_active=True, user__is_staff=True
    )
    return found.select_related("user").first()


def of_subscriber(subscriber: Subscriber) -> Link | None:
    link = Link.objects.filter(subscriber=subscriber).first()
    return link if link is not None and link.token_digest == digest(subscriber.token) else None


def is_current(link: Link) -> bool:
    """Whether the subscriber's token is still that with which the chat was linked."""
    return link.subscriber is not None and link.token_digest == digest(link.subscriber.token)


def reachable(subscribers: Collection[int]) -> Mapping[int, Link]:
    """The chats of these subscribers (ids) to which something may be sent."""
    found = Link.objects.filter(
        subscriber__in=subscribers, blocked_at=None, subscriber__hidden_at=None
    )
    rows = found.select_related("subscriber")
    return {link.subscriber_id: link for link in rows if link.subscriber_id and is_current(link)}


@write_transaction
def note_blocked(chat: int, now: datetime) -> None:
    Link.objects.filter(chat=chat, blocked_at=None).update(blocked_at=now)


def note_back(chat: int) -> None:
    """The person writes again, so the bot is not blocked."""
    Link.objects.filter(chat=chat).exclude(blocked_at=None).update(blocked_at=None)


def unlink(subscriber: Subscriber) -> None:
    with write_transaction():
        Link.objects.filter(subscriber=subscriber).delete()
        LinkCode.objects.filter(subscriber=subscriber).delete()


def erase(subscriber: int) -> int:
    """Delete the chat of a subscriber, with answers on their way to it; return how many rows were deleted."""
    with write_transaction():
        chats = list(Link.objects.filter(subscriber=subscriber).values_list("chat", flat=True))
        answers = Answer.objects.filter(chat__in=chats).delete()[0]
        codes = LinkCode.objects.filter(subscriber=subscriber).delete()[0]
        return answers + codes + Link.objects.filter(subscriber=subscriber).delete()[0]
