"""What subscribers may ask the bot: usage, days left, their link. Each answer is about all subscriptions of the chat."""

from collections.abc import Iterator
from datetime import datetime

from django.utils.translation import npgettext, pgettext

from operations import quota_levels
from subscriptions import telling
from subscriptions.serving import dates, notices, public_urls
from subscriptions.serving.usage_chart import shown_size
from traffic.figures import statistics
from traffic.ledger import lookup
from traffic.models import Subscriber
from traffic.people import quotas
from traffic.periods import DAY

from . import answers, links
from .answers import Said
from .conf import conf
from .models import Link

COMMANDS = ("usage", "link", "messages", "unlink", "help")


def descriptions() -> dict[str, str]:
    """What each command does, in the current language."""
    return {
        "usage": pgettext("page", "Usage and days left"),
        "link": pgettext("page", "My link and its QR code"),
        "messages": pgettext("page", "Messages on and off"),
        "unlink": pgettext("page", "Forget this chat"),
        "help": pgettext("page", "What the bot can do"),
    }


def greeting(link: Link) -> Said:
    words = pgettext("page", "Linked: %(name)s.") % {"name": _name(link)}
    return answers.text(link.chat, f"{words}\n\n{_help()}")


def not_linked(chat: int) -> Said:
    return answers.text(
        chat,
        pgettext(
            "page",
            "Open your subscription's page in a browser and press “Link my chat”. It shows a code for this chat.",
        ),
    )


def bad_code(chat: int) -> Said:
    words = pgettext("page", "This code is not valid any more. Your page makes a new one.")
    return answers.text(chat, words)


def answer(command: str, found: list[Link], now: datetime) -> Iterator[Said]:
    """The answers to a command of a chat with these links; an unknown one gets the list of commands."""
    chat = found[0].chat
    match command:
        case "usage":
            for link in found:
                yield answers.text(chat, _usage(link, now))
        case "link":
            for link in found:
                yield from _link(link)
        case "messages":
            yield answers.text(chat, _messages(found))
        case "unlink":
            for link in found:
                link.delete()
            yield answers.text(chat, pgettext("page", "This chat is forgotten."))
        case _:
            yield answers.text(chat, _help())


def _help() -> str:
    return "\n".join(f"/{name} – {text}" for name, text in descriptions().items())


def _name(link: Link) -> str:
    subscriber = link.subscriber
    assert subscriber is not None  # noqa: S101  a link of a chat to a subscriber
    return subscriber.name or str(subscriber)


def _usage(link: Link, now: datetime) -> str:
    subscriber = link.subscriber
    assert subscriber is not None  # noqa: S101
    used = statistics.usage_of(subscriber, now).period_total
    state = quotas.state(subscriber, used, now)
    lines = [_name(link), notices.text(state, link.language), _used(subscriber, used)]
    return "\n".join([*lines, *_end(subscriber, now), *_reset(subscriber, now)])


def _used(subscriber: Subscriber, used: int) -> str:
    limit = subscriber.data_limit
    if limit is None:
        return pgettext("page", "Used: %(used)s") % {"used": shown_size(used)}
    return pgettext("page", "Used: %(used)s of %(limit)s (%(percent)s %%), left: %(left)s") % {
        "used": shown_size(used),
        "limit": shown_size(limit),
        "percent": dates.digits(str(quota_levels.percent(used, limit))),
        "left": shown_size(quota_levels.left(used, limit)),
    }


def _end(subscriber: Subscriber, now: datetime) -> Iterator[str]:
    if subscriber.expires_at is None:
        return
    last = dates.in_words(dates.last_day(subscriber.expires_at, conf.time_zone))
    yield pgettext("page", "Works until the end of %(day)s") % {"day": last}
    days = max((subscriber.expires_at - now) // DAY, 0)
    text = npgettext("page", "%(days)s day left", "%(days)s days left", days)
    yield text % {"days": dates.digits(str(days))}


def _reset(subscriber: Subscriber, now: datetime) -> Iterator[str]:
    moment = lookup.next_period(subscriber, now)
    if moment is not None:
        day = dates.in_words(moment.astimezone(conf.time_zone).date())
        yield pgettext("page", "Usage resets on %(day)s") % {"day": day}


def _link(link: Link) -> Iterator[Said]:
    subscriber = link.subscriber
    assert subscriber is not None  # noqa: S101
    origin = public_urls.public_url(public_urls.local_origin())
    url = public_urls.subscription_url(subscriber.token, origin)
    yield answers.picture(link.chat, url, _name(link))
    keep = pgettext("page", "Keep it secret: anyone who has it can use your subscription.")
    yield answers.text(link.chat, f"{url}\n\n{keep}")


def _messages(found: list[Link]) -> str:
    """Switch messages on if they are off for any, else off."""
    if not conf.tell_people:
        return pgettext("page", "This panel sends no messages.")
    owners = [link.subscriber for link in found if link.subscriber is not None]
    if all(telling.language_of(owner) is not None for owner in owners):
        for owner in owners:
            telling.tell_no_more(owner.pk)
        return pgettext("page", "You are not notified any more.")
    for owner in owners:
        telling.tell(owner.pk, found[0].language)
    return pgettext(
        "page", "You are notified of 80 percent and the end of your data, and of the last days."
    )


def is_linked(chat: int) -> list[Link]:
    return links.of_chat(chat)
