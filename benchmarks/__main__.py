"""Prints all benchmarks as one table. Each figure is a ratio of two measurements, because the machine may be shared."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests.integrations.marzban.simulator import Marzban

from . import growth, marzban, node, scale, servers
from .fill import BIG, SMALL, Size, fill

WEBHOOK = "/api/xpert/traffic-webhook"
GLOBAL = "/api/xpert/traffic-stats/global?days=30"
SUBSCRIPTION = "/api/xpert/sub?user_token=user1"


class Row(msgspec.Struct, frozen=True):
    """``least`` or ``most``: the limit; ``measured``: the ratio."""

    what: str
    measured: float
    least: float | None = None
    most: float | None = None
    unit: str = "×"

    @property
    def holds(self) -> bool:
        return (self.least is None or self.measured >= self.least) and (
            self.most is None or self.measured <= self.most
        )

    def __str__(self) -> str:
        bar = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        return f"| {self.what} | {bar} {self.unit} | {self.measured:.2f} {self.unit} | {'yes' if self.holds else 'NO'} |"


class Bench:
    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.seconds, self.rounds = (2, 1) if quick else (5, 3)
        self.big = Size(1000) if quick else BIG

    def rows(self) -> Iterator[Row]:
        yield from self.webhook()
        yield self.subscription_hits()
        yield from self.long_lists()
        yield from self.templates()
        yield from self.merged()
        yield self.batch()
        yield from self.readings()
        yield self.gateway()
        yield from self.questions()
        yield self.webhook_while_read()
        yield from self.marzban_node()
        yield self.memory()

    def webhook(self) -> Iterator[Row]:
        """The three panels take turns of a few seconds, so that other load affects all of them."""
        environ = self.database("webhook")
        with (
            servers.panel(environ) as ours,
            servers.panel(environ, "benchmarks.without_database:application") as without,
            servers.plain_panel(self.folder / "plain.db") as plain,
        ):
            speeds = [
                [
                    servers.requests_per_second(url + WEBHOOK, self.seconds, "reports.lua")
                    for url in (ours, without, plain)
                ]
                for _ in range(self.rounds)
            ]
        mine, bare, other = (statistics.median(speed[n] for speed in speeds) for n in range(3))
        yield Row(
            "webhook, one report per request, fsync'd: against the same viewset without a database",
            mine / bare,
            least=0.7,
        )
        yield Row("webhook: against a plain panel that commits each report", mine / other, least=4)

    def against(self, other: Path) -> Iterator[Row]:
        """The webhook of this checkout and of another one take turns."""
        name = f"against {other.name}"
        with (
            servers.panel_of(servers.ROOT, self.database("ours")) as ours,
            servers.panel_of(other, self.database("theirs", other)) as theirs,
        ):
            self._reports(ours), self._reports(theirs)  # warms both
            turns = [(self._reports(ours), self._reports(theirs)) for _ in range(self.rounds)]
        speed, cost = (statistics.median(mine[n] / its[n] for mine, its in turns) for n in range(2))
        yield Row(f"webhook, one report per request: throughput {name}", speed, least=1.3)
        yield Row(f"webhook: processor time per report {name}", cost, most=0.75)

    def _reports(self, server: servers.Server) -> tuple[float, float]:
        """Reports per second, and processor seconds per report."""
        before = server.processor_seconds()
        load = servers.load(server.url + WEBHOOK, self.seconds, "reports.lua")
        return load.per_second, (server.processor_seconds() - before) / load.requests

    def webhook_while_read(self) -> Row:
        turns = []
        with servers.panel(self.filled("big", self.big)) as url:
            for _ in range(self.rounds):
                alone = servers.load(url + WEBHOOK, self.seconds, "reports.lua")
                with servers.loading(url + GLOBAL, 60, connections=1):
                    read = servers.load(url + WEBHOOK, self.seconds, "reports.lua")
                turns.append((alone.slowest, read.slowest))
        alone_, read_ = (statistics.median(turn[n] for turn in turns) for n in range(2))
        return Row(
            "webhook while one client reads global statistics without pause: slowest 1 %, against alone",
            read_ / alone_,
            most=2,
        )

    def gateway(self) -> Row:
        found = self.inside(self.database("gateway"), "gateway_of_1000")
        return Row(
            "readings of a gateway, 1000 people × 20 servers, all grown every minute: share of a core",
            found["share"] * 100,
            most=2,
            unit="%",
        )

    def marzban_node(self) -> Iterator[Row]:
        environ, panel = self.database("node"), Marzban(self.folder)
        self.inside(environ, "marzban_link", str(panel.pem))
        taking, resident = node.measure(
            environ, panel, 10_000, lambda: self.inside(environ, "all_use")
        )
        yield Row(
            "Marzban node: processor time of QueryStats with 10,000 people who all have bytes",
            taking * 1000,
            most=50,
            unit="ms",
        )
        yield Row("Marzban node: resident memory after it", resident, most=80, unit="MB")

    def subscription_hits(self) -> Row:
        environ = self.database("hits")
        with (
            servers.panel(environ) as on,
            servers.panel(environ | {"XPERT_HITS_ENABLED": "False"}) as off,
        ):
            speeds = [
                [servers.requests_per_second(url + SUBSCRIPTION, self.seconds) for url in (on, off)]
                for _ in range(self.rounds)
            ]
        with_hits, without = (statistics.median(speed[n] for speed in speeds) for n in range(2))
        return Row(
            "subscription request: throughput with hits recorded against without",
            with_hits / without,
            least=0.85,
        )

    def long_lists(self) -> Iterator[Row]:
        """The list is rendered once and cached, so the cost of a request must not depend on its length."""
        empty, long = self.database("empty"), self.database("long")
        self.inside(long, "links", "2000")
        with servers.panel(empty) as few, servers.panel(long) as many:
            for name in ("plain", "base64"):
                speeds = [
                    [
                        servers.requests_per_second(
                            f"{url}{SUBSCRIPTION}&format={name}", self.seconds
                        )
                        for url in (few, many)
                    ]
                    for _ in range(self.rounds)
                ]
                short, of_2000 = (statistics.median(speed[n] for speed in speeds) for n in range(2))
                yield Row(
                    f"subscription with 2,000 servers, {name}: time against an empty one",
                    short / of_2000,
                    most=1.5,
                )

    def templates(self) -> Iterator[Row]:
        """A list that is made, not one that is cached."""
        found = self.inside(self.database("templates"), "templates", "2000")
        for name, measured in found.items():
            yield Row(
                f"list of 2,000 servers, {name}, by a template with groups and rules: time against the built-in list",
                measured,
                most=1.5,
            )

    def merged(self) -> Iterator[Row]:
        """One app at a time: the bar is what a person waits, not how many wait at once."""
        environ = self.database("merged")
        with servers.marzban() as alone:
            setup = marzban.SETUP.format(url=alone, servers=marzban.SERVERS)
            servers.manage(environ, "shell", "-v0", "-c", setup)
            with servers.panel(environ) as ours:
                for name in ("v2ray", "clash-meta"):
                    path = f"/sub/{marzban.TOKEN}/{name}"
                    speeds = [
                        [
                            servers.requests_per_second(url + path, self.seconds, connections=1)
                            for url in (alone, ours)
                        ]
                        for _ in range(self.rounds)
                    ]
                    bare, with_servers = (statistics.median(s[n] for s in speeds) for n in range(2))
                    yield Row(
                        f"Marzban's {name} with {marzban.SERVERS} external servers: time against Marzban alone, 10 ms",
                        bare / with_servers,
                        most=1.5,
                    )

    def batch(self) -> Row:
        environ = self.database("batch")
        found = self.inside(environ, "batch_of_1000", str(self.folder / "bare.db"))
        return Row(
            "batch of 1000: against bare sqlite3 executing the same grouped upserts",
            found["speed"],
            least=0.3,
        )

    def readings(self) -> Iterator[Row]:
        environ = self.database("readings")
        found = self.inside(environ, "readings_of_1000", str(self.folder / "bare_readings.db"))
        yield Row(
            "1000 meter readings, all grown: against bare sqlite3 executing the same upserts",
            found["speed"],
            least=0.25,
        )
        yield Row(
            "1000 meter readings, none grown: time against all grown",
            found["none grown"],
            most=0.3,
        )

    def questions(self) -> Iterator[Row]:
        small, big = self.filled("small", SMALL), self.filled("big", self.big)
        few, many = self.inside(small, "questions"), self.inside(big, "questions")
        yield Row(
            "user statistics, 30 days: big panel against small",
            many["user 30"] / few["user 30"],
            most=1.5,
        )
        for days in ("30", "365"):
            name, bare = f"global {days}", f"bare {days}"
            yield Row(
                f"global statistics, {days} days: big panel against small",
                many[name] / few[name],
                most=1.5,
            )
            yield Row(
                f"global statistics, {days} days: against the bare SELECT",
                many[name] / many[bare],
                most=5,
            )
        yield from self.pages(small, big)
        yield Row(
            "database info: big panel against small", many["database"] / few["database"], most=3
        )
        size = Path(big["XPERT_TRAFFIC_DB_PATH"]).stat().st_size / self.big.rows * 1000 / 1e6
        yield Row("disk for 1000 usage rows with their indexes", size, most=0.1, unit="MB")

    def pages(self, small: dict[str, str], big: dict[str, str]) -> Iterator[Row]:
        few, many = self.inside(small, "pages"), self.inside(big, "pages")
        for name in few:
            yield Row(
                f"admin, {name}: big panel against small",
                many[name] / few[name],
                most=3 if name == "dashboard" else 2,
            )

    def memory(self) -> Row:
        environ = self.database("memory")

        def resident(settings: str) -> float:
            command = [sys.executable, "-m", "benchmarks.memory"]
            found = environ | {"DJANGO_SETTINGS_MODULE": f"benchmarks.{settings}"}
            return statistics.median(
                int(
                    subprocess.run(
                        command, cwd=servers.ROOT, env=found, check=True, capture_output=True
                    ).stdout
                )
                for _ in range(5)
            )

        more = resident("settings_with_traffic") - resident("settings_without_traffic")
        return Row("memory that the traffic app adds", more / 1024, most=10, unit="MB")

    def database(self, name: str, root: Path = servers.ROOT) -> dict[str, str]:
        """The environment for a new, migrated database, of the checkout in ``root``."""
        environ = servers.environment(self.folder / f"{name}.db")
        servers.manage(environ, "migrate", "-v0", root=root)
        return environ

    def filled(self, name: str, size: Size) -> dict[str, str]:
        """A database that is filled once and used by several measurements."""
        environ = servers.environment(self.folder / f"{name}.db")
        if not Path(environ["XPERT_TRAFFIC_DB_PATH"]).exists():
            fill(Path(self.database(name)["XPERT_TRAFFIC_DB_PATH"]), size)
        return environ

    def inside(self, environ: dict[str, str], *arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.inside", *arguments]
        done = subprocess.run(
            command, cwd=servers.ROOT, env=environ, check=True, capture_output=True, text=True
        )
        return dict(json.loads(done.stdout))


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a tenth of the big panel and one round: quick, but not reliable",
    )
    parser.add_argument(
        "--growth", metavar="FILE", help="measure growth at 10^4 to 10^7 rows instead; plot to FILE"
    )
    parser.add_argument(
        "--against",
        metavar="CHECKOUT",
        type=Path,
        help="compare only the webhook with that of another checkout",
    )
    parser.add_argument(
        "--scale",
        action="store_true",
        help="measure what subscribers cost instead, and print how many machines more of them take: on SQLite; on the"
        " PostgreSQL of DATABASE_URL; on a cluster, if XPERT_TEST_CITUS names its workers (HOST:PORT,…)",
    )
    parser.add_argument(
        "--subscribers",
        metavar="N",
        type=_count,
        default=10_000,
        help="for --scale; default: 10000",
    )
    parser.add_argument(
        "--minutes",
        metavar="M",
        type=_minutes,
        default=2.0,
        help="for --scale: of load per database; default: 2",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xpert-bench-") as folder:
        bench = Bench(Path(folder), quick=options.quick)
        print(f"{machine()}\n")
        if options.growth:
            growth.measure(bench.filled, bench.inside, Path(options.growth), quick=options.quick)
            return 0
        if options.scale:
            return _scale(options.subscribers, options.minutes, Path(folder))
        print("| what | bar | measured | holds |\n|---|---|---|---|")
        chosen = bench.against(options.against.resolve()) if options.against else bench.rows()
        rows = [_printed(row) for row in chosen]
    return 0 if all(row.holds for row in rows) else 1


def _scale(subscribers: int, minutes: float, folder: Path) -> int:
    """Errors of the database's server are the caller's: a sentence, not a traceback."""
    try:
        scale.measure(subscribers, minutes, folder)
    except scale.ScaleError as error:
        print(f"script/bench: {error}", file=sys.stderr)
        return 1
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or not 100 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError("a whole number from 100 to 1000000")
    return int(text)


def _minutes(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 60:
        raise argparse.ArgumentTypeError("a number from 0.1 to 60")
    return found


def _printed(row: Row) -> Row:
    print(row, flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
