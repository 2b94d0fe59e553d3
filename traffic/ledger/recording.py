"""The only write path: reports in, sums out, in one transaction.

Once ``record`` returns, the transaction is committed. With SQLite and PostgreSQL as configured,
that means on disk.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from django.db import IntegrityError, OperationalError
from django.db.models import F

from operations.conf import Rate
from operations.databases.transactions import write_transaction
from traffic.models import (
    MAX_COUNTER,
    Balance,
    Correction,
    ReceivedEvent,
    SetAside,
    Subscriber,
    Usage,
)
from traffic.periods import DAY, EPOCH, HOUR, floor_hour
from traffic.reports import Report

from . import limits, next_plans, reporters, rollups, terms
from .desk import Desk, NewServers
from .lookup import Periods, current_period
from .reporters import Key
from .rollups import BalanceSums, EventKey, LimitKey, PeriodSums, ServerKey, Sums, UsageKey

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_NOTHING = Sums()
Decision = SetAside.Decision


class Outcome(Enum):
    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    UNKNOWN_TOKEN = "unknown token"  # noqa: S105
    COUNTER_FULL = "counter full"
    IMPLAUSIBLE = "implausible"
    NEW_SERVER = "new server"


# Outcomes of reports that may be sent again and are then checked again.
_REFUSED = frozenset({Outcome.COUNTER_FULL, Outcome.IMPLAUSIBLE, Outcome.NEW_SERVER})


class Rules(msgspec.Struct, frozen=True):
    """How the reports of a work are checked and booked. The defaults refuse nothing, because imports are exempt.

    ``max_per_hour``: bytes that one subscriber may use in one hour; 0 = unlimited. ``new_servers``: how many unknown
    servers a subscriber may name; None = unlimited. ``metered``: the reports are growth of totals.
    """

    max_per_hour: int = 0
    new_servers: Rate | None = None
    metered: bool = False


NO_RULES = Rules()


class Work(Protocol[R_co]):
    """The data of one sender. It shares a transaction with all other waiting works.

    All methods are called inside that transaction, and again if it has to be repeated: ``prepare`` resets all state
    that they share. They lock rows of their own tables in the order of their keys.
    """

    rules: Rules

    @classmethod
    def prepare(cls, works: Sequence[Any], desk: Desk) -> None:
        """Called once with all works of this kind, in their order, before anything is counted."""

    @property
    def size(self) -> int:
        """Its number of rows, which limits how many works share one transaction."""

    def reports(self, now: datetime) -> Sequence[Report]:
        """The reports to count."""

    def settle(self, outcomes: Sequence[Outcome]) -> R_co:
        """Gets the outcome of each of these reports; returns the response for the sender."""


class Reports:
    """Reports as they came, with the API key that sent them if there is one.

    The response has the outcome of each, in their order.
    """

    def __init__(
        self, reports: Sequence[Report], rules: Rules = NO_RULES, key: Key | None = None
    ) -> None:
        self._reports = reports
        self.rules = rules
        self.key = key
        self._reporter: int | None = None
        self._desk: Desk | None = None

    @classmethod
    def prepare(cls, works: Sequence["Reports"], desk: Desk) -> None:
        keys = {work.key for work in works if work.key is not None}
        found = reporters.of_webhook(keys, desk.now) if keys else {}
        for work in works:
            work.begin(found, desk)

    def begin(self, found: Mapping[Key | None, int], desk: Desk) -> None:
        self._desk, self._reporter = desk, found.get(self.key)

    @property
    def size(self) -> int:
        return len(self._reports)

    def reports(self, now: datetime) -> Sequence[Report]:
        return self._reports

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        if self._reporter is not None and self._desk is not None:
            for report, outcome in zip(self._reports, outcomes, strict=True):
                if outcome is Outcome.RECORDED:
                    note_told(report, self._reporter, self._desk)
        return list(outcomes)


def note_told(report: Report, reporter: int, desk: Desk) -> None:
    """That this reporter told it, and it was counted."""
    subscriber = desk.people(())[report.user_token].id
    server = desk.servers(())[report.server, report.port, report.protocol]
    desk.told(subscriber, server, reporter, report.moment).add(report.upload, report.download)


class Written(msgspec.Struct, Generic[R], frozen=True):
    """``results``: one per work. ``reports`` and ``outcomes``: those of all works, in the same order."""

    results: list[R]
    reports: list[Report]
    outcomes: list[Outcome]


def record(
    reports: Sequence[Report], now: datetime, *, create_subscribers: bool = False
) -> list[Outcome]:
    """Count reports and return the outcome of each, in their order. See ``write``."""
    return write([Reports(reports)], now, create_subscribers=create_subscribers).results[0]


def write(
    works: Sequence[Work[R]], now: datetime, *, create_subscribers: bool = False
) -> Written[R]:
    """Write all of it, or nothing. What returns is committed.

    ``create_subscribers``: an unknown token becomes a subscriber (open access) instead of UNKNOWN_TOKEN.
    """
    new_servers = NewServers()

    def attempt(careful: bool) -> Written[R]:
        return _write(works, Desk(now, new_servers, create=create_subscribers), careful=careful)

    return carefully(attempt)


def carefully(attempt: Callable[[bool], R]) -> R:
    """Call ``attempt``, and if something must be refused, call it again with True: it then finds the report to refuse.

    That is rare, so it is looked up only then; and again if another writer has filled a counter in the meantime.
    """
    for careful in (False, True, True):
        try:
            return attempt(careful)
        except (IntegrityError, _RefusalError):
            continue
    raise OperationalError("The counters are contended.")


class _RefusalError(Exception):
    """Something must be refused, but it is not yet known which report."""


@write_transaction
def _write(works: Sequence[Work[R]], desk: Desk, *, careful: bool) -> Written[R]:
    return write_inside(works, desk, careful=careful)


def write_inside(works: Sequence[Work[R]], desk: Desk, *, careful: bool) -> Written[R]:
    """The same inside a transaction of the caller's, who runs it ``carefully``."""
    desk.begin()
    _prepare(works, desk)
    parts = [work.reports(desk.now) for work in works]
    group = _Group([report for part in parts for report in part], desk)
    if any(work.rules is not NO_RULES for work in works):
        group.rules = [work.rules for work, part in zip(works, parts, strict=True) for _ in part]
    outcomes = group.record(careful=careful) if group.reports else []
    rest = iter(outcomes)
    results = [
        work.settle(list(islice(rest, len(part)))) for work, part in zip(works, parts, strict=True)
    ]
    desk.write_told()
    group.add_server_usage(careful=careful)
    return Written(results, group.reports, outcomes)


def _prepare(works: Sequence[Work[R]], desk: Desk) -> None:
    kinds: dict[type[Work[R]], list[Work[R]]] = {}
    for work in works:
        kinds.setdefault(type(work), []).append(work)
    for kind, members in kinds.items():
        kind.prepare(members, desk)


class _Group:
    """The reports of one transaction, and their sums."""

    def __init__(self, reports: list[Report], desk: Desk) -> None:
        """Looks up what is known. ``rules``: of each report, where there are any."""
        self.reports = reports
        self.desk = desk
        self.rules: Sequence[Rules] = [NO_RULES] * len(reports)
        self.endpoints = [(report.server, report.port, report.protocol) for report in reports]
        self.subscribers = desk.people({report.user_token for report in reports})
        self.server_ids = desk.servers(set(self.endpoints))
        self.outcomes: list[Outcome] = []
        self.usage: dict[UsageKey, Sums] = {}
        self.servers: dict[ServerKey, Sums] = {}
        self.new_records: Mapping[ServerKey, int] = {}
        self.balances: dict[int, BalanceSums] = {}
        self.hours: dict[tuple[int, int], int] = {}

    def record(self, *, careful: bool) -> list[Outcome]:
        known = self.subscribers
        self.outcomes = [
            Outcome.RECORDED if report.user_token in known else Outcome.UNKNOWN_TOKEN
            for report in self.reports
        ]
        first = self._claim_events()
        self._make_servers()
        if careful:
            self._refuse_overflow()
        if not _REFUSED.isdisjoint(self.outcomes):
            self._return_claims(first)
            self._note_implausible()
        self._sum_up()
        self._refuse_impossible_sums(careful=careful)
        self.new_records = rollups.add_usage(self.usage)
        stored = rollups.add_balances(self.balances)
        self._begin_terms()
        self._begin_next_plans()
        if limited := self.desk.limited():
            self._count_towards_limits(limited)
        if not careful:
            self._look_for_implausible(stored)
        return self.outcomes

    def add_server_usage(self, *, careful: bool) -> None:
        add = rollups.spread_server_usage if careful else rollups.add_server_usage
        add(self.servers, self.new_records)

    def _make_servers(self) -> None:
        """Those that are not known yet, unless their subscriber has named too many."""
        if self.server_ids.keys() >= set(self.endpoints):
            return
        for index, report in self._counted():
            endpoint, rate = self.endpoints[index], self.rules[index].new_servers
            if endpoint in self.server_ids or rate is None:
                continue
            if not self.desk.new_servers.allows(report.user_token, endpoint, rate):
                self.outcomes[index] = Outcome.NEW_SERVER
        self.desk.make_servers({self.endpoints[index] for index, _ in self._counted()})

    def _counted(self) -> list[tuple[int, Report]]:
        return [(i, r) for i, r in enumerate(self.reports) if self.outcomes[i] is Outcome.RECORDED]

    def _event(self, report: Report) -> EventKey:
        return self.subscribers[report.user_token].id, report.event_id

    def _claim_events(self) -> dict[EventKey, int]:
        """Mark reports that were counted before as duplicates; return which report is the first of each event."""
        first: dict[EventKey, int] = {}
        for index, report in enumerate(self.reports):
            if not report.event_id or self.outcomes[index] is not Outcome.RECORDED:
                continue
            if first.setdefault(self._event(report), index) != index:
                self.outcomes[index] = Outcome.DUPLICATE
        claimed = (
            rollups.claim_events(first, _hour(int(self.desk.now.timestamp()))) if first else set()
        )
        for key in first.keys() - claimed:
            self.outcomes[first[key]] = Outcome.DUPLICATE
        return first

    def _return_claims(self, first: dict[EventKey, int]) -> None:
        """Forget the events of refused reports: neither a repeat nor a twin in this batch may count as a duplicate."""
        for index, report in enumerate(self.reports):
            origin = (
                first.get(self._event(report)) if report.user_token in self.subscribers else None
            )
            if origin is None or self.outcomes[origin] not in _REFUSED:
                continue
            self.outcomes[index] = self.outcomes[origin]
            ReceivedEvent.objects.filter(pk=self._event(report)).delete()

    def _sum_up(self) -> None:
        """Sums by subscriber, hour and server. All other sums are made of these, because they are fewer than the reports."""
        periods, late = Periods(self.desk.now), defaultdict[int, Sums](Sums)
        self.usage, self.servers, self.balances = {}, defaultdict(Sums), {}
        for index, report in self._counted():
            subscriber, moment = self.subscribers[report.user_token], report.moment
            key = (subscriber.id, moment // 3600, self.server_ids[self.endpoints[index]])
            own = Sums(report.upload, report.download, 1, moment)
            row = self.usage.setdefault(key, own)
            if row is not own:
                row.add(report.upload, report.download, 1, moment)
            balance = self.balances.get(subscriber.id)
            if balance is None:
                balance = BalanceSums(period_start=periods.of(subscriber))
                self.balances[subscriber.id] = balance
            if moment < balance.period_start:
                late[subscriber.id].add(report.upload, report.download, 1, moment)
            if self.rules[index].metered:
                balance.metered_upload += report.upload
                balance.metered_download += report.download
        for (pk, hour, server), row in self.usage.items():
            self.servers[server, hour].add(row.upload, row.download, row.reports, row.last)
            self.balances[pk].add(row.upload, row.download, row.reports, row.last)
        for pk, balance in self.balances.items():
            before = late.get(pk, _NOTHING)
            balance.period_upload = balance.upload - before.upload
            balance.period_download = balance.download - before.download

    def _begin_terms(self) -> None:
        """The terms of those who are on hold begin with their first report."""
        waiting = {known.id for known in self.subscribers.values() if known.hold_days is not None}
        if not waiting:
            return
        used: dict[int, int] = {}
        for _, report in self._counted():
            pk = self.subscribers[report.user_token].id
            if pk in waiting:
                used[pk] = min(report.moment, used.get(pk, report.moment))
        terms.begin(used, self.desk.now)

    def _begin_next_plans(self) -> None:
        """The next plan of a subscriber begins when these reports have used up the data limit."""
        if waiting := {known.id for known in self.subscribers.values() if known.has_next}:
            next_plans.begin(waiting, self.desk.now)

    def _count_towards_limits(self, limited: Set[int]) -> None:
        used = limited & {server for server, _ in self.servers}
        servers = {endpoint: pk for endpoint, pk in self.server_ids.items() if pk in used}
        known = limits.on_servers(servers, self.balances.keys(), self.desk.now)
        sums: dict[LimitKey, PeriodSums] = {}
        for index, report in self._counted():
            for limit in known.get(self.server_ids[self.endpoints[index]], ()):
                limits.count(sums, limit, self.subscribers[report.user_token].id, report)
        rollups.add_limit_balances(sums)

    def _refuse_impossible_sums(self, *, careful: bool) -> None:
        """Whether a single sum exceeds a counter. Sums of servers are spread over slots when checked carefully."""
        groups = (
            (self.usage, self.balances) if careful else (self.usage, self.balances, self.servers)
        )
        if any(
            max(row.upload, row.download) > MAX_COUNTER
            for group in groups
            for row in group.values()
        ):
            raise _RefusalError

    def _look_for_implausible(self, stored: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Whether any subscriber's hour would hold more than is plausible.

        An hour never holds more than the whole life, which is known, so most subscribers need no query.
        """
        most = max((rules.max_per_hour for rules in self.rules), default=0)
        if not most:
            return
        heavy = {pk for pk, up, down, more, less in stored if up + down - more - less > most}
        keys = {
            (pk, _hour(report.moment))
            for index, report in self._counted()
            if self.rules[index].max_per_hour
            and (pk := self.subscribers[report.user_token].id) in heavy
        }
        if any(used > most for key, used in _used_by_hour(keys).items() if key in keys):
            raise _RefusalError

    def _refuse_overflow(self) -> None:
        """Add one report after the other to the stored sums, and refuse those that would exceed a limit.

        Only limits of their own subscriber count: sums over many people never cause a refusal.
        """
        self._load_stored()
        for index, report in self._counted():
            subscriber, hour = self.subscribers[report.user_token], _hour(report.moment)
            key = (subscriber.id, hour, self.server_ids[self.endpoints[index]])
            own = self.usage.setdefault(key, Sums())
            life = self.balances.setdefault(subscriber.id, BalanceSums())
            used = self.hours.get((subscriber.id, hour), 0) + report.upload + report.download
            if _overflows(own, report) or _overflows(life, report):
                self.outcomes[index] = Outcome.COUNTER_FULL
            elif 0 < self.rules[index].max_per_hour < used and report.upload + report.download:
                self.outcomes[index] = Outcome.IMPLAUSIBLE
            else:
                self.hours[subscriber.id, hour] = used
                for sums in (own, life):
                    sums.add(report.upload, report.download, 1, report.moment)

    def _load_stored(self) -> None:
        """The balances are locked first, because every writer of an hour also writes its balance."""
        subscribers = {
            self.subscribers[report.user_token].id
            for report in self.reports
            if report.user_token in self.subscribers
        }
        for balance in rollups.lock_balances(subscribers):
            self.balances[balance.subscriber_id] = BalanceSums(
                balance.life_upload, balance.life_download
            )
        hours = {_hour(report.moment) for report in self.reports}
        rows = Usage.objects.filter(
            hour__in=[EPOCH + hour * HOUR for hour in hours],
            server__in={self.server_ids[self.endpoints[index]] for index, _ in self._counted()},
            subscriber__in=subscribers,
        )
        for row in rows:
            key = (row.subscriber_id, int(row.hour.timestamp()) // 3600, row.server_id)
            self.usage[key] = Sums(row.upload, row.download)
        self.hours = _used_by_hour({(pk, hour) for pk in subscribers for hour in hours})

    def _note_implausible(self) -> None:
        """For the operator: once a day for each subscriber."""
        found = {
            self.subscribers[report.user_token].id: index
            for index, report in reversed(list(enumerate(self.reports)))
            if self.outcomes[index] is Outcome.IMPLAUSIBLE
        }
        told = SetAside.objects.filter(
            subscriber__in=found, decision=Decision.REFUSED, noticed_at__gt=self.desk.now - DAY
        ).values_list("subscriber", flat=True)
        for pk in sorted(found.keys() - set(told)):
            report = self.reports[found[pk]]
            SetAside.objects.create(
                subscriber_id=pk,
                server_id=self.server_ids[self.endpoints[found[pk]]],
                upload=report.upload,
                download=report.download,
                moment=EPOCH + timedelta(seconds=report.moment),
                noticed_at=self.desk.now,
                decision=Decision.REFUSED,
            )


def _used_by_hour(keys: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Bytes that subscribers have used in hours, over all servers; at least those asked for."""
    if not keys:
        return {}
    rows = Usage.objects.filter(
        subscriber__in={pk for pk, _ in keys},
        hour__in=[EPOCH + hour * HOUR for hour in {hour for _, hour in keys}],
    ).sums("subscriber_id", "hour")
    return {
        (row["subscriber_id"], int(row["hour"].timestamp()) // 3600): row["sum_upload"]
        + row["sum_download"]
        for row in rows
    }


def _overflows(sums: Sums, report: Report) -> bool:
    return max(sums.upload + report.upload, sums.download + report.download) > MAX_COUNTER


def _hour(moment: int) -> int:
    return moment // 3600


@write_transaction
def restart_period(subscriber: Subscriber, now: datetime) -> None:
    """Reset the current period to zero by hand; the life does not change. Reports from before ``now`` do not count in it."""
    moment = now.replace(microsecond=0)
    Subscriber.objects.filter(pk=subscriber.pk).update(reset_at=moment)
    Balance.objects.of(subscriber).update(period_start=moment, period_upload=0, period_download=0)
    subscriber.reset_at = moment


@write_transaction
def recount_period(subscriber: Subscriber, now: datetime) -> None:
    """Recompute the current period from records and corrections, after ``limit_reset`` or ``reset_day`` was changed.

    Records have hours, so a period that begins within an hour includes all of it. A period without a
    beginning equals the life, because cleanup may have deleted records.
    """
    start = current_period(subscriber, now)
    balance = Balance.objects.of(subscriber)
    if start == EPOCH:
        balance.update(
            period_start=start,
            period_upload=F("life_upload"),
            period_download=F("life_download"),
        )
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
    """Bytes up and down of the corrections that count in a period. They are few, so Python adds them, without overflow."""
    standing = Correction.objects.filter(
        subscriber=subscriber, in_period=True, made_at__gte=start, undone_at=None
    )
    found = list(standing.values_list("upload", "download"))
    return sum(up for up, _ in found), sum(down for _, down in found)
