"""Looks up subscribers and servers for recording, and the periods in which they are counted."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from operations.events import seconds
from traffic.conf import conf
from traffic.models import LimitedServer, Metered, Reset, Server, Subscriber
from traffic.periods import DAY, EPOCH, interval_start, period_end, period_start

from . import rollups
from .retired_tokens import never_retired
from .rollups import FoundServer, FoundSubscriber

Endpoint = tuple[str, int, str]  # host, port, protocol


def endpoint_of(row: Server | LimitedServer) -> Endpoint:
    return row.host, row.port, row.protocol


def subscribers_by_token(tokens: Iterable[str]) -> dict[str, FoundSubscriber]:
    """The subscribers with these tokens; unknown and deleted ones are left out."""
    return {row[0]: row for row in rollups.find_subscribers(tokens)}


def create_subscribers(tokens: Iterable[str]) -> dict[str, FoundSubscriber]:
    """Create subscribers with these valid tokens. Existing ones, also deleted ones, do not change.

    Nobody is created for a token that a subscriber had before.
    """
    new = [Subscriber(token=token) for token in sorted(never_retired(tokens))]
    Subscriber.objects.bulk_create(new, ignore_conflicts=True)
    return subscribers_by_token([subscriber.token for subscriber in new])


def servers_by_endpoint(endpoints: set[Endpoint]) -> dict[Endpoint, FoundServer]:
    """The known servers."""
    rows = rollups.find_servers({host for host, _, _ in endpoints})
    return {row[:3]: row for row in rows if row[:3] in endpoints}


def create_servers(endpoints: set[Endpoint]) -> dict[Endpoint, FoundServer]:
    servers = [
        Server(host=host, port=port, protocol=protocol)
        for host, port, protocol in sorted(endpoints)
    ]
    Server.objects.bulk_create(servers, ignore_conflicts=True)
    return servers_by_endpoint(endpoints)


class Periods:
    """The beginnings of the periods that contain ``now``, in Unix seconds. Those of the calendar are looked up once."""

    def __init__(self, now: datetime) -> None:
        self._now, self._zone = now, conf.time_zone
        self._calendar: dict[tuple[str, int], int] = {}

    def of(self, row: FoundSubscriber) -> int:
        return self.start(
            row.limit_reset, row.reset_day, row.reset_days, row.started_at, row.reset_at
        )

    def start(self, reset: str, day: int, days: int, started_at: int, reset_at: int | None) -> int:
        """By the rule, or the manual restart if that was later. An interval counts from the later of start and restart."""
        if reset == Reset.INTERVAL:
            now = int(self._now.timestamp())
            return interval_start(max(started_at, reset_at or 0), days, now)
        found = self._calendar.get((reset, day))
        if found is None:
            found = int(period_start(reset, self._now, self._zone, day).timestamp())
            self._calendar[reset, day] = found
        return max(found, reset_at or 0)


def current_period(row: Metered, now: datetime) -> datetime:
    """The beginning of the period that contains ``now``."""
    rule = row.limit_reset, row.reset_day, row.reset_days
    start = Periods(now).start(*rule, seconds(row.started_at), seconds(row.reset_at))
    return EPOCH + timedelta(seconds=start)


def next_period(row: Metered, now: datetime) -> datetime | None:
    """When the counters of the period next restart from zero; None if they never do."""
    if row.limit_reset == Reset.INTERVAL:
        return current_period(row, now) + row.reset_days * DAY
    return period_end(row.limit_reset, now, conf.time_zone, row.reset_day)
