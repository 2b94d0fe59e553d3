"""All bars in one table. Each figure is a ratio of two things measured in this run: the machine may be shared."""

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

from benchmarks import growth, servers
from benchmarks.fill import BIG, SMALL, Size, fill

WEBHOOK = "/api/xpert/traffic-webhook"
SUBSCRIPTION = "/api/xpert/sub?user_token=user1"


class Row(msgspec.Struct, frozen=True):
    """``least`` or ``most``: the bar; ``measured``: the ratio."""

    what: str
    measured: float
    least: float | None = None
    most: float | None = None
    unit: str = "×"

    @property
    def holds(self) -> bool:
        return (self.least is None or self.measured >= self.least) and (self.most is None or self.measured <= self.most)

    def __str__(self) -> str:
        bar = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        return (
            f"| {self.what} | {bar} {self.unit} | {self.measured:.2f} {self.unit} | {'yes' if self.holds else 'NO'} |"
        )


class Bench:
    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.seconds, self.rounds = (2, 1) if quick else (5, 3)
        self.big = Size(1000) if quick else BIG

    def rows(self) -> Iterator[Row]:
        yield from self.webhook()
        yield self.subscription_hits()
        yield from self.long_lists()
        yield self.batch()
        yield from self.questions()
        yield self.memory()

    def webhook(self) -> Iterator[Row]:
        """The three take turns, a few seconds each, so that a busy neighbour disturbs all."""
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
            "webhook, one report a request, fsync'd: against the same viewset without a database",
            mine / bare,
            least=0.7,
        )
        yield Row("webhook: against a plain panel that commits each report", mine / other, least=4)

    def subscription_hits(self) -> Row:
        environ = self.database("hits")
        with servers.panel(environ) as on, servers.panel(environ | {"XPERT_HITS_ENABLED": "False"}) as off:
            speeds = [
                [servers.requests_per_second(url + SUBSCRIPTION, self.seconds) for url in (on, off)]
                for _ in range(self.rounds)
            ]
        with_hits, without = (statistics.median(speed[n] for speed in speeds) for n in range(2))
        return Row(
            "subscription request: throughput with hits recorded against without", with_hits / without, least=0.85
        )

    def long_lists(self) -> Iterator[Row]:
        """The list is rendered once and cached; what a request costs must not depend on its length."""
        empty, long = self.database("empty"), self.database("long")
        self.inside(long, "links", "2000")
        with servers.panel(empty) as few, servers.panel(long) as many:
            for name in ("plain", "base64"):
                speeds = [
                    [
                        servers.requests_per_second(f"{url}{SUBSCRIPTION}&format={name}", self.seconds)
                        for url in (few, many)
                    ]
                    for _ in range(self.rounds)
                ]
                short, of_2000 = (statistics.median(speed[n] for speed in speeds) for n in range(2))
                yield Row(
                    f"subscription with 2,000 servers, {name}: time against an empty one", short / of_2000, most=1.5
                )

    def batch(self) -> Row:
        environ = self.database("batch")
        found = self.inside(environ, "batch_of_1000", str(self.folder / "bare.db"))
        return Row("batch of 1000: against bare sqlite3 executing the same grouped upserts", found["speed"], least=0.3)

    def questions(self) -> Iterator[Row]:
        small, big = self.filled("small", SMALL), self.filled("big", self.big)
        few, many = self.inside(small, "questions"), self.inside(big, "questions")
        yield Row("user statistics, 30 days: big panel against small", many["user 30"] / few["user 30"], most=1.5)
        for days in ("30", "365"):
            name, bare = f"global {days}", f"bare {days}"
            yield Row(f"global statistics, {days} days: big panel against small", many[name] / few[name], most=1.5)
            yield Row(f"global statistics, {days} days: against the bare SELECT", many[name] / many[bare], most=5)
        yield from self.pages(small, big)
        yield Row("database info: big panel against small", many["database"] / few["database"], most=3)
        size = Path(big["XPERT_TRAFFIC_DB_PATH"]).stat().st_size / self.big.rows * 1000 / 1e6
        yield Row("disk for 1000 usage rows with their indexes", size, most=0.1, unit="MB")

    def pages(self, small: dict[str, str], big: dict[str, str]) -> Iterator[Row]:
        few, many = self.inside(small, "pages"), self.inside(big, "pages")
        for name in few:
            yield Row(
                f"admin, {name}: big panel against small", many[name] / few[name], most=3 if name == "dashboard" else 2
            )

    def memory(self) -> Row:
        environ = self.database("memory")

        def resident(settings: str) -> float:
            command = [sys.executable, "-m", "benchmarks.memory"]
            found = environ | {"DJANGO_SETTINGS_MODULE": f"benchmarks.{settings}"}
            return statistics.median(
                int(subprocess.run(command, cwd=servers.ROOT, env=found, check=True, capture_output=True).stdout)
                for _ in range(5)
            )

        more = resident("settings_with_traffic") - resident("settings_without_traffic")
        return Row("memory that the traffic app adds", more / 1024, most=10, unit="MB")

    def database(self, name: str) -> dict[str, str]:
        """Environment of a new, migrated database."""
        environ = servers.environment(self.folder / f"{name}.db")
        servers.manage(environ, "migrate", "-v0")
        return environ

    def filled(self, name: str, size: Size) -> dict[str, str]:
        environ = self.database(name)
        fill(Path(environ["XPERT_TRAFFIC_DB_PATH"]), size)
        return environ

    def inside(self, environ: dict[str, str], *arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.inside", *arguments]
        done = subprocess.run(command, cwd=servers.ROOT, env=environ, check=True, capture_output=True, text=True)
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
    parser.add_argument("--quick", action="store_true", help="a tenth of the big panel and one round: a look, no proof")
    parser.add_argument("--growth", metavar="FILE", help="measure growth at 10^4 to 10^7 rows instead; plot to FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xpert-bench-") as folder:
        bench = Bench(Path(folder), quick=options.quick)
        print(f"{machine()}\n")
        if options.growth:
            growth.measure(bench.filled, bench.inside, Path(options.growth), quick=options.quick)
            return 0
        print("| what | bar | measured | holds |\n|---|---|---|---|")
        rows = [_shown(row) for row in bench.rows()]
    return 0 if all(row.holds for row in rows) else 1


def _shown(row: Row) -> Row:
    print(row, flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
