"""How many machines a number of subscribers takes: arithmetic on measured costs. Pure; nothing here measures."""

import math
from collections.abc import Iterable, Mapping

import msgspec

MINUTE, HOUR, DAY = 60, 3600, 86_400
# A machine has this many cores, and in the busiest hour this share of them is busy.
# The rest is for bursts, for cleanup and backups, and for the day when one machine is missing.
CORES = 16
BUSY = 0.5


class Rhythm(msgspec.Struct, frozen=True):
    """What subscribers do in the busiest hour of the day, which decides how many machines there must be.

    ``online``: share of subscribers who use the VPN at that time, each through one of their ``servers``.
    ``alone``: share of them whose device reports itself, once a minute, as the agent does.
    ``per_hour``: requests for a subscription by an app that is online; the panel's Profile-Update-Interval is an hour.
    ``per_day``: looks at the figures of one subscriber, by themselves or by an operator's program.
    """

    online: float = 0.5
    servers: int = 3
    rows: int = 1000
    alone: float = 0.1
    per_hour: float = 1.0
    per_day: float = 1.0

    def rates(self, subscribers: int) -> dict[str, float]:
        """Messages and requests per second, by kind."""
        online = subscribers * self.online
        return {
            "readings": subscribers * self.servers / self.rows / MINUTE,
            "report": online * self.alone / MINUTE,
            "subscription": online * self.per_hour / HOUR,
            # Twice the mean of the day.
            "statistics": 2 * subscribers * self.per_day / DAY,
        }


class Cost(msgspec.Struct, frozen=True):
    """One message or request: processor seconds by part, bytes of WAL, and bytes by which tables and indexes grew."""

    seconds: Mapping[str, float]
    wal: float
    growth: float


class Rows(msgspec.Struct, frozen=True):
    """Bytes on disk: of one record with its indexes, and of everything else that one subscriber has."""

    record: float
    person: float


class Need(msgspec.Struct, frozen=True):
    """``cores``: fully busy ones by part; ``wal``: bytes per second; ``disk``: bytes after a year."""

    cores: Mapping[str, float]
    wal: float
    disk: float


def records_of_a_year(servers: int, hours: int = 6, by_hour: int = 32, days: int = 365) -> int:
    """Rows of one subscriber who uses each server ``hours`` a day: by the hour for a month, before that by the day."""
    return servers * (hours * by_hour + days - by_hour)


def need(subscribers: int, costs: Mapping[str, Cost], rows: Rows, rhythm: Rhythm) -> Need:
    rates = rhythm.rates(subscribers)
    cores: dict[str, float] = {}
    for kind, rate in rates.items():
        for part, seconds in costs[kind].seconds.items():
            cores[part] = cores.get(part, 0.0) + rate * seconds
    wal = sum(rate * costs[kind].wal for kind, rate in rates.items())
    disk = subscribers * (records_of_a_year(rhythm.servers) * rows.record + rows.person)
    return Need(cores, wal, disk)


def is_too_much_for_one_writer(subscribers: int, costs: Mapping[str, Cost], rhythm: Rhythm) -> bool:
    """Whether SQLite, where writers take turns, would be busy with messages for more than half of the time."""
    rates = rhythm.rates(subscribers)
    return sum(rates[kind] * costs[kind].seconds["web"] for kind in ("readings", "report")) > BUSY


def machines(cores: float) -> int:
    """Machines of 16 cores that are at most half busy; at least one."""
    return max(math.ceil(cores / (CORES * BUSY)), 1)


def arithmetic(subscribers: int, costs: Mapping[str, Cost], rhythm: Rhythm) -> Iterable[str]:
    """A line per kind: its rate times its cost."""
    for kind, rate in rhythm.rates(subscribers).items():
        cost = costs[kind]
        products = ", ".join(
            f"{part} × {seconds * 1000:.2f} ms = {rate * seconds:.3f} cores"
            for part, seconds in cost.seconds.items()
        )
        yield (
            f"  {kind}: {rate:,.1f} per second: {products},"
            f" × {size(cost.wal)} = {size(rate * cost.wal)} of WAL per second"
        )


def size(count: float) -> str:
    """Bytes as people write them: ``1.7 kB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
