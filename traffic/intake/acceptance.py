"""The way in for reports and readings, without HTTP.

A new kind of message (another panel's protocol, for example) becomes a ``recording.Work`` and
comes in through ``take_in``, as reports do.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from operations import rate_limits
from operations.metering import Meter
from traffic import metrics
from traffic.conf import conf
from traffic.ledger import group_commit
from traffic.ledger.meters import Answer, Readings
from traffic.ledger.owners import UNKNOWN_TOKEN, Sending
from traffic.ledger.recording import Outcome, Reports, Rules, Work
from traffic.ledger.reporters import Key
from traffic.models import Reporter
from traffic.readings import Message
from traffic.reports import Decoded, Errors

R = TypeVar("R")


class Caller(msgspec.Struct, frozen=True):
    """The sender of a message.

    ``key``: id of the API key; None for a person who reports for themselves. ``address``: the client to which the limit
    by address applies. ``may_create``: unknown tokens become subscribers (open access). ``grade``: how true what the
    key reports is. ``meter``: the only meter that a bound key may report.
    """

    key: int | None
    address: str
    may_create: bool = False
    grade: str = Reporter.Grade.PROVIDER
    meter: Meter | None = None


class TrackingOffError(Exception):
    """The operator has switched tracking off."""


class LimitExceededError(Exception):
    """Too many messages. ``wait``: seconds until the next one is accepted."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"Too many messages; wait {wait} seconds.")
        self.wait = wait


def accept(decoded: Decoded, caller: Caller, now: datetime) -> dict[int, Outcome]:
    """Count the good reports of a message and return the outcome of each by its place in the message.

    RECORDED reports are on disk. Raises TrackingOffError, LimitExceededError, and OperationalError if the database is
    busy or full; then nothing was counted.
    """
    reports = list(decoded.reports.values())
    tokens = {report.user_token for report in reports}
    rules = Rules(conf.max_bytes_per_hour, None if caller.key is not None else conf.new_servers)
    key = None if caller.key is None else Key(caller.key, caller.grade)
    outcomes = take_in(Reports(reports, rules, key), tokens, caller, now)
    note_rejected(decoded.rejected)
    found = dict(zip(decoded.reports, outcomes, strict=True))
    unknown = [place for place, outcome in found.items() if outcome is Outcome.UNKNOWN_TOKEN]
    penalise_unknown({decoded.reports[place].user_token for place in unknown}, caller)
    return found


def accept_readings(message: Message, caller: Caller, now: datetime) -> Answer:
    """Count the growth of the totals of a message. Raises the errors of ``accept``.

    Rows counted in ``recorded`` are on disk, and so are the totals of all rows that are not in ``rejected``.
    """
    work = Readings(message, _sending(caller))
    answer = take_in(work, work.tokens(), caller, now)
    note_rejected(message.rejected | answer.rejected)
    rows = message.readings
    unknown = {
        rows[place].user_token for place, why in answer.rejected.items() if why is UNKNOWN_TOKEN
    }
    penalise_unknown(unknown, caller)
    return answer


def _sending(caller: Caller) -> Sending:
    rules = Sending(caller.key, conf.max_bytes_per_hour, conf.new_servers)
    if caller.meter is None:
        return rules if caller.key is None else msgspec.structs.replace(rules, grade=caller.grade)
    _name, kind, grade, names = msgspec.structs.astuple(caller.meter)
    return msgspec.structs.replace(rules, kind=kind, grade=grade, names=names)


def book(message: Message, sending: Sending, now: datetime) -> Answer:
    """The same for what a part of this panel has read itself, which no limit of messages concerns.

    ``max_per_hour`` of ``sending`` is set here. Raises TrackingOffError and OperationalError as ``accept`` does.
    """
    require_tracking()
    rules = msgspec.structs.replace(sending, max_per_hour=conf.max_bytes_per_hour)
    answer = group_commit.submit(Readings(message, rules), now)
    note_rejected(message.rejected | answer.rejected)
    return answer


def take_in(work: Work[R], tokens: Collection[str], caller: Caller, now: datetime) -> R:
    """Write the content of a message, unless tracking is off or its sender has sent too many. Raises the errors of ``accept``.

    ``tokens``: the subscribers whom the message is about.
    """
    admit(tokens, caller)
    if not work.size:
        return work.settle([])
    return group_commit.submit(work, now, create_subscribers=caller.may_create)


def admit(tokens: Collection[str], caller: Caller) -> None:
    """Raises TrackingOffError, and LimitExceededError when the sender of a message has sent too many."""
    require_tracking()
    wait = _spend(tokens, caller)
    if wait is not None:
        raise LimitExceededError(wait)


def require_tracking() -> None:
    """Raise TrackingOffError while tracking is off. Callers can refuse a message with it before they read the body."""
    if not conf.tracking_enabled:
        raise TrackingOffError


def note_rejected(rejected: Mapping[int, Errors]) -> None:
    """Count the rejected rows in the metrics. Recorded ones are counted together with their group."""
    for errors in rejected.values():
        metrics.count_refused(next(iter(errors)))


def penalise_unknown(tokens: Collection[str], caller: Caller) -> None:
    """Count each unknown token twice against the limit of the address, to slow down guessing.

    The message itself was already counted once. Callers with a key are trusted not to guess.
    """
    if tokens and caller.key is None:
        rate_limits.penalise("address", caller.address, conf.rate_address, 2 * len(tokens) - 1)


def _spend(tokens: Collection[str], caller: Caller) -> int | None:
    """With a key a message counts as one request; without a key it counts as one per subscriber in it."""
    if caller.key is not None:
        return rate_limits.spend("key", str(caller.key), conf.rate_reports)
    return rate_limits.spend_all("token", dict.fromkeys(sorted(tokens), 1), conf.rate_reports)
