"""Shows the operator what a reading would book, without booking it."""

from collections.abc import Iterator
from typing import NamedTuple

from operations.hosts import join_host_port
from traffic.ledger import metered_people
from traffic.models import Subscriber

from . import journal, pulling
from .growth import Change, What
from .models import Panel

# The most people on the page, those with the most traffic first.
_SHOWN = 200


class Line(NamedTuple):
    """A person of the panel; ``subscriber``: None when nobody is known by that name."""

    name: str
    subscriber: Subscriber | None
    server: str
    what: What
    upload: int
    download: int


class Trial(NamedTuple):
    """``people``, ``grew``, ``unknown``: their numbers; ``lines``: the first of them."""

    people: int
    grew: int
    unknown: int
    unreadable: int
    upload: int
    download: int
    lines: list[Line]


def run(panel: Panel) -> Trial:
    """Read the panel and compare; nothing is written. Raises pulling.ReadingError."""
    changes, found = pulling.preview(panel)
    lines = list(_lines(panel, changes))
    lines.sort(key=lambda line: (-(line.upload + line.download), line.name.casefold()))
    return Trial(
        people=len(lines),
        grew=sum(bool(line.upload or line.download) for line in lines),
        unknown=sum(line.subscriber is None for line in lines),
        unreadable=found.unreadable,
        upload=sum(line.upload for line in lines),
        download=sum(line.download for line in lines),
        lines=lines[:_SHOWN],
    )


def _lines(panel: Panel, changes: list[Change]) -> Iterator[Line]:
    known = _subscribers(panel, [change.account.name for change in changes])
    for change in changes:
        name = change.account.name
        server, port, protocol = journal.endpoint_of(panel, change.account)
        whom = panel.subscriber or known.get(metered_people.folded(name))
        where = f"{join_host_port(server, port)} {protocol}"
        yield Line(name, whom, where, change.what, change.upload, change.download)


def _subscribers(panel: Panel, names: list[str]) -> dict[str, Subscriber]:
    tokens = metered_people.tokens_of(names, origin=panel.origin, meter=panel.meter)
    found = Subscriber.objects.filter(token__in=set(tokens.values())).in_bulk(field_name="token")
    return {name: found[token] for name, token in tokens.items() if token in found}
