"""Turns a panel's counters into totals of our own, in one transaction.

The panel's counters restart, and people are renamed, removed and recreated there. Our totals only grow, so the ledger
takes them as meter readings, and a reading that was interrupted is sent again without counting anything twice.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from operations.databases.transactions import write_transaction
from traffic.ledger.metered_people import folded
from traffic.readings import MAX_TOTAL
from traffic.reports import InvalidReport, normalised_port, normalised_protocol

from . import places
from .adapters.asking import Account
from .growth import Change, Last, compare
from .models import Panel, Reading, Total

_STEP = 500

Endpoint = tuple[str, int, str]
_Key = tuple[str, str, int, str]


class Taken(NamedTuple):
    """A reading that was stored: its number, and its changes."""

    number: int
    changes: list[Change]


class PanelGoneError(Exception):
    """The panel was deleted, or its address was changed, while it was read."""


def changes(panel: Panel, accounts: Collection[Account]) -> list[Change]:
    """Compare accounts with their last readings, without writing anything."""
    read_at = panel.last_success.timestamp() if panel.last_success else 0
    return list(compare(accounts, _last(panel, [account.key for account in accounts]), read_at))


@write_transaction
def take(asked: Panel, accounts: Collection[Account]) -> Taken:
    """Store the panel's counters and add their growth to our totals; raises PanelGoneError."""
    panel = Panel.objects.select_for_update().filter(pk=asked.pk, url=asked.url).first()
    if panel is None:
        raise PanelGoneError
    found = changes(panel, accounts)
    number = panel.readings + 1
    _remember(panel, [change.account for change in found if change.is_to_be_kept])
    _add(panel, [change for change in found if change.is_to_be_kept], number)
    Panel.objects.filter(pk=panel.pk).update(readings=number)
    return Taken(number, found)


def unbooked(panel: Panel) -> Iterator[Sequence[Total]]:
    """The totals that the ledger does not have yet, including those of an interrupted reading, in steps.

    The last step may be empty, so that there is always a message: it shows that the panel was read.
    """
    rows = Total.objects.filter(panel=panel, reading__gt=panel.booked).order_by("pk")
    while len(step := list(rows[:_STEP])) == _STEP:
        yield step
        rows = rows.filter(pk__gt=step[-1].pk)
    yield step


@write_transaction
def note_booked(panel: Panel, number: int) -> None:
    Panel.objects.filter(pk=panel.pk, booked__lt=number).update(booked=number)


@write_transaction
def begin_again(panel: Panel, now: datetime) -> None:
    """Make the next reading the first one for every account, because it is of another panel or for another person."""
    Reading.objects.filter(panel=panel).delete()
    Total.objects.filter(panel=panel).delete()
    Panel.objects.filter(pk=panel.pk).update(began_at=now)


def endpoint_of(panel: Panel, account: Account) -> Endpoint:
    """The server under which the account's traffic is booked."""
    own = panel.server or places.host_of(panel.url)
    if account.inbound is not None:
        port, protocol = account.inbound
        with suppress(InvalidReport):
            return own, normalised_port(port), normalised_protocol(protocol)
    return own, panel.port, panel.kind


def _last(panel: Panel, keys: Sequence[str]) -> dict[str, Last]:
    found: dict[str, Last] = {}
    for step in _steps(keys):
        rows = Reading.objects.filter(panel=panel, key__in=step)
        for key, *last in rows.values_list("key", "upload", "download", "born"):
            found[key] = Last(*last)
    return found


def _remember(panel: Panel, accounts: Iterable[Account]) -> None:
    rows = [
        Reading(
            panel=panel,
            key=account.key,
            folded=folded(account.name),
            upload=account.upload,
            download=account.download,
            born=account.born,
        )
        for account in accounts
    ]
    Reading.objects.bulk_create(
        rows,
        batch_size=_STEP,
        update_conflicts=True,
        unique_fields=["panel", "key"],
        update_fields=["folded", "upload", "download", "born"],
    )


def _add(panel: Panel, found: Collection[Change], number: int) -> None:
    """Add growth to the totals; a new person begins at 0. The panel's row is locked, so no other process adds to them."""
    before = _totals(panel, {folded(change.account.name) for change in found})
    raised: dict[_Key, Total] = {}
    for change in found:
        key = folded(change.account.name), *endpoint_of(panel, change.account)
        total = raised.setdefault(key, _total(panel, key, before.get(key, (0, 0)), number))
        total.name = change.account.name
        total.upload = min(total.upload + change.upload, MAX_TOTAL)
        total.download = min(total.download + change.download, MAX_TOTAL)
    Total.objects.bulk_create(
        raised.values(),
        batch_size=_STEP,
        update_conflicts=True,
        unique_fields=["panel", "folded", "server", "port", "protocol"],
        update_fields=["name", "upload", "download", "reading"],
    )


def _total(panel: Panel, key: _Key, before: tuple[int, int], number: int) -> Total:
    name, server, port, protocol = key
    total = Total(panel=panel, folded=name, server=server, port=port, protocol=protocol)
    total.upload, total.download = before
    total.reading = number
    return total


def _totals(panel: Panel, names: Collection[str]) -> dict[_Key, tuple[int, int]]:
    found: dict[_Key, tuple[int, int]] = {}
    for step in _steps(sorted(names)):
        for total in Total.objects.filter(panel=panel, folded__in=step):
            key = total.folded, total.server, total.port, total.protocol
            found[key] = total.upload, total.download
    return found


def _steps(rows: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(rows), _STEP):
        yield rows[start : start + _STEP]
