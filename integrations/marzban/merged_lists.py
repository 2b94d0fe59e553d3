"""A person's list at a linked panel, with their external servers in it."""

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from subscriptions import devices, formats, links
from subscriptions.devices import Identity
from subscriptions.serving import catalogue, device_headers, notices
from subscriptions.serving.shelf import Shelf
from traffic.figures import statistics
from traffic.models import Subscriber
from traffic.people import next_plans, quotas, subscribers

from . import merging, subscription_tokens
from .conf import conf
from .merging import NotUnderstood
from .models import PanelLink
from .subscription_tokens import Person

# Bytes of merged lists that one process keeps: reading an operator's YAML takes longer than asking the panel.
_MOST = 32 * 2**20


class PanelList(NamedTuple):
    """What the panel answered. ``is_old_clash``: the panel took the app for one of the last release of Clash."""

    content_type: str
    body: bytes
    is_old_clash: bool

    @property
    def format(self) -> str:
        """Our name of the format. Raises NotUnderstood for one that has no place for servers."""
        return merging.format_of(self.content_type, self.body)


def link_at(path: str) -> PanelLink | None:
    """The linked panel with this subscription path; of several the one whose admins sign in here."""
    chosen, unlinked = conf.marzban_url, subscription_tokens.of_setting()
    links = list(PanelLink.objects.filter(subscription_path=path).order_by("number"))
    if unlinked and unlinked.subscription_path == path:
        links.append(unlinked)
    return max(
        links,
        key=lambda link: (
            link.url == chosen if chosen else link.signs_in,
            link.verifies_tokens,
        ),
        default=None,
    )


class Prepared(NamedTuple):
    """``name``: as the panel writes it or not. ``selection``: the servers that they may use; None: none at all."""

    name: str
    subscriber: Subscriber
    selection: catalogue.Selection | None


def prepared(link: PanelLink, name: str, now: datetime) -> Prepared | None:
    """A user of the panel, looked up while the panel is asked; None if they are unknown or deleted."""
    return _prepared(subscription_tokens.known(link, name), name, now)


def _prepared(subscriber: Subscriber | None, name: str, now: datetime) -> Prepared | None:
    if subscriber is None or subscriber.hidden_at:
        return None
    next_plans.begin_of(subscriber, now)
    used = statistics.usage_of_loaded(subscriber, now).period_total
    may_use = quotas.state(subscriber, used, now).may_use
    selection = catalogue.selection_of(subscriber, now) if may_use else None
    return Prepared(name, subscriber, selection)


def confirmed(
    link: PanelLink, person: Person, before: Prepared | None, now: datetime
) -> Prepared | None:
    """The same of a person whom the panel has named. Whoever is new becomes a subscriber."""
    if before is not None and before.name.lower() == person.username.lower():
        return before
    link = subscription_tokens.saved(link)
    token = subscription_tokens.token_of(link, person)
    subscriber = Subscriber.objects.select_related("balance").filter(token=token).first()
    return _prepared(subscriber, person.username, now)


class Reader(NamedTuple):
    """The device that asks for the list, and the language of the person."""

    device: Identity
    language: str


def merge(given: PanelList, person: Prepared, reader: Reader, now: datetime) -> bytes:
    """The list with the subscriber's external servers. It begins a term that is on hold.

    A device beyond the limit gets a line that says so instead of them. Raises NotUnderstood if the list must stay as it
    is, also because they may not use any, or there are none.
    """
    if person.selection is None:
        raise NotUnderstood
    servers = catalogue.entries_of(person.subscriber, given.format, person.selection)
    if not servers:
        raise NotUnderstood
    admission = devices.admit(person.subscriber, reader.device, now)
    if admission.gets_list:
        subscribers.begin_term(person.subscriber, now)
    else:
        servers = _refusal(given.format, person.subscriber, admission, reader.language)
    digest = hashlib.sha256(given.body)
    for server in servers:
        digest.update(f"{server.name}\0{server.text}\0".encode())
    return _shelf.get(
        (given.format, given.is_old_clash, digest.digest()),
        lambda: merging.merged(given.format, given.body, servers, is_old_clash=given.is_old_clash),
    )


def _refusal(
    format_name: str, subscriber: Subscriber, admission: devices.Admission, language: str
) -> Sequence[formats.Written]:
    told = device_headers.notice(admission, subscriber.device_limit, language)
    return formats.entries(format_name, [links.parse(notices.link(told))])


_shelf = Shelf(_MOST)


def forget_all() -> None:
    global _shelf
    _shelf = Shelf(_MOST)


os.register_at_fork(after_in_child=forget_all)
