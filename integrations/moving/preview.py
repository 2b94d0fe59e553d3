"""What would become of each account, in words, for a table that people see before anybody moves in."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from operations.formatting import written_last_day, written_size
from traffic.models import Subscriber
from traffic.people import quotas
from traffic.people.quotas import State

from . import words
from .accounts import People
from .panels import PANELS
from .planning import Fate, Step


class Line(msgspec.Struct, frozen=True):
    """One account that moves in. ``used`` and ``limit``: sizes in words; ``remarks``: what cannot be said here."""

    name: str
    state: State
    used: str
    limit: str
    term: str
    reset: str
    link: str
    remarks: str


class LeftOut(msgspec.Struct, frozen=True):
    """One account that does not move in, and why."""

    name: str
    why: str


def lines(kind: str, people: People, steps: Iterable[Step], now: datetime) -> Iterator[Line]:
    """One line for each new person."""
    for step in steps:
        if step.subscriber is not None:
            yield _line(step, step.subscriber, _link(kind, people, step), now)


def left_out(people: People, steps: Iterable[Step]) -> Iterator[LeftOut]:
    """Everybody else, apart from those who moved in before; unreadable ones last."""
    for step in steps:
        if step.fate not in {Fate.NEW, Fate.MOVED}:
            yield LeftOut(step.account.name, words.fate(step.fate))
    for found in people.unreadable:
        yield LeftOut(found.name or "?", words.unreadable(found))


def _line(step: Step, subscriber: Subscriber, link: str, now: datetime) -> Line:
    account = step.account
    used = account.upload + account.download
    limit = account.limit
    return Line(
        name=account.name,
        state=quotas.state(subscriber, used, now),
        used=written_size(used),
        limit=_("unlimited") if limit is None else written_size(limit),
        term=_term(subscriber),
        reset=subscriber.reset_text(),
        link=link,
        remarks=words.remarks(account),
    )


def _term(subscriber: Subscriber) -> str:
    days = subscriber.hold_days
    if days is not None:
        return ngettext("%d day from first use", "%d days from first use", days) % days
    end = subscriber.expires_at
    return _("never") if end is None else written_last_day(end)


def _link(kind: str, people: People, step: Step) -> str:
    """Whether the person's old link can work here."""
    if step.account.token:
        return _("kept")
    is_signed = PANELS[kind].signs_tokens and people.secret
    return _("old ones work") if is_signed else _("new")
