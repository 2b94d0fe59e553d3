"""The only write path: reports in, sums out, in one transaction.

Whoever gets an answer from ``record`` may rely on it: the transaction is committed,
and on SQLite and PostgreSQL as configured that means on disk.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple, ParamSpec, TypeVar

import msgspec
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import F, Q

from . import rollups, subscribers
from .models import (
    MAX_COUNTER,
    Balance,
    Correction,
    ImportedUsage,
    ReceivedEvent,
    Server,
    ServerUsage,
    Subscriber,
    Usage,
)
from .periods import EPOCH, HOUR, floor_hour
from .reports import Report
from .rollups import BalanceSums, EventKey, ServerKey, Sums, UsageKey
from .subscribers import Known, current_period, resolve
from .turns import writers_turn

P = ParamSpec("P")
R = TypeVar("R")
Endpoint = tuple[str, int, str]  # host, port, protocol

# Deadlock and serialisation failure of PostgreSQL: the transaction is gone, and may simply be run again.
_TRY_AGAIN = {"40P01", "40001"}
_TRIES = 5


_NOTHING = Sums()


class Outcome(Enum):
    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    UNKNOWN_TOKEN = "unknown token"  # noqa: S105
    COUNTER_FULL = "counter full"


def retried(work: Callable[P, R]) -> Callable[P, R]:
    """Run a transaction again when PostgreSQL gave it up in favour of another."""

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(1, _TRIES):
            try:
                return work(*args, **kwargs)
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", "") not in _TRY_AGAIN:
                    raise
                time.sleep(0.01 * attempt)
        return work(*args, **kwargs)

    return run


def record(reports: Sequence[Report], now: datetime, *, create_subscribers: bool = False) -> list[Outcome]:
    """Count reports; one outcome each, in their order. All of it is committed, or none.

    ``create_subscribers``: an unknown token becomes a subscriber (open access) instead of UNKNOWN_TOKEN.
    """
    for careful in (False, True, True):
        try:
            return _record(reports, now, create_subscribers, careful=careful)
        except (IntegrityError, _CounterFullError):
            # A counter would pass its bound. That is rare, so only now is it looked up which report does it;
            # and once more if another writer has filled the counter meanwhile.
            continue
    raise OperationalError("The counters are contended.")


class _CounterFullError(Exception):
    """A sum that does not even fit the counter by itself."""


@retried
def _record(reports: Sequence[Report], now: datetime, create: bool, *, careful: bool) -> list[Outcome]:
    with writers_turn(), transaction.atomic(durable=True):
        return _Group(reports, now).record(create=create, careful=careful)


class _Group:
    """The reports of one transaction, and the sums they make."""

    def __init__(self, reports: Sequence[Report], now: datetime) -> None:
        """Looks up what is known."""
        self.reports = reports
        self.now = now
        self.endpoints = [(report.server, report.port, report.protocol) for report in reports]
        self.tokens = {report.user_token for report in reports}
        self.subscribers = resolve(self.tokens, now)
        self.server_ids = _known_servers(set(self.endpoints))
        self.outcomes: list[Outcome] = []
        self.usage: dict[UsageKey, Sums] = {}
        self.servers: dict[ServerKey, Sums] = {}
        self.balances: dict[int, BalanceSums] = {}

    def record(self, *, create: bool, careful: bool) -> list[Outcome]:
        if create and (missing := self.tokens - self.subscribers.keys()):
            self.subscribers |= subscribers.create(missing, self.now)
        known = self.subscribers
        self.outcomes = [
            Outcome.RECORDED if report.user_token in known else Outcome.UNKNOWN_TOKEN for report in self.reports
        ]
        first = self._claim_events()
        if missing_servers := {self.endpoints[index] for index, _ in self._counted()} - self.server_ids.keys():
            self.server_ids |= _create_servers(missing_servers)
        if careful:
            self._refuse_overflow()
            self._return_claims(first)
        self._sum_up()
        self._refuse_impossible_sums()
        new_records = rollups.add_usage(self.usage)
        rollups.add_server_usage(self.servers, new_records)
        rollups.add_balances(self.balances)
        return self.outcomes

    def _counted(self) -> list[tuple[int, Report]]:
        return [(i, r) for i, r in enumerate(self.reports) if self.outcomes[i] is Outcome.RECORDED]

    def _event(self, report: Report) -> EventKey:
        return self.subscribers[report.user_token].id, report.event_id

    def _claim_events(self) -> dict[EventKey, int]:
        """Mark as duplicates what was counted before; the answer says which report is the first of each event."""
        first: dict[EventKey, int] = {}
        for index, report in enumerate(self.reports):
            if not report.event_id or self.outcomes[index] is not Outcome.RECORDED:
                continue
            if first.setdefault(self._event(report), index) != index:
                self.outcomes[index] = Outcome.DUPLICATE
        claimed = rollups.claim_events(first, _hour(int(self.now.timestamp()))) if first else set()
        for key in first.keys() - claimed:
            self.outcomes[first[key]] = Outcome.DUPLICATE
        return first

    def _return_claims(self, first: dict[EventKey, int]) -> None:
        """What was refused must not be a duplicate when it is sent again, nor make one of its twin in this batch."""
        for index, report in enumerate(self.reports):
            origin = first.get(self._event(report)) if report.user_token in self.subscribers else None
            if origin is None or self.outcomes[origin] is not Outcome.COUNTER_FULL:
                continue
            self.outcomes[index] = Outcome.COUNTER_FULL
            ReceivedEvent.objects.filter(pk=self._event(report)).delete()

    def _sum_up(self) -> None:
        """By subscriber, hour and server; the other sums are sums of these, of which there are fewer than reports."""
        late: dict[int, Sums] = defaultdict(Sums)
        self.usage, self.servers, self.balances = {}, defaultdict(Sums), {}
        for index, report in self._counted():
            subscriber, moment = self.subscribers[report.user_token], report.moment
            key = (subscriber.id, moment // 3600, self.server_ids[self.endpoints[index]])
            own = Sums(report.upload, report.download, 1, moment)
            row = self.usage.setdefault(key, own)
            if row is not own:
                row.add(report.upload, report.download, 1, moment)
            if moment < subscriber.period_start:
                late[subscriber.id].add(report.upload, report.download, 1, moment)
            if subscriber.id not in self.balances:
                self.balances[subscriber.id] = BalanceSums(period_start=subscriber.period_start)
        for (pk, hour, server), row in self.usage.items():
            self.servers[server, hour].add(row.upload, row.download, row.connections, row.last)
            self.balances[pk].add(row.upload, row.download, row.connections, row.last)
        for pk, balance in self.balances.items():
            before = late.get(pk, _NOTHING)
            balance.period_upload = balance.upload - before.upload
            balance.period_download = balance.download - before.download

    def _rows(self, report: Report, subscriber: Known, server: int) -> tuple[Sums, Sums, Sums]:
        hour = _hour(report.moment)
        return (
            self.usage.setdefault((subscriber.id, hour, server), Sums()),
            self.servers.setdefault((server, hour), Sums()),
            self.balances.setdefault(subscriber.id, BalanceSums(period_start=subscriber.period_start)),
        )

    def _refuse_impossible_sums(self) -> None:
        groups = (self.usage, self.servers, self.balances)
        if any(max(row.upload, row.download) > MAX_COUNTER for group in groups for row in group.values()):
            raise _CounterFullError

    def _refuse_overflow(self) -> None:
        """Add one report after the other to what is stored, and refuse those that would pass a bound."""
        self._load_stored()
        for index, report in self._counted():
            subscriber = self.subscribers[report.user_token]
            rows = self._rows(report, subscriber, self.server_ids[self.endpoints[index]])
            if any(_overflows(sums, report) for sums in rows):
                self.outcomes[index] = Outcome.COUNTER_FULL
                continue
            for sums in rows:
                sums.add(report.upload, report.download, 1, report.moment)

    def _load_stored(self) -> None:
        subscribers = {subscriber.id for subscriber in self.subscribers.values()}
        hours = {EPOCH + _hour(report.moment) * HOUR for report in self.reports}
        inside = Q(hour__in=hours, server__in=set(self.server_ids.values()))
        for row in Usage.objects.filter(inside, subscriber__in=subscribers):
            key = (row.subscriber_id, int(row.hour.timestamp()) // 3600, row.server_id)
            self.usage[key] = Sums(row.upload, row.download)
        for total in ServerUsage.objects.filter(inside):
            self.servers[total.server_id, int(total.hour.timestamp()) // 3600] = Sums(total.upload, total.download)
        for balance in Balance.objects.filter(subscriber__in=subscribers):
            self.balances[balance.subscriber_id] = BalanceSums(balance.life_upload, balance.life_download)


def _overflows(sums: Sums, report: Report) -> bool:
    return max(sums.upload + report.upload, sums.download + report.download) > MAX_COUNTER


def _hour(moment: int) -> int:
    return moment // 3600


def _create_servers(endpoints: set[Endpoint]) -> dict[Endpoint, int]:
    servers = [Server(host=host, port=port, protocol=protocol) for host, port, protocol in sorted(endpoints)]
    Server.objects.bulk_create(servers, ignore_conflicts=True)
    return _known_servers(endpoints)


def _known_servers(endpoints: set[Endpoint]) -> dict[Endpoint, int]:
    rows = rollups.find_servers({host for host, _, _ in endpoints})
    return {(host, port, protocol): pk for host, port, protocol, pk in rows if (host, port, protocol) in endpoints}


class Imported(NamedTuple):
    """A row of another panel: by what it knew it, and what it says today. Its event id is not looked at."""

    key: str
    report: Report


def record_imported(batches: Callable[[], Iterable[Sequence[Imported]]], now: datetime) -> Counter[Outcome]:
    """Count another panel's rows, all in one transaction; the answer is how many came to which end.

    What was counted of a row is remembered: when it comes again only what it has grown by is added, and one that
    has not grown is a DUPLICATE. Unknown tokens become subscribers. ``batches`` is called anew for every attempt;
    no key may come twice in what it gives.
    """
    for careful in (False, True, True):
        try:
            return _record_imported(batches, now, careful=careful)
        except (IntegrityError, _CounterFullError):
            continue
    raise OperationalError("The counters are contended.")


@retried
def _record_imported(
    batches: Callable[[], Iterable[Sequence[Imported]]], now: datetime, *, careful: bool
) -> Counter[Outcome]:
    outcomes: Counter[Outcome] = Counter()
    with writers_turn(), transaction.atomic(durable=True):
        for batch in batches():
            outcomes.update(_import_batch(batch, now, careful=careful))
    return outcomes


def _import_batch(batch: Sequence[Imported], now: datetime, *, careful: bool) -> list[Outcome]:
    tokens = {row.report.user_token for row in batch}
    known = resolve(tokens, now)
    known |= subscribers.create(tokens - known.keys(), now) if tokens - known.keys() else {}
    ids = {subscriber.id for subscriber in known.values()}
    counted = {
        (row.subscriber_id, row.key): (row.upload, row.download)
        for row in ImportedUsage.objects.filter(subscriber__in=ids, key__in=[row.key for row in batch])
    }
    outcomes = [Outcome.DUPLICATE] * len(batch)
    grown: dict[int, Report] = {}
    totals: dict[EventKey, tuple[int, int]] = {}
    for index, (key, report) in enumerate(batch):
        if report.user_token not in known:
            outcomes[index] = Outcome.UNKNOWN_TOKEN
            continue
        row = known[report.user_token].id, key
        before = counted.get(row, (0, 0))
        after = max(before[0], report.upload), max(before[1], report.download)
        if row not in counted or after != before:
            totals[row] = after
            more = {"upload": after[0] - before[0], "download": after[1] - before[1], "event_id": ""}
            grown[index] = msgspec.structs.replace(report, **more)
    for index, outcome in zip(
        grown, _Group(list(grown.values()), now).record(create=False, careful=careful), strict=True
    ):
        outcomes[index] = outcome
        if outcome is not Outcome.RECORDED:
            del totals[known[batch[index].report.user_token].id, batch[index].key]
    rollups.remember_imported(totals)
    return outcomes


@retried
def restart_period(subscriber: Subscriber, now: datetime) -> None:
    """Set the current period back to nothing, by hand; the life goes on. Reports from before ``now`` stay out of it."""
    with transaction.atomic():
        moment = now.replace(microsecond=0)
        Subscriber.objects.filter(pk=subscriber.pk).update(reset_at=moment)
        Balance.objects.filter(subscriber=subscriber).update(period_start=moment, period_upload=0, period_download=0)
    subscriber.reset_at = moment


@retried
def recount_period(subscriber: Subscriber, now: datetime) -> None:
    """Count the current period anew, from records and corrections, after ``limit_reset`` or ``reset_day`` was changed.

    Records know hours: a period that begins within one takes the whole hour. One without a
    beginning is the life, of which cleanup may have deleted records.
    """
    with transaction.atomic():
        start = current_period(subscriber, now)
        balance = Balance.objects.filter(subscriber=subscriber)
        if start == EPOCH:
            balance.update(period_start=start, period_upload=F("life_upload"), period_download=F("life_download"))
            return
        found = Usage.objects.since(floor_hour(start)).filter(subscriber=subscriber).sums("subscriber")
        sums = next(iter(found), {"sum_upload": 0, "sum_download": 0})
        corrected = _corrected_since(subscriber, start)
        balance.update(
            period_start=start,
            period_upload=max(sums["sum_upload"] + corrected[0], 0),
            period_download=max(sums["sum_download"] + corrected[1], 0),
        )


def _corrected_since(subscriber: Subscriber, start: datetime) -> tuple[int, int]:
    """Bytes up and down of the corrections that count in a period. Few, so they are added here, where nothing overflows."""
    standing = Correction.objects.filter(subscriber=subscriber, in_period=True, made_at__gte=start, undone_at=None)
    found = list(standing.values_list("upload", "download"))
    return sum(up for up, _ in found), sum(down for _, down in found)
