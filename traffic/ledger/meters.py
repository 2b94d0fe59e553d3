"""Turns totals into growth: the new total of a meter, less the total before.

This happens in the transaction that records the growth, with the rows of ``Meter`` locked by key. However often a
message is sent, in any order and from any number of processes at once, no byte is counted twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from operations.metering import Meant
from traffic.models import MAX_COUNTER, NOBODY, Reporter, SetAside
from traffic.periods import EPOCH
from traffic.readings import Message, Reading, Source
from traffic.reports import Errors, Report

from . import metered_people, reporters, rollups
from .arbitration import Arbiter, Pair
from .desk import Desk, NewServers
from .metered_people import Named
from .owners import Owners, Row, Sending
from .recording import Outcome, Rules
from .reporters import Sender
from .rollups import EventKey, FoundSubscriber, LastReading, MeterRow, ToldSums

# An unchanged row is written only when its last reading is older than this (seconds), so that a usual minute costs no write.
_REFRESH = 3600

NEW_SERVER: Errors = {"server": ["Too many servers that the panel does not know; try tomorrow."]}
SET_ASIDE: Errors = {"detail": ["Grew by more than is plausible: set aside for the operator."]}
NO_ROOM: Errors = {
    "detail": ["This would carry a counter past 2^60 bytes: set aside for the operator."]
}


class Answer(msgspec.Struct):
    """The outcome of the rows of a message; ``stale`` and ``rejected`` by their place.

    ``is_duplicate``: its event was received before, so none of its rows was read.
    """

    recorded: int = 0
    unchanged: int = 0
    is_duplicate: bool = False
    stale: dict[int, tuple[int, int, int]] = msgspec.field(default_factory=dict)
    rejected: dict[int, Errors] = msgspec.field(default_factory=dict)


class _State(msgspec.Struct, gc=False):
    """The last totals of a key. ``read_at``: None before the first reading. ``kept_*``: not booked, because the person is unknown."""

    run: int = 0
    upload: int = 0
    download: int = 0
    read_at: int | None = None
    server: int | None = None
    kept_upload: int = 0
    kept_download: int = 0
    is_changed: bool = False

    def add(self, reading: Reading) -> Reading:
        """Growth as a total: everything reported so far, including this."""
        return msgspec.structs.replace(
            reading,
            upload=min(self.upload + reading.upload, MAX_COUNTER),
            download=min(self.download + reading.download, MAX_COUNTER),
        )

    def growth(self, run: int, reading: Reading) -> tuple[int, int] | Literal["stale"]:
        if self.read_at is None or run > self.run:
            return reading.upload, reading.download
        if run < self.run or reading.upload < self.upload or reading.download < self.download:
            return "stale"
        return reading.upload - self.upload, reading.download - self.download

    def hours(self, run: int, moment: int) -> float:
        """Since the last reading (of a first one: since the run began), at least one."""
        since = run if self.read_at is None else self.read_at
        return max(1.0, (moment - since) / 3600)

    def go_on(self, run: int, reading: Reading) -> None:
        if self.read_at is None or reading.moment - self.read_at >= _REFRESH:
            self.is_changed = True
        totals = run, reading.upload, reading.download
        if totals != (self.run, self.upload, self.download):
            self.is_changed = True
            self.run, self.upload, self.download = totals
        if self.is_changed:
            self.read_at = max(self.read_at or 0, reading.moment)


class _Growth(msgspec.Struct, frozen=True, gc=False):
    """Growth that is to be booked (or is set aside, and why) of a row."""

    row: Row
    pair: Pair
    report: Report
    refusal: Errors | None = None

    @property
    def bytes(self) -> tuple[int, int]:
        return self.report.upload, self.report.download


class Readings:
    """A message of meter readings: a ``recording.Work``."""

    rules = Rules(metered=True)

    def __init__(self, message: Message, sending: Sending) -> None:
        self.message = message
        self.sending = sending
        self._answer = Answer()
        self._rows: list[Row] = []
        self._growths: list[_Growth] = []
        self._aside: list[_Growth] = []
        self._controls: list[_Growth] = []
        self._states: dict[EventKey, _State] = {}
        self._arbiter = Arbiter((), ())
        self._counted: dict[EventKey, tuple[int, int]] = {}
        self._meant: Mapping[str, Meant] = {}
        # Until ``prepare`` runs, nothing is looked up.
        self._desk = Desk(EPOCH, NewServers(), create=False)

    @property
    def size(self) -> int:
        """An empty message of a key is a sign of life, which is also written."""
        return len(self.message.readings) or int(self.sending.is_trusted)

    @classmethod
    def prepare(cls, works: Sequence["Readings"], desk: Desk) -> None:
        known = desk.people({token for work in works for token in work.find_tokens()})
        senders = {sender: work.sending.terms for work in works for sender in work.senders(known)}
        found = reporters.lock(senders, desk.now)
        new = _claim(works, desk.now)
        for work in works:
            event_id = work.message.event_id
            work.begin(found, desk, is_new=not event_id or event_id in new)
            new.discard(event_id)
        keys = {key for work in works for key in work.wanted()}
        states = _States(rollups.lock_meters(keys))
        grades = {work.sending.terms.grade for work in works}
        arbiter = Arbiter(keys, grades)
        for work in works:
            work.compare(states, arbiter)

    def tokens(self) -> set[str]:
        return {row.user_token for row in self.message.readings.values() if row.user_token}

    def find_tokens(self) -> set[str]:
        """Also of those who are named by this sender's own names."""
        names = self.sending.names
        if names is not None:
            self._meant = names(self._named())
        return self.tokens() | {meant.token for meant in self._meant.values()}

    def _named(self) -> list[str]:
        return list({row.person: None for row in self.message.readings.values() if row.person})

    def wanted(self) -> Iterable[EventKey]:
        return (row.key for row in self._rows)

    def senders(self, known: Mapping[str, FoundSubscriber]) -> set[Sender]:
        sending, meter = self.sending, self.message.meter
        if sending.is_trusted:
            return {sending.sender(None, meter)}
        return {sending.sender(known[token].id, meter) for token in self.tokens() if token in known}

    def begin(self, found: Mapping[Sender, Reporter], desk: Desk, *, is_new: bool = True) -> None:
        """Find the owner of each row. The rows of a repeated message are skipped."""
        self._answer, self._rows = Answer(), []
        self._growths, self._aside, self._controls = [], [], []
        self._states, self._counted, self._desk = {}, {}, desk
        known = desk.people(())
        mine = [found[sender] for sender in self.senders(known) if sender in found]
        self._see(mine, desk.now)
        if not is_new:
            self._answer.is_duplicate = True
            return
        owners = Owners(self.sending, self.message.meter, found, known)
        owners.meant, owners.named = self._meant, self._people(mine, desk)
        for place, reading in self.message.readings.items():
            row = owners.row(place, reading)
            if isinstance(row, Row):
                self._rows.append(row)
            else:
                self._answer.rejected[place] = row

    def _see(self, mine: Sequence[Reporter], now: datetime) -> None:
        """Sources belong to one program, so a message about several people changes nobody's sources."""
        told = self.message.sources if len(mine) == 1 else None
        sources = None if told is None else [_told(source) for source in told]
        for reporter in mine:
            reporters.see(reporter, self.sending.terms, sources, now)

    def _people(self, mine: Sequence[Reporter], desk: Desk) -> dict[str, Named]:
        names = self._named()
        if not names or not self.sending.is_trusted or self.sending.names is not None:
            return {}
        return metered_people.find(mine[0], names, desk)

    def compare(self, stored: "_States", arbiter: Arbiter) -> None:
        """Find the growth, and the part of it that counts.

        ``stored`` and ``arbiter`` are passed from work to work: each continues from the readings of the one before.
        """
        self._arbiter = arbiter
        run = self.message.run
        same = set() if self.message.deltas else stored.unchanged(self._rows, run)
        if len(same) == len(self._rows) and not stored:
            self._answer.unchanged += len(same)
            return
        rows = [row for row in self._rows if row.place not in same]
        refused = self._find_servers(rows, stored)
        for row in self._rows:
            if row.place in same and row.key not in stored:
                self._answer.unchanged += 1
            elif row.place not in refused:
                self._read(row, stored[row.key])

    def _read(self, row: Row, state: _State) -> None:
        self._states[row.key] = state
        if self.message.deltas:
            growth: tuple[int, int] | Literal["stale"] = row.reading.upload, row.reading.download
        else:
            growth = state.growth(self.message.run, row.reading)
        if growth == "stale":
            self._answer.stale[row.place] = state.run, state.upload, state.download
        else:
            self._grow(row, state, growth)
            self._arbiter.note(_pair(row, state), row.reporter.grade, row.reading.moment)

    def _find_servers(self, rows: Sequence[Row], stored: "_States") -> set[int]:
        """Of rows that are read for the first time; the answer is the places of those that name too many new ones."""
        new = [row for row in rows if stored[row.key].server is None]
        if not new:
            return set()
        desk = self._desk
        known = desk.servers({row.endpoint for row in new})
        rate = None if self.sending.is_trusted else self.sending.new_servers
        refused = {
            row.place
            for row in new
            if row.endpoint not in known
            and not desk.new_servers.allows(row.token, row.endpoint, rate)
        }
        self._answer.rejected |= dict.fromkeys(refused, NEW_SERVER)
        good = [row for row in new if row.place not in refused]
        desk.make_servers({row.endpoint for row in good})
        servers = desk.servers(())
        for row in good:
            stored[row.key].server = servers[row.endpoint]
        return refused

    def _grow(self, row: Row, state: _State, growth: tuple[int, int]) -> None:
        run, reading = self.message.run, row.reading
        is_plausible = self._is_plausible(state, reading, growth)
        state.go_on(*((0, state.add(reading)) if self.message.deltas else (run, reading)))
        if self.message.baseline or growth == (0, 0):
            self._answer.unchanged += 1
        elif row.key[0] == NOBODY:
            self._keep(row.key, growth, state)
        elif not is_plausible:
            self._aside.append(_Growth(row, _pair(row, state), _report(row, growth), SET_ASIDE))
        else:
            self._book(row, state, growth)

    def _book(self, row: Row, state: _State, growth: tuple[int, int]) -> None:
        """Unless somebody better tells of the same."""
        pair, grade, moment = _pair(row, state), row.reporter.grade, row.reading.moment
        is_control = self._arbiter.is_control(pair, grade, moment)
        (self._controls if is_control else self._growths).append(
            _Growth(row, pair, _report(row, growth))
        )

    def _is_plausible(self, state: _State, reading: Reading, growth: tuple[int, int]) -> bool:
        most, grown = self.sending.max_per_hour, growth[0] + growth[1]
        if not most or grown <= most:
            return True
        began = reading.moment if self.message.deltas else self.message.run
        return grown <= most * state.hours(began, reading.moment)

    def _keep(self, key: EventKey, growth: tuple[int, int], state: _State) -> None:
        """Nothing is booked for unknown people, but the amount is kept."""
        self._answer.unchanged += 1
        kept = state.kept_upload + growth[0], state.kept_download + growth[1]
        if max(kept) <= MAX_COUNTER:
            state.kept_upload, state.kept_download = kept
            self._count(key, growth)

    def _count(self, key: EventKey, growth: tuple[int, int]) -> None:
        upload, download = self._counted.get(key, (0, 0))
        self._counted[key] = upload + growth[0], download + growth[1]

    def reports(self, now: datetime) -> Sequence[Report]:
        return [growth.report for growth in self._growths]

    def settle(self, outcomes: Sequence[Outcome]) -> Answer:
        for growth, outcome in zip(self._growths, outcomes, strict=True):
            if outcome is Outcome.RECORDED:
                self._answer.recorded += 1
                self._count(growth.row.key, growth.bytes)
                self._told(growth).add(*growth.bytes)
            else:
                self._aside.append(msgspec.structs.replace(growth, refusal=NO_ROOM))
        for growth in self._controls:
            self._answer.recorded += 1
            self._told(growth).add_control(*growth.bytes)
        for growth in self._aside:
            self._answer.rejected[growth.row.place] = growth.refusal or SET_ASIDE
            self._set_aside(growth)
        rollups.write_meters(self._changed())
        return self._answer

    def _told(self, growth: _Growth) -> ToldSums:
        row = growth.row
        return self._desk.told(*growth.pair, row.reporter.id, row.reading.moment)

    def _changed(self) -> Iterable[MeterRow]:
        rows = {row.key: row for row in self._rows}
        for key, state in self._states.items():
            if not state.is_changed:
                continue
            totals = state.run, state.upload, state.download
            counted, row = self._counted.get(key, (0, 0)), rows[key]
            yield MeterRow(
                *key, *counted, *totals, state.read_at, row.reporter.id, row.person, state.server
            )

    def _set_aside(self, growth: _Growth) -> None:
        """One entry for each reporter and server, until the operator has decided on it."""
        report, row = growth.report, growth.row
        moment = EPOCH + timedelta(seconds=report.moment)
        whose = {
            "subscriber_id": row.key[0],
            "server_id": self._states[row.key].server,
            "reporter_id": row.reporter.pk,
            "decision": SetAside.Decision.OPEN,
        }
        entry = SetAside.objects.select_for_update().filter(**whose).first()
        if entry is None:
            entry = SetAside(
                **whose, upload=0, download=0, moment=moment, noticed_at=self._desk.now
            )
        # More than a counter holds can never be counted, so the amount is capped.
        entry.upload = min(entry.upload + report.upload, MAX_COUNTER)
        entry.download = min(entry.download + report.download, MAX_COUNTER)
        entry.moment = max(entry.moment, moment)
        entry.save()


class _States(dict[EventKey, _State]):
    """The last totals by key, as they stand by now; made of what is stored when they are asked for."""

    def __init__(self, stored: Mapping[EventKey, LastReading]) -> None:
        super().__init__()
        self._stored = stored

    def __missing__(self, key: EventKey) -> _State:
        last = self._stored.get(key)
        state = self[key] = _State(*last[2:]) if last else _State()
        return state

    def unchanged(self, rows: Sequence[Row], run: int) -> set[int]:
        """The places of rows that need neither counting nor writing: most rows in most minutes."""
        stored = self._stored
        return {
            row.place
            for row in rows
            if (last := stored.get(row.key)) is not None
            and last.upload == row.reading.upload
            and last.download == row.reading.download
            and last.run == run
            and last.read_at is not None
            and row.reading.moment - last.read_at < _REFRESH
            and row.key not in self
        }


def _claim(works: Sequence[Readings], now: datetime) -> set[str]:
    """The events that come for the first time. They are messages', so they belong to nobody."""
    keys = {(NOBODY, work.message.event_id) for work in works if work.message.event_id}
    claimed = rollups.claim_events(keys, int(now.timestamp()) // 3600) if keys else set()
    return {event_id for _, event_id in claimed}


def _pair(row: Row, state: _State) -> Pair:
    assert state.server is not None  # noqa: S101  found before anything is read
    return row.key[0], state.server


def _report(row: Row, growth: tuple[int, int]) -> Report:
    return Report(row.token, *row.endpoint, *growth, row.reading.moment)


def _told(source: Source) -> dict[str, Any]:
    """Without the moment: it changes with every message, and a message must not cost a write."""
    return {"name": source.name, "kind": source.kind, "ok": source.ok, "error": source.error or ""}
