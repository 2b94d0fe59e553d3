"""Reads panels and books what has grown there; called by the command and the admin.

Two readings at once do not collide, because each panel is claimed before it is asked. A failed reading changes nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError
from django.db.models import F, Q
from django.utils import timezone

from operations import polling
from operations.databases.transactions import write_transaction
from operations.metering import Meant
from operations.outbound.dial import Network
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Limits
from operations.outbound.pacing import backoff
from operations.outbound.url_policy import Refused
from operations.polling import Poller
from operations.sealing import CannotOpenError
from traffic.conf import conf
from traffic.intake import acceptance
from traffic.ledger.owners import Sending
from traffic.models import Reporter
from traffic.readings import Message, Reading, Row, Source, checked_rows
from traffic.reports import Errors

from . import client, journal, places
from .adapters import ADAPTERS
from .adapters.asking import Access, BadAnswerError, Found, Way
from .growth import Change
from .models import Panel, Total
from .pull_errors import sentence

logger = logging.getLogger(__name__)

_CLAIM = timedelta(seconds=client.TIME) + timedelta(minutes=5)
_Rows = tuple[dict[int, Reading], dict[int, Errors]]


class State(StrEnum):
    """How a reading of one panel ended."""

    READ = "read"
    FAILED = "failed"
    # Another process is reading it.
    BUSY = "busy"
    # Deleted, or given another address meanwhile.
    GONE = "gone"


class Outcome(msgspec.Struct, frozen=True):
    """``error``: a code if ``state`` is failed. ``grew``: people whose totals did; ``upload``, ``download``: by how much."""

    pk: int
    name: str
    state: State
    error: str = ""
    people: int = 0
    grew: int = 0
    upload: int = 0
    download: int = 0
    milliseconds: int = 0


class ReadingError(Exception):
    """A panel could not be read. ``code`` is for programs; ``retry_after``: seconds that the panel asks to wait."""

    def __init__(self, code: str, retry_after: int | None = None) -> None:
        self.code = code
        self.retry_after = retry_after
        super().__init__(code)


def due(now: datetime) -> list[int]:
    """Panels whose interval or pause is over."""
    waiting = Panel.objects.filter(_is_due(now), enabled=True)
    return list(waiting.values_list("pk", flat=True))


def _is_due(now: datetime) -> Q:
    return Q(next_read=None) | Q(next_read__lte=now)


def enabled() -> list[int]:
    return list(Panel.objects.filter(enabled=True).values_list("pk", flat=True))


def pull(
    pks: Iterable[int],
    progress: Callable[[Outcome], object] = lambda _: None,
    limits: Limits = client.LIMITS,
    network: Network = Network(),  # noqa: B008  frozen
    *,
    only_due: bool = False,
) -> list[Outcome]:
    """Read these panels, a few at a time, and book what has grown; ``progress`` is called after each.

    ``only_due``: not those that another process has read in the meantime.
    """
    is_due = _is_due if only_due else polling.always
    return _poller.run(pks, lambda panel: _pull(panel, limits, network), progress, is_due)


def pull_soon(pks: Iterable[int]) -> threading.Thread:
    """Read them in a separate thread, so that a request does not wait for other servers."""
    asked = list(pks)
    return polling.in_background(
        lambda: pull(asked), "pull-usage", "Other panels could not be read."
    )


def preview(
    panel: Panel,
    limits: Limits = client.LIMITS,
    network: Network = Network(),  # noqa: B008  frozen
) -> tuple[list[Change], Found]:
    """What would be booked, and what the panel told; nothing is written. Raises ReadingError."""
    found = async_to_sync(_read)(panel, limits, network)
    return journal.changes(panel, found.accounts), found


async def _pull(panel: Panel, limits: Limits, network: Network) -> Outcome:
    begun = time.monotonic()
    try:
        found = await _read(panel, limits, network)
        milliseconds = round((time.monotonic() - begun) * 1000)
        return await sync_to_async(_book)(panel, found, milliseconds)
    except ReadingError as failure:
        return await sync_to_async(_fail)(panel, failure)
    except Exception:  # the other panels must still be read
        logger.exception("Panel %d could not be read.", panel.pk)
        return await sync_to_async(_fail)(panel, ReadingError("internal"))


async def _read(panel: Panel, limits: Limits, network: Network) -> Found:
    """Raises ReadingError."""
    try:
        asked = await sync_to_async(_asked)(panel)
        return await client.read(asked, limits, network)
    except OutboundError as failure:
        raise ReadingError(failure.code, failure.retry_after) from None
    except (BadAnswerError, Refused) as failure:
        raise ReadingError(failure.code) from None
    except CannotOpenError:
        raise ReadingError("sealed") from None


def _asked(panel: Panel) -> client.Panel[Found]:
    """Check the place again, because a panel may have been linked since. Raises ReadingError, Refused and CannotOpenError."""
    if not conf.tracking_enabled:
        raise ReadingError("tracking_off")
    if panel.lacks_secret:
        raise ReadingError("no_secret")
    places.check(panel.url, panel.kind, allow_private=panel.allow_private)
    access = Access(Way(panel.access), panel.username, panel.secret)
    policy = places.policy_of(allow_private=panel.allow_private)
    return client.Panel(ADAPTERS[panel.kind], panel.url, access, policy, panel.headers)


def _book(panel: Panel, found: Found, milliseconds: int) -> Outcome:
    """Raises ReadingError."""
    now = timezone.now()
    try:
        taken = journal.take(panel, found.accounts)
        for totals in journal.unbooked(panel):
            _tell(panel, totals, now)
        journal.note_booked(panel, taken.number)
    except journal.PanelGoneError:
        return Outcome(panel.pk, panel.name, State.GONE)
    except acceptance.TrackingOffError:
        raise ReadingError("tracking_off") from None
    except OperationalError:
        logger.warning("Panel %d was read, but the database is busy.", panel.pk, exc_info=True)
        raise ReadingError("busy") from None
    _succeed(panel, found, milliseconds, now)
    return _outcome(panel, taken.changes, milliseconds)


def _tell(panel: Panel, totals: Sequence[Total], now: datetime) -> None:
    rows = [
        Row(
            person=total.name,
            server=total.server,
            port=total.port,
            protocol=total.protocol,
            upload=total.upload,
            download=total.download,
        )
        for total in totals
    ]
    said = Source(panel.name[:64], panel.kind, read_at=now.timestamp())
    _send(panel, checked_rows(rows, now), said, now)


def _tell_failure(panel: Panel, failure: ReadingError, now: datetime) -> None:
    """Show the failure in the list of reporters, where the panel would else seem silent."""
    said = Source(panel.name[:64], panel.kind, ok=False, error=sentence(failure.code))
    with suppress(acceptance.TrackingOffError, OperationalError):
        _send(panel, ({}, {}), said, now)


def _send(panel: Panel, rows: _Rows, said: Source, now: datetime) -> None:
    """Send rows as a meter reading. The run changes only when our totals begin again."""
    run = int(panel.began_at.timestamp())
    message = Message(panel.meter, run, False, *rows, sources=(said,))
    acceptance.book(message, _sending(panel), now)


def _sending(panel: Panel) -> Sending:
    kind, grade = Reporter.Kind.PULL, Reporter.Grade.PROVIDER
    owner = panel.subscriber
    if owner is None:
        return Sending(origin=panel.origin, kind=kind, grade=grade)
    return Sending(
        origin=panel.origin,
        kind=kind,
        grade=grade,
        names=lambda names: {name: Meant(owner.token) for name in names},
    )


def _outcome(panel: Panel, changes: Sequence[Change], milliseconds: int) -> Outcome:
    grew = [change for change in changes if change.upload or change.download]
    return Outcome(
        panel.pk,
        panel.name,
        State.READ,
        people=len(changes),
        grew=len(grew),
        upload=sum(change.upload for change in grew),
        download=sum(change.download for change in grew),
        milliseconds=milliseconds,
    )


def _missed(pk: int) -> Outcome:
    panel = Panel.objects.filter(pk=pk).first()
    return Outcome(pk, panel.name if panel else "", State.BUSY if panel else State.GONE)


@write_transaction
def _succeed(panel: Panel, found: Found, milliseconds: int, now: datetime) -> None:
    _note(
        panel,
        last_read=now,
        last_success=now,
        last_error="",
        failures=0,
        next_read=now + timedelta(minutes=panel.interval),
        milliseconds=milliseconds,
        people=len(found.accounts),
        unreadable=found.unreadable,
    )


def _fail(panel: Panel, failure: ReadingError) -> Outcome:
    now = timezone.now()
    _note_failure(panel, failure, now)
    _tell_failure(panel, failure, now)
    logger.warning("Panel %d (%s) was not read: %s.", panel.pk, panel.name, failure.code)
    return Outcome(panel.pk, panel.name, State.FAILED, failure.code)


@write_transaction
def _note_failure(panel: Panel, failure: ReadingError, now: datetime) -> None:
    _note(
        panel,
        last_read=now,
        last_error=failure.code,
        failures=F("failures") + 1,
        next_read=now + backoff(panel.failures + 1, failure.retry_after),
    )


def _note(panel: Panel, **said: Any) -> None:
    """Store the state, unless the panel got another address meanwhile."""
    Panel.objects.filter(pk=panel.pk, url=panel.url).update(**said)


_poller = Poller(Panel.objects.select_related("subscriber"), _CLAIM, _missed)
