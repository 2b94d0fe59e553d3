"""The load of N subscribers against each database that is there, and how many machines more of them take.

Each kind of message is measured alone, as fast as a few clients send it. Then all kinds run together for a while at the
rhythm of N subscribers, and the processor time that they took is compared with the one that the arithmetic foretells.
"""

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
import psycopg

from . import servers
from .machines import (
    CORES,
    Cost,
    Rhythm,
    Rows,
    arithmetic,
    is_too_much_for_one_writer,
    machines,
    need,
    records_of_a_year,
    size,
)
from .watched import WAL_WRITER, Cluster, File, Server, Watched

SQLITE = "SQLite"
FUTURES = (10_000, 1_000_000, 100_000_000)
RHYTHM = Rhythm()
# Clients that send at the same time; each has one connection.
_CLIENTS = 4
_PLACES = 200
_BYTES = 5_000_000
_PEOPLE = """
from traffic.models import Subscriber
Subscriber.objects.bulk_create([Subscriber(token=f"user{{n}}") for n in range({count})], batch_size=1000)
"""
_LINKS = "from operations.audit import By; from django.utils import timezone; from subscriptions import direct_configs; direct_configs.add_many([f'trojan://p{n}@vpn{n}.example.com:443#S{n}' for n in range(50)], By('bench', timezone.now()))"


class ScaleError(Exception):
    """Why nothing can be measured, for the caller."""


# A method, a path and a body.
Request = tuple[str, str, bytes | None]


class People:
    """Makes the requests of N subscribers. A pair is one subscriber on one of their servers."""

    def __init__(self, count: int, rhythm: Rhythm) -> None:
        self._count, self._rhythm = count, rhythm
        self._pairs = count * rhythm.servers
        self._run = int(time.time()) - 3600
        self._readings, self._numbers = itertools.count(), itertools.count()
        self.messages = -(-self._pairs // rhythm.rows)

    def reading(self) -> Request:
        """The next meter's totals. One pair of six grows every minute: half of the people, each on one of three."""
        minute, meter = divmod(next(self._readings), self.messages)
        first = meter * self._rhythm.rows
        pairs = range(first, min(first + self._rhythm.rows, self._pairs))
        rows = [self._row(pair, minute) for pair in pairs]
        sent = {"meter": f"gateway-{meter}", "run": self._run, "readings": rows}
        return "POST", "/api/xpert/meter-readings", json.dumps(sent).encode()

    def _row(self, pair: int, minute: int) -> dict[str, object]:
        person, place = divmod(pair, self._rhythm.servers)
        times = 1 + minute if person % 2 == 0 and place == person // 2 % self._rhythm.servers else 1
        return self._who(person, place) | {
            "total_uploaded": times * _BYTES,
            "total_downloaded": times * 10 * _BYTES,
        }

    def report(self) -> Request:
        number = next(self._numbers)
        sent = self._who(number * 7919 % self._count, number % self._rhythm.servers) | {
            "bytes_uploaded": _BYTES,
            "bytes_downloaded": 10 * _BYTES,
            "event_id": str(uuid.uuid4()),
        }
        return "POST", "/api/xpert/traffic-webhook", json.dumps(sent).encode()

    def subscription(self) -> Request:
        return "GET", f"/api/xpert/sub?user_token={self._somebody()}", None

    def statistics(self) -> Request:
        return "GET", f"/api/xpert/traffic-stats/{self._somebody()}?days=30", None

    def _somebody(self) -> str:
        return f"user{next(self._numbers) * 7919 % self._count}"

    def _who(self, person: int, place: int) -> dict[str, object]:
        server = (person * 7 + place * 61) % _PLACES
        return {
            "user_token": f"user{person}", "server": f"vpn{server}.example.com", "port": 443, "protocol": "vless",
        }  # fmt: skip

    def kinds(self) -> dict[str, Callable[[], Request]]:
        return {
            "readings": self.reading,
            "report": self.report,
            "subscription": self.subscription,
            "statistics": self.statistics,
        }


class Sender:
    """One connection to the panel. Raises ScaleError on any answer that is not 200."""

    def __init__(self, url: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self._headers = {"X-Api-Key": key, "Content-Type": "application/json"}

    def send(self, request: Request) -> None:
        method, path, body = request
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ScaleError(f"{method} {path} was answered with {answer.status}: {text[:300]!r}")

    def close(self) -> None:
        self._connection.close()


class Panel(msgspec.Struct, frozen=True):
    server: servers.Server
    key: str
    people: People
    watched: Watched


def measure(subscribers: int, minutes: float, folder: Path) -> None:
    """Print what each database takes, and what it would take for more subscribers."""
    share = minutes * 60 / 5
    for name, made in _databases(folder):
        print(f"\n## {name}: {subscribers:,} subscribers\n", flush=True)
        try:
            with made as (environ, watched), _started(environ, watched, subscribers) as panel:
                rows = _filled(panel)
                kinds = panel.people.kinds()
                costs = {kind: _cost(panel, kind, make, share) for kind, make in kinds.items()}
                _together(panel, costs, subscribers, share)
        except psycopg.Error as error:
            raise ScaleError(f"{name}: {str(error).strip()}") from None
        except subprocess.CalledProcessError as error:
            raise ScaleError(f"{name}: {error.stderr.strip().splitlines()[-1]}") from None
        _foretell(name, costs, rows)


def _databases(
    folder: Path,
) -> Iterator[tuple[str, AbstractContextManager[tuple[dict[str, str], Watched]]]]:
    yield SQLITE, File.made(folder)
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith(("postgres://", "postgresql://")):
        print("\nPostgreSQL is left out: DATABASE_URL does not name one.")
    elif os.environ.get("XPERT_TEST_CITUS"):
        yield "Citus", Cluster.made(url, folder)
    else:
        yield "PostgreSQL", Server.made(url, folder)


@contextmanager
def _started(environ: dict[str, str], watched: Watched, subscribers: int) -> Iterator[Panel]:
    _say("making the subscribers")
    servers.manage(environ, "migrate", "-v0")
    watched.prepare(lambda *command: servers.manage(environ, *command))
    servers.manage(environ, "shell", "-v0", "-c", _PEOPLE.format(count=subscribers))
    servers.manage(environ, "shell", "-v0", "-c", _LINKS)
    key = servers.manage(environ, "create_api_key", "bench", "--scope", "report").split()[-1]
    with servers.panel_of(servers.ROOT, environ) as server:
        yield Panel(server, key, People(subscribers, RHYTHM), watched)


def _filled(panel: Panel) -> Rows:
    """The first message of each meter makes a record of each pair; their size is measured before anything changes them."""
    empty = panel.watched.sizes()
    _say(f"sending the first {panel.people.messages} messages")
    sender = Sender(panel.server.url, panel.key)
    for _ in range(panel.people.messages):
        sender.send(panel.people.reading())
    sender.close()
    full = panel.watched.sizes()
    pairs = panel.people.messages * RHYTHM.rows
    people = pairs / RHYTHM.servers
    others = (full.other - empty.other) / people + empty.people / people
    rows = Rows((full.records - empty.records) / pairs, others)
    print(
        f"  one record: {size(rows.record)} with its indexes; the rest of one subscriber: {size(rows.person)}"
    )
    return rows


def _cost(panel: Panel, kind: str, make: Callable[[], Request], seconds: float) -> Cost:
    """Send one kind for some seconds, as fast as a few clients can."""
    _say(f"{kind}: {seconds:.0f} s")
    before = _snapshot(panel)
    end = time.monotonic() + seconds
    sent = _send_all(panel, ((0.0, make) for _ in iter(lambda: time.monotonic() < end, False))).sent
    used = _snapshot(panel).since(before)
    cost = Cost(
        {part: value / sent for part, value in used.seconds.items()},
        used.wal / sent,
        used.size / sent,
    )
    unit = f"message of {RHYTHM.rows} rows" if kind == "readings" else "request"
    parts = ", ".join(f"{part} {value * 1000:.2f} ms" for part, value in cost.seconds.items())
    print(
        f"  {kind}, per {unit}: {parts}; WAL {size(cost.wal)}; tables and indexes grow by {size(cost.growth)}"
        f" ({size(used.indexes / sent)} of it indexes); {sent:,} sent",
        flush=True,
    )
    return cost


def _together(panel: Panel, costs: Mapping[str, Cost], subscribers: int, seconds: float) -> None:
    """All kinds at the rhythm of the subscribers: a check of the arithmetic."""
    _say(f"all kinds at the rhythm of {subscribers:,} subscribers: {seconds:.0f} s")
    kinds = panel.people.kinds()
    moments = sorted(
        (number / rate, kind)
        for kind, rate in RHYTHM.rates(subscribers).items()
        for number in range(int(rate * seconds))
    )
    before = _snapshot(panel)
    found = _send_all(panel, ((moment, kinds[kind]) for moment, kind in moments))
    used = _snapshot(panel).since(before)
    foretold = sum(costs[kind].seconds[part] for _, kind in moments for part in costs[kind].seconds)
    print(
        f"  all kinds at the usual rhythm: {sum(used.seconds.values()) / seconds:.3f} cores,"
        f" foretold {foretold / seconds:.3f}; the latest message was {found.latest:.1f} s late",
        flush=True,
    )


class _Sent(msgspec.Struct):
    sent: int = 0
    latest: float = 0.0


def _send_all(panel: Panel, due: Iterator[tuple[float, Callable[[], Request]]]) -> _Sent:
    """Send each when it is due, in seconds from now, over a few connections. Raises what a client raised."""
    begun, found, lock = time.monotonic(), _Sent(), threading.Lock()

    def client() -> None:
        sender = Sender(panel.server.url, panel.key)
        while True:
            with lock:
                moment, make = next(due, (0.0, None))
                if make is None:
                    return sender.close()
                request = make()
            late = time.monotonic() - begun - moment
            time.sleep(max(-late, 0))
            sender.send(request)
            with lock:
                found.sent += 1
                found.latest = max(found.latest, late if moment else 0)

    with ThreadPoolExecutor(_CLIENTS) as threads:
        for done in [threads.submit(client) for _ in range(_CLIENTS)]:
            done.result()
    return found


class _Snapshot(msgspec.Struct, frozen=True):
    seconds: dict[str, float]
    wal: int
    size: int
    indexes: int

    def since(self, before: "_Snapshot") -> "_Snapshot":
        seconds = {part: value - before.seconds[part] for part, value in self.seconds.items()}
        return _Snapshot(
            seconds, self.wal - before.wal, self.size - before.size, self.indexes - before.indexes
        )


def _snapshot(panel: Panel) -> _Snapshot:
    sizes = panel.watched.sizes()
    seconds = {"web": panel.server.processor_seconds()} | panel.watched.seconds()
    return _Snapshot(seconds, panel.watched.wal(panel.server), sizes.all, sizes.indexes)


def _foretell(name: str, costs: Mapping[str, Cost], rows: Rows) -> None:
    for subscribers in FUTURES:
        print(f"\n{subscribers:,} subscribers in the busiest hour:")
        print("\n".join(arithmetic(subscribers, costs, RHYTHM)))
        if name == SQLITE and is_too_much_for_one_writer(subscribers, costs, RHYTHM):
            print("  too much for SQLite, where one process writes at a time")
            continue
        found = need(subscribers, costs, rows, RHYTHM)
        # The WAL writer belongs to the machine of its database.
        busy = ", ".join(
            f"{part} {cores:,.2f} ({machines(cores):,} of {CORES} cores)"
            for part, cores in found.cores.items()
            if part != WAL_WRITER
        )
        print(f"  busy cores (machines that are half busy): {busy}")
        print(
            f"  disk: {size(found.wal)} of WAL per second; {size(found.disk)} after a year ="
            f" {subscribers:,} × ({records_of_a_year(RHYTHM.servers):,} × {size(rows.record)} + {size(rows.person)})"
        )


def _say(what: str) -> None:
    """Progress, for a person who waits."""
    if sys.stderr.isatty():
        print(f"… {what}", file=sys.stderr, flush=True)
