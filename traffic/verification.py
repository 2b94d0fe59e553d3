"""Proof that all sums agree: server rollup = usage, and life = usage + what was cleaned + corrections.

Compared in small steps, each with the writers held off for its milliseconds, so it may
run while reports flow and what it finds is a real difference.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Count, Max

from . import rollups
from .models import Balance, Correction, Server, ServerUsage, Subscriber, Usage
from .recording import retried

# Subscribers compared in one transaction.
_CHUNK = 200

Sums = dict[str, int]
Progress = Callable[[int], object]
"""Is told how many more servers or subscribers were compared."""


class Difference(msgspec.Struct, frozen=True):
    """A sum that is not what the records say, column by column."""

    what: str
    expected: Sums
    stored: Sums

    def __str__(self) -> str:
        wrong = [name for name in self.expected if self.expected[name] != self.stored[name]]
        return f"{self.what}: " + ", ".join(
            f"{name} is {self.stored[name]}, the records say {self.expected[name]}" for name in wrong
        )


def count_steps() -> int:
    """Servers and subscribers that ``differences`` will compare."""
    return Server.objects.count() + Subscriber.objects.count()


def differences(*, repair: bool = False, progress: Progress = int) -> Iterator[Difference]:
    """All sums that disagree. ``repair``: the server rollup is then set to what the records say."""
    for server in Server.objects.order_by("pk").iterator():
        yield from _server_differences(server, repair=repair)
        progress(1)
    subscribers = list(Subscriber.objects.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(subscribers), _CHUNK):
        chunk = subscribers[start : start + _CHUNK]
        yield from _balance_differences(chunk)
        progress(len(chunk))


@retried
def _server_differences(server: Server, *, repair: bool) -> list[Difference]:
    with transaction.atomic():
        rollups.hold_off_writers()
        expected, stored = _usage_by_hour(server), _rollup_by_hour(server)
        nothing = {"upload": 0, "download": 0, "connections": 0, "records": 0}
        wrong = [hour for hour in sorted(expected | stored) if expected.get(hour) != stored.get(hour)]
        if repair:
            for hour in wrong:
                _repair(server, hour, expected.get(hour))
    return [
        Difference(f"Server {server} at {hour:%Y-%m-%d %H:00}", expected.get(hour, nothing), stored.get(hour, nothing))
        for hour in wrong
    ]


def _usage_by_hour(server: Server) -> dict[datetime, Sums]:
    rows = Usage.objects.filter(server=server).sums("hour").annotate(records=Count("subscriber_id"))
    return {
        row["hour"]: {
            "upload": row["sum_upload"],
            "download": row["sum_download"],
            "connections": row["sum_connections"],
            "records": row["records"],
        }
        for row in rows
    }


def _rollup_by_hour(server: Server) -> dict[datetime, Sums]:
    rows = ServerUsage.objects.filter(server=server).values("hour", "upload", "download", "connections", "records")
    return {row.pop("hour"): dict(row) for row in rows}


def _repair(server: Server, hour: datetime, sums: Sums | None) -> None:
    if sums is None:
        ServerUsage.objects.filter(server=server, hour=hour).delete()
    elif not ServerUsage.objects.filter(server=server, hour=hour).update(**sums):
        ServerUsage.objects.create(server=server, hour=hour, **sums)


@retried
def _balance_differences(subscribers: Sequence[int]) -> list[Difference]:
    with transaction.atomic():
        rollups.hold_off_writers()
        balances = {row.subscriber_id: row for row in Balance.objects.filter(subscriber__in=subscribers)}
        usage = (
            Usage.objects.filter(subscriber__in=subscribers).sums("subscriber_id").annotate(last=Max("last_used_at"))
        )
        sums = {row["subscriber_id"]: row for row in usage}
        corrected = _corrections_of(subscribers)
    found = (
        _balance_difference(pk, balances.get(pk), sums.get(pk), corrected.get(pk, [0, 0]))
        for pk in subscribers
        if pk in balances or pk in sums or pk in corrected
    )
    return [difference for difference in found if difference.expected != difference.stored]


def _corrections_of(subscribers: Sequence[int]) -> dict[int, list[int]]:
    """Bytes up and down of the corrections that stand."""
    sums: dict[int, list[int]] = {}
    standing = Correction.objects.filter(subscriber__in=subscribers, undone_at=None)
    for pk, upload, download in standing.values_list("subscriber", "upload", "download"):
        row = sums.setdefault(pk, [0, 0])
        row[0] += upload
        row[1] += download
    return sums


def _balance_difference(
    subscriber: int, balance: Balance | None, usage: dict[str, Any] | None, corrected: Sequence[int]
) -> Difference:
    balance = balance or Balance(subscriber_id=subscriber)
    row = usage or {"sum_upload": 0, "sum_download": 0, "sum_connections": 0, "last": None}
    expected = {
        "life_upload": row["sum_upload"] + balance.cleaned_upload + corrected[0],
        "life_download": row["sum_download"] + balance.cleaned_download + corrected[1],
        "life_connections": row["sum_connections"] + balance.cleaned_connections,
        "corrected_upload": corrected[0],
        "corrected_download": corrected[1],
        "last_used_at": _seconds(row["last"]),
    }
    stored = {name: getattr(balance, name) for name in expected} | {"last_used_at": _seconds(balance.last_used_at)}
    return Difference(f"Subscriber {subscriber}", expected, stored)


def _seconds(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment else 0
