"""The senders of totals, and when each was last heard from. Written rarely, because a message must not cost a write."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import OperationalError
from django.db.models import QuerySet

from operations.databases import engine
from operations.databases.transactions import write_transaction
from traffic.models import Reporter

from . import rollups

# Precision of ``last_seen_at``.
SIGHTING = timedelta(minutes=5)
# The maximum number of meters of a person who reports without a key.
MAX_METERS_OF_A_PERSON = 50
# Weight of a new interval in the average: one late message does not change the expected interval.
_SMOOTHING = 4


class Sender(NamedTuple):
    """Whose meter it is: an API key (id), a person who reports without one (id), or a part of this panel (``origin``)."""

    key: int | None
    person: int | None
    origin: str
    meter: str


class Key(NamedTuple):
    """An API key, by its id, and how true what it reports is."""

    pk: int
    grade: str


class Terms(NamedTuple):
    """What the panel makes of a reporter; see ``Reporter``."""

    kind: str
    grade: str


def lock(senders: Mapping[Sender, Terms], now: datetime) -> dict[Sender, Reporter]:
    """Their rows, made when they are new; until the end of this transaction nobody else has them.

    Without the new meters of a person who has too many.
    """
    found = _find(senders)
    new = [sender for sender in sorted(senders, key=_order) if sender not in found]
    if not new:
        return found
    room = _room_of_people({sender.person for sender in new if sender.person is not None})
    made = []
    for sender in new:
        if sender.person is not None:
            room[sender.person] -= 1
            if room[sender.person] < 0:
                continue
        made.append(_new(sender, senders[sender], now))
    if made:
        Reporter.objects.bulk_create(made, ignore_conflicts=True)
        found |= _find(new)
    return found


def see(
    reporter: Reporter, terms: Terms, sources: list[dict[str, Any]] | None, now: datetime
) -> None:
    """Note that it was heard of, when that is due or something about it has changed."""
    is_due = now - reporter.last_seen_at >= SIGHTING
    news: dict[str, Any] = {"kind": terms.kind, "grade": terms.grade, "ended_at": None}
    if sources is not None:
        news["sources"] = sources
    changed = {name for name, value in news.items() if getattr(reporter, name) != value}
    if not is_due and not changed:
        return
    if is_due:
        news |= {"interval": _interval(reporter, now), "last_seen_at": now}
    for name, value in news.items():
        setattr(reporter, name, value)
    with nullcontext() if changed else _worth_no_report():
        reporter.save(update_fields=list(news))


@contextmanager
def _worth_no_report() -> Iterator[None]:
    """The time of a sighting is written to every node of a cluster. One that is away must not stop reports that others hold."""
    try:
        with write_transaction():
            yield
    except OperationalError as error:
        if not engine.current().is_about_a_part(error):
            raise


def of_webhook(keys: Collection[Key], now: datetime) -> dict[Key | None, int]:
    """Ids of the reporters that keys are when they send single reports. Not locked: nothing is computed from them."""
    rows = rollups.find_single_reporters({key.pk for key in keys}, now - SIGHTING)
    found: dict[Key | None, int] = {Key(key, grade): pk for key, grade, pk in rows}
    if unseen := [key for key in sorted(keys) if key not in found]:
        found |= _seen_now(unseen, now)
    return found


def _seen_now(keys: Sequence[Key], now: datetime) -> dict[Key | None, int]:
    """The same for keys that were not seen lately, or whose grade has changed."""
    pks = [key.pk for key in keys]
    found = {row.api_key_id: row for row in _of_webhook(pks)}
    new = [_new(_single(key), _webhook(key), now) for key in keys if key.pk not in found]
    if new:
        Reporter.objects.bulk_create(new, ignore_conflicts=True)
        found = {row.api_key_id: row for row in _of_webhook(pks)}
    for key in keys:
        see(found[key.pk], _webhook(key), None, now)
    return {key: found[key.pk].pk for key in keys}


def _of_webhook(keys: Collection[int]) -> QuerySet[Reporter]:
    """Their meter has no name, which no program's has."""
    return Reporter.objects.filter(api_key__in=keys, subscriber=None, meter="")


def _single(key: Key) -> Sender:
    return Sender(key.pk, None, "", "")


def _webhook(key: Key) -> Terms:
    return Terms(Reporter.Kind.WEBHOOK, key.grade)


@write_transaction
def end(origin: str, now: datetime) -> None:
    """Expect no more messages of this part of the panel: its silence is not a fault until its next message."""
    Reporter.objects.filter(origin=origin, ended_at=None).exclude(origin="").update(ended_at=now)


def _interval(reporter: Reporter, now: datetime) -> int:
    gap = int((now - reporter.last_seen_at).total_seconds())
    if reporter.interval is None:
        return gap
    return reporter.interval + (gap - reporter.interval) // _SMOOTHING


def _find(senders: Iterable[Sender]) -> dict[Sender, Reporter]:
    wanted = set(senders)
    meters = {sender.meter for sender in wanted}
    whose: Mapping[str, set[Any]] = {
        "api_key_id": {sender.key for sender in wanted if sender.key is not None},
        "subscriber_id": {sender.person for sender in wanted if sender.person is not None},
        "origin": {sender.origin for sender in wanted if sender.origin},
    }
    rows = [
        row
        for column, values in whose.items()
        if values
        for row in rollups.lock_reporters(column, values, meters)
    ]
    return {sender: row for row in rows if (sender := _sender(row)) in wanted}


def _sender(row: Reporter) -> Sender:
    return Sender(row.api_key_id, row.subscriber_id, row.origin, row.meter)


def _room_of_people(people: set[int]) -> dict[int, int]:
    room = dict.fromkeys(people, MAX_METERS_OF_A_PERSON)
    for person in Reporter.objects.filter(subscriber__in=people).values_list(
        "subscriber", flat=True
    ):
        if person is not None:
            room[person] -= 1
    return room


def _new(sender: Sender, terms: Terms, now: datetime) -> Reporter:
    return Reporter(
        api_key_id=sender.key,
        subscriber_id=sender.person,
        origin=sender.origin,
        meter=sender.meter,
        kind=terms.kind,
        grade=terms.grade,
        first_seen_at=now,
        last_seen_at=now,
    )


def _order(sender: Sender) -> tuple[int, int, str, str]:
    return sender.key or 0, sender.person or 0, sender.origin, sender.meter
