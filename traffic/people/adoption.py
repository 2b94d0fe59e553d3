"""What operators decide on what meters tell: who a name is, and what becomes of amounts that were set aside."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from django.db import IntegrityError
from django.utils.translation import gettext as _

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from traffic.ledger import metered_people, rollups
from traffic.ledger.arbitration import Arbiter
from traffic.ledger.desk import Desk, NewServers
from traffic.ledger.metered_people import folded
from traffic.ledger.recording import Outcome, Reports, Rules, carefully, note_told, write_inside
from traffic.ledger.rollups import MeterRow, ToldSums
from traffic.models import NOBODY, KnownAs, Meter, MeteredPerson, Reporter, SetAside, Subscriber
from traffic.periods import EPOCH
from traffic.reports import Report


class AdoptionError(ValueError):
    """Why somebody cannot be adopted, or an amount not be counted, as a sentence for the operator."""


def adopt(
    person: MeteredPerson, subscriber: Subscriber | None, by: By, *, from_beginning: bool = False
) -> Subscriber:
    """Let a name of a reporter mean this subscriber, or a new one of that name; return the subscriber.

    What it tells counts from now on; ``from_beginning``: and what has been kept since the reporter named an unknown
    person first is booked now, in the hour of its last reading. Raises AdoptionError.
    """
    try:
        owner: Subscriber = carefully(
            lambda careful: _adopt(
                person.pk, subscriber, by, from_beginning=from_beginning, careful=careful
            )
        )
    except IntegrityError as error:  # two operators at once
        raise AdoptionError(_("This name means another subscriber already.")) from error
    return owner


def know_as(subscriber: Subscriber, name: str, by: By, reporter: Reporter | None = None) -> KnownAs:
    """*Also known as*, for one reporter or for all: readings under this name count from the next one on.

    Raises AdoptionError when the name means somebody else already.
    """
    return _know_as(subscriber.pk, name, by, reporter)


@write_transaction
def forget_name(known: KnownAs, by: By) -> bool:
    """The name means nobody by itself any more; what was counted stays. False when it was forgotten before."""
    if not KnownAs.objects.filter(pk=known.pk).delete()[0]:
        return False
    audit.note(Action.CHANGED, known.subscriber, by, {"also known as": (known.name, None)})
    return True


@write_transaction
def _know_as(subscriber: int, name: str, by: By, reporter: Reporter | None) -> KnownAs:
    known, is_new = KnownAs.objects.get_or_create(
        reporter=reporter,
        folded=folded(name),
        defaults={"name": name, "subscriber_id": subscriber},
    )
    if known.subscriber_id != subscriber:
        raise AdoptionError(_("This name means another subscriber already."))
    if is_new:
        owner = Subscriber.objects.get(pk=subscriber)
        audit.note(Action.CHANGED, owner, by, {"also known as": (None, name)})
    return known


@write_transaction
def _adopt(
    person: int, subscriber: Subscriber | None, by: By, *, from_beginning: bool, careful: bool
) -> Subscriber:
    found = _locked(person)
    if found.subscriber_id is not None:
        raise AdoptionError(_("This name means another subscriber already."))
    owner = _owner(subscriber, found.name, by)
    _know_as(owner.pk, found.name, by, found.reporter)
    rows = Meter.objects.filter(subscriber=NOBODY, person=found)
    kept = list(rows.select_related("server", "reporter"))
    metered_people.move(found, owner.pk)
    if from_beginning:
        desk = Desk(by.now, NewServers(), create=False)
        write_inside([_Kept(kept, owner)], desk, careful=careful)
    return owner


def _owner(subscriber: Subscriber | None, name: str, by: By) -> Subscriber:
    if subscriber is None:
        made = Subscriber.objects.create(name=name[:200])
        audit.note(Action.ADDED, made, by)
        return made
    found = Subscriber.objects.visible().filter(pk=subscriber.pk).first()
    if found is None:
        raise AdoptionError(_("This subscriber was deleted."))
    return found


def _locked(person: int) -> MeteredPerson:
    """With its reporter, which every message of that reporter locks first: none comes in between."""
    found = MeteredPerson.objects.get(pk=person)
    Reporter.objects.select_for_update().get(pk=found.reporter_id)
    return MeteredPerson.objects.select_related("reporter").get(pk=person)


class _Kept:
    """Books the totals that were kept for an unknown person: a ``recording.Work``."""

    rules = Rules(metered=True)

    def __init__(self, rows: Iterable[Meter], owner: Subscriber) -> None:
        self._rows = [row for row in rows if row.counted_upload or row.counted_download]
        self._owner = owner
        self._controls: list[Meter] = []
        self._desk = Desk(EPOCH, NewServers(), create=False)

    @property
    def size(self) -> int:
        return len(self._rows)

    @classmethod
    def prepare(cls, works: Sequence["_Kept"], desk: Desk) -> None:
        for work in works:
            work.begin(desk)

    def begin(self, desk: Desk) -> None:
        """Leave out what a better reporter sees too."""
        self._desk = desk
        arbiter = Arbiter([(self._owner.pk, "")], ())
        controls = [row for row in self._rows if _is_control(row, self._owner, arbiter)]
        self._controls, self._rows = controls, [row for row in self._rows if row not in controls]

    def reports(self, now: datetime) -> Sequence[Report]:
        return [_report(row, self._owner, now) for row in self._rows]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        if any(outcome is not Outcome.RECORDED for outcome in outcomes):
            raise AdoptionError(_("There is no room for it in the counters of this subscriber."))
        for row in self._rows:
            self._told(row).add(row.counted_upload, row.counted_download)
        for row in self._controls:
            self._told(row).add_control(row.counted_upload, row.counted_download)
        rollups.write_meters(_row(row, self._owner) for row in self._rows)

    def _told(self, row: Meter) -> ToldSums:
        moment = _moment(row) or int(self._desk.now.timestamp())
        return self._desk.told(self._owner.pk, row.server_id or 0, row.reporter_id or 0, moment)


def _is_control(row: Meter, owner: Subscriber, arbiter: Arbiter) -> bool:
    reporter = row.reporter
    assert reporter is not None  # noqa: S101  only reporters tell of unknown people
    return arbiter.is_control((owner.pk, row.server_id or 0), reporter.grade, _moment(row) or 0)


def _moment(row: Meter) -> int | None:
    return int(row.read_at.timestamp()) if row.read_at else None


def _report(row: Meter, owner: Subscriber, now: datetime) -> Report:
    server = row.server
    assert server is not None  # noqa: S101  unknown people are rows of readings, which name a server
    moment = _moment(row) or int(now.timestamp())
    return Report(
        owner.token,
        server.host,
        server.port,
        server.protocol,
        row.counted_upload,
        row.counted_download,
        moment,
    )


def _row(row: Meter, owner: Subscriber) -> MeterRow:
    return MeterRow(
        owner.pk,
        row.key,
        row.counted_upload,
        row.counted_download,
        row.run,
        row.upload,
        row.download,
        _moment(row),
        row.reporter_id,
        row.person_id,
        row.server_id,
    )


# --- amounts that were set aside ----------------------------------------------------


def count_set_aside(entry: SetAside, by: By) -> bool:
    """Count it after all, in the hour of its last reading; False when it has been decided on before.

    Raises AdoptionError when there is no room for it, or the subscriber was deleted.
    """

    def attempt(careful: bool) -> bool:
        return _count(entry.pk, by, careful=careful)

    return carefully(attempt)


@write_transaction
def _count(pk: int, by: By, *, careful: bool) -> bool:
    if not _decide(pk, SetAside.Decision.COUNTED, by):
        return False
    entry = SetAside.objects.select_related("subscriber", "server").get(pk=pk)
    desk = Desk(by.now, NewServers(), create=False)
    report = _of(entry)
    written = write_inside([Reports([report])], desk, careful=careful)
    if written.outcomes != [Outcome.RECORDED]:
        raise AdoptionError(_("There is no room for it, or the subscriber was deleted."))
    if entry.reporter_id is not None:
        note_told(report, entry.reporter_id, desk)
        desk.write_told()
    return True


@write_transaction
def drop_set_aside(entry: SetAside, by: By) -> bool:
    """Never count it; False when it has been decided on before."""
    return _decide(entry.pk, SetAside.Decision.DROPPED, by)


def _decide(pk: int, decision: SetAside.Decision, by: By) -> bool:
    waiting = SetAside.objects.filter(pk=pk, decision=SetAside.Decision.OPEN)
    if not waiting.update(decision=decision, decided_at=by.now, decided_by=by.author):
        return False
    entry = SetAside.objects.select_related("subscriber").get(pk=pk)
    changes: audit.Changes = {"set aside": (f"{entry.upload} + {entry.download}", decision.value)}
    audit.note(Action.CHANGED, entry.subscriber, by, changes)
    return True


def _of(entry: SetAside) -> Report:
    server, moment = entry.server, int(entry.moment.timestamp())
    report = Report(entry.subscriber.token, server.host, server.port, server.protocol, 0, 0, moment)
    return msgspec.structs.replace(report, upload=entry.upload, download=entry.download)
