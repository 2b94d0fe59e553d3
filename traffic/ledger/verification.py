"""Proof that all sums agree: server rollup = usage, and life = usage + what was cleaned + corrections.

For limits on servers: life = usage of their servers + what was cleaned. For meters: booked growth = the sum over all
meters of the growth they have counted, and at most the usage. Booked growth looks like reports, so more cannot be
proven. For ``Told``: on each day at most the records of that subscriber and server.

Sums are compared in small steps, each of which blocks writers for some milliseconds. So it may run while
reports arrive, and every difference it finds is real.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import Count, ExpressionWrapper, F, IntegerField, Max, Q, Sum

from operations.databases.exact_sum import ExactSum
from operations.databases.transactions import write_transaction
from operations.events import seconds
from traffic.fields import DayField, HourField
from traffic.models import (
    MAX_COUNTER,
    Balance,
    Correction,
    LimitBalance,
    Meter,
    Server,
    ServerLimit,
    ServerUsage,
    Subscriber,
    Told,
    Usage,
)

from . import limits, rollups

# Tokens of erased people and of those who are being erased begin with it; no other does.
ANONYMOUS = "("
# Subscribers compared in one transaction.
_CHUNK = 200

Sums = dict[str, int]
Progress = Callable[[int], object]
"""Called with the number of servers or subscribers that were compared since the last call."""


class Difference(msgspec.Struct, frozen=True):
    """A sum that differs from the records, by column."""

    what: str
    expected: Sums
    stored: Sums

    def __str__(self) -> str:
        wrong = [name for name in self.expected if self.expected[name] != self.stored[name]]
        return f"{self.what}: " + ", ".join(
            f"{name} is {self.stored[name]}, the records say {self.expected[name]}"
            for name in wrong
        )


def count_steps() -> int:
    """Servers, subscribers and limits on servers that ``differences`` will compare."""
    return Server.objects.count() + Subscriber.objects.count() + ServerLimit.objects.count()


def count_differences(progress: Progress) -> int:
    return sum(1 for _ in differences(progress=progress))


def differences(*, repair: bool = False, progress: Progress = int) -> Iterator[Difference]:
    """All sums that disagree.

    ``repair``: the server rollup is then set to what the records say, and who told more than they hold is forgotten.
    """
    for server in Server.objects.order_by("pk").iterator():
        yield from _server_differences(server, repair=repair)
        progress(1)
    subscribers = list(Subscriber.objects.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(subscribers), _CHUNK):
        chunk = subscribers[start : start + _CHUNK]
        yield from _balance_differences(chunk)
        yield from _told_differences(chunk, repair=repair)
        progress(len(chunk))
    for limit in ServerLimit.objects.order_by("pk"):
        yield from _limit_differences(limit)
        progress(1)


@write_transaction
def _server_differences(server: Server, *, repair: bool) -> list[Difference]:
    rollups.hold_off_writers()
    expected, stored = _usage_by_hour(server), _rollup_by_hour(server)
    nothing = {"upload": 0, "download": 0, "reports": 0, "records": 0}
    wrong = [hour for hour in sorted(expected | stored) if expected.get(hour) != stored.get(hour)]
    if repair:
        for hour in wrong:
            _repair(server, hour, expected.get(hour))
    return [
        Difference(
            f"Server {server} at {hour:%Y-%m-%d %H:00}",
            expected.get(hour, nothing),
            stored.get(hour, nothing),
        )
        for hour in wrong
    ]


def _usage_by_hour(server: Server) -> dict[datetime, Sums]:
    rows = Usage.objects.filter(server=server).sums("hour").annotate(records=Count("subscriber_id"))
    return {row["hour"]: _sums(row) for row in rows}


def _rollup_by_hour(server: Server) -> dict[datetime, Sums]:
    rows = ServerUsage.objects.filter(server=server).sums("hour").annotate(records=Sum("records"))
    return {row["hour"]: _sums(row) for row in rows}


def _sums(row: dict[str, Any]) -> Sums:
    return {
        "upload": row["sum_upload"],
        "download": row["sum_download"],
        "reports": row["sum_reports"],
        "records": row["records"],
    }


def _repair(server: Server, hour: datetime, sums: Sums | None) -> None:
    ServerUsage.objects.filter(server=server, hour=hour).delete()
    if sums is not None:
        row = rollups.Sums(sums["upload"], sums["download"], sums["reports"])
        key = server.pk, HourField.to_number(hour)
        rollups.spread_server_usage({key: row}, {key: sums["records"]})


@write_transaction
def _balance_differences(subscribers: Sequence[int]) -> list[Difference]:
    rollups.hold_off_writers()
    balances = {
        row.subscriber_id: row for row in Balance.objects.filter(subscriber__in=subscribers)
    }
    usage = (
        Usage.objects.filter(subscriber__in=subscribers)
        .sums("subscriber_id")
        .annotate(last=Max("last_used_at"))
    )
    sums = {row["subscriber_id"]: row for row in usage}
    corrected, metered = _corrections_of(subscribers), _metered_of(subscribers)
    found = []
    for pk in subscribers:
        if not (pk in balances or pk in sums or pk in corrected or pk in metered):
            continue
        balance = balances.get(pk) or Balance(subscriber_id=pk)
        found += [
            _balance_difference(balance, sums.get(pk), corrected.get(pk, [0, 0])),
            _metered_difference(balance, metered.get(pk, (0, 0))),
            _metered_excess(balance, sums.get(pk)),
        ]
    return [difference for difference in found if difference.expected != difference.stored]


def _metered_of(subscribers: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Bytes up and down that the meters of each have counted."""
    rows = (
        Meter.objects.filter(subscriber__in=subscribers)
        .order_by()
        .values_list("subscriber")
        .annotate(upload=ExactSum("counted_upload"), download=ExactSum("counted_download"))
    )
    return {pk: (upload, download) for pk, upload, download in rows}


def _metered_difference(balance: Balance, counted: tuple[int, int]) -> Difference:
    return Difference(
        f"Meters of subscriber {balance.subscriber_id}",
        {"metered_upload": counted[0], "metered_download": counted[1]},
        {
            "metered_upload": balance.metered_upload,
            "metered_download": balance.metered_download,
        },
    )


def _metered_excess(balance: Balance, usage: dict[str, Any] | None) -> Difference:
    """Booked growth is at most the usage."""
    row = usage or {"sum_upload": 0, "sum_download": 0}
    used = {
        "metered_upload": row["sum_upload"] + balance.cleaned_upload,
        "metered_download": row["sum_download"] + balance.cleaned_download,
    }
    stored = {name: getattr(balance, name) for name in used}
    most = {name: min(used[name], stored[name]) for name in used}
    return Difference(f"Meters of subscriber {balance.subscriber_id}, at most", most, stored)


@write_transaction
def _limit_differences(limit: ServerLimit) -> list[Difference]:
    rollups.hold_off_writers()
    used = limits.records_of(limit, limits.ids_of(limit.servers.all()))
    stored = {row.subscriber_id: row for row in LimitBalance.objects.filter(limit=limit)}
    # What erased people used has moved to the anonymous subscriber, who has no limit.
    anonymous = Q(token__startswith=ANONYMOUS)
    erased = Subscriber.objects.filter(anonymous).values_list("pk", flat=True)
    found = [
        _limit_difference(limit, pk, used.get(pk, (0, 0)), stored.get(pk, LimitBalance()))
        for pk in sorted((used.keys() | stored.keys()) - set(erased))
    ]
    return [difference for difference in found if difference.expected != difference.stored]


def _limit_difference(
    limit: ServerLimit, subscriber: int, used: tuple[int, int], row: LimitBalance
) -> Difference:
    upload, download = used[0] + row.cleaned_upload, used[1] + row.cleaned_download
    return Difference(
        f"Subscriber {subscriber} at limit {limit.pk} on servers",
        {
            "life_upload": min(upload, MAX_COUNTER),
            "life_download": min(download, MAX_COUNTER),
            "period_upload": min(row.period_upload, upload),
            "period_download": min(row.period_download, download),
        },
        {
            name: getattr(row, name)
            for name in ("life_upload", "life_download", "period_upload", "period_download")
        },
    )


Day = tuple[int, int, int]  # subscriber id, server id, day since 1970


@write_transaction
def _told_differences(subscribers: Sequence[int], *, repair: bool) -> list[Difference]:
    rollups.hold_off_writers()
    told = _told_by_day(subscribers)
    used = _used_by_day({pk for pk, _, _ in told})
    wrong = {day: row for day, row in told.items() if not _is_within(row, used.get(day, (0, 0)))}
    if repair:
        for pk, server, day in wrong:
            Told.objects.filter(subscriber=pk, server=server, day=day).delete()
    return [_told_excess(day, row, used.get(day, (0, 0))) for day, row in sorted(wrong.items())]


def _told_by_day(subscribers: Collection[int]) -> dict[Day, tuple[int, int]]:
    rows = (
        Told.objects.filter(subscriber__in=subscribers)
        .order_by()
        .values_list("subscriber_id", "server_id", "day")
        .annotate(up=ExactSum("upload"), down=ExactSum("download"))
    )
    return {(pk, server, DayField.to_number(day)): (up, down) for pk, server, day, up, down in rows}


def _used_by_day(subscribers: Collection[int]) -> dict[Day, tuple[int, int]]:
    by_day = ExpressionWrapper(F("hour") / 24, output_field=IntegerField())
    rows = (
        Usage.objects.filter(subscriber__in=subscribers)
        .annotate(day=by_day)
        .sums("subscriber_id", "server_id", "day")
    )
    return {
        (row["subscriber_id"], row["server_id"], row["day"]): (row["sum_upload"], row["sum_download"])
        for row in rows
    }  # fmt: skip


def _is_within(told: tuple[int, int], used: tuple[int, int]) -> bool:
    return told[0] <= used[0] and told[1] <= used[1]


def _told_excess(key: Day, told: tuple[int, int], used: tuple[int, int]) -> Difference:
    pk, server, day = key
    date = DayField.to_moment(day)
    return Difference(
        f"Reporters of subscriber {pk} on server {server} on {date:%Y-%m-%d}, at most",
        {"upload": min(told[0], used[0]), "download": min(told[1], used[1])},
        {"upload": told[0], "download": told[1]},
    )


def _corrections_of(subscribers: Sequence[int]) -> dict[int, list[int]]:
    """Bytes up and down of the corrections that are not undone."""
    sums: dict[int, list[int]] = {}
    standing = Correction.objects.filter(subscriber__in=subscribers, undone_at=None)
    for pk, upload, download in standing.values_list("subscriber", "upload", "download"):
        row = sums.setdefault(pk, [0, 0])
        row[0] += upload
        row[1] += download
    return sums


def _balance_difference(
    balance: Balance, usage: dict[str, Any] | None, corrected: Sequence[int]
) -> Difference:
    row = usage or {"sum_upload": 0, "sum_download": 0, "sum_reports": 0, "last": None}
    expected = {
        "life_upload": row["sum_upload"] + balance.cleaned_upload + corrected[0],
        "life_download": row["sum_download"] + balance.cleaned_download + corrected[1],
        "life_reports": row["sum_reports"] + balance.cleaned_reports,
        "corrected_upload": corrected[0],
        "corrected_download": corrected[1],
        "last_used_at": seconds(row["last"]),
    }
    stored = {name: getattr(balance, name) for name in expected} | {
        "last_used_at": seconds(balance.last_used_at)
    }
    return Difference(f"Subscriber {balance.subscriber_id}", expected, stored)
